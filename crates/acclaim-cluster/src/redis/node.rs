//! One Redis server: a connection that all calls share, made anew when it breaks or hangs.
//!
//! Nothing is ever sent twice from here. The client library's connection does not send again
//! either (its Cluster client does, also what may have been carried out, so it is not used).
//!
//! The protocol is RESP3, because only there the library tells of a connection that has ended: what
//! is known to be dead before a call is sent is no unknown outcome.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::FutureExt;
use futures::future::BoxFuture;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, PushInfo, PushKind, Value};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::access::Access;
use super::address::Address;
use super::error::RedisError;
use super::identity::{Identity, ServerName};
use super::keys::Partition;
use super::limits::RedisLimits;
use super::refusal::Refusal;
use super::seat::Door;

/// One connection.
struct Link {
    connection: MultiplexedConnection,
    has_ended: Arc<AtomicBool>,
    timeouts_in_row: AtomicU32,
    /// What it was found to lead to when a seat was last asked for.
    leads_to: ArcSwapOption<Arc<str>>,
}

/// The number of the next server.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// A server.
pub struct Node {
    number: u64,
    address: Address,
    access: Access,
    limits: RedisLimits,
    link: ArcSwapOption<Link>,
    /// Held by who connects; the last failure, so that not everybody waits for the same.
    connecting: Mutex<Option<(Instant, RedisError)>>,
    room: Semaphore,
    /// The same server once more, for what waits for replicas: a connection that waits does nothing
    /// else meanwhile.
    patient: OnceLock<Box<Node>>,
}

impl Node {
    /// A server that is not connected to yet.
    pub fn new(address: Address, access: Access, limits: RedisLimits) -> Self {
        Self {
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            address,
            access,
            limits,
            link: ArcSwapOption::empty(),
            connecting: Mutex::new(None),
            room: Semaphore::new(limits.max_in_flight_calls.max(1) as usize),
            patient: OnceLock::new(),
        }
    }

    /// A number that no other server of this process has.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends commands in one piece and waits for their answers, within the limits and no longer
    /// than until the deadline. Those about partitions name them.
    ///
    /// # Errors
    /// A refusal of all of them; those of single ones are in their places.
    pub async fn send(
        &self,
        cmds: &[&Cmd],
        partitions: &[Partition],
        deadline: Instant,
    ) -> Result<Vec<Result<Value, Refusal>>, Refusal> {
        self.send_within(cmds, partitions, self.limits.response_timeout(), deadline)
            .await
    }

    /// Sends commands in one piece, and waits until so many replicas have what they wrote or for so
    /// long. Answers pairs: what a command answered and how many replicas have it.
    ///
    /// # Errors
    /// As [`Node::send`].
    pub async fn send_and_wait(
        &self,
        cmds: &[&Cmd],
        partitions: &[Partition],
        (replicas, patience): (u32, Duration),
        deadline: Instant,
    ) -> Result<Vec<Result<Value, Refusal>>, Refusal> {
        let node = self.patient.get_or_init(|| {
            let again = Self::new(self.address.clone(), self.access.clone(), self.limits);
            Box::new(again)
        });
        let mut wait = redis::cmd("WAIT");
        // Zero would be for ever.
        let millis = u64::try_from(patience.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        wait.arg(replicas).arg(millis);
        let mut cmds = cmds.to_vec();
        cmds.push(&wait);
        let within = self.limits.response_timeout() + patience;
        let mut answers = node
            .send_within(&cmds, partitions, within, deadline)
            .await?;
        // The commands before it were carried out, whatever became of the waiting.
        let replicas = match answers.pop() {
            Some(Ok(replicas)) => replicas,
            _ => Value::Int(0),
        };
        let pair = |answer| Value::Array(vec![answer, replicas.clone()]);
        let pairs = answers.into_iter().map(|answer| answer.map(pair));
        Ok(pairs.collect())
    }

    /// The same with another time to wait for the answers.
    ///
    /// # Errors
    /// As [`Node::send`].
    async fn send_within(
        &self,
        cmds: &[&Cmd],
        partitions: &[Partition],
        patience: Duration,
        deadline: Instant,
    ) -> Result<Vec<Result<Value, Refusal>>, Refusal> {
        let Ok(Ok(_room)) = timeout_at(deadline, self.room.acquire()).await else {
            let most = self.limits.max_in_flight_calls;
            return Err(Refusal::NotNow(self.unavailable(format!(
                "{most} calls are under way, and none of them ended in time"
            ))));
        };
        let link = match self.live_link() {
            Some(link) => link,
            // Boxed, as what is seldom needed: every call would carry it along.
            None => Box::pin(self.new_link(deadline))
                .await
                .map_err(Refusal::NotNow)?,
        };
        if !self.has_admitted(&link, partitions) {
            Box::pin(self.be_admitted(&link, partitions, deadline)).await?;
        }
        let sent = Instant::now();
        if sent + patience > deadline {
            // Too late: who could not wait for the answer would not know what became of it.
            return Err(Refusal::NotNow(self.unavailable(format!(
                "less than the {} ms to wait for an answer are left",
                patience.as_millis()
            ))));
        }
        let answers = match timeout_at(sent + patience, exchange(&link, cmds)).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => return Err(self.judge_failure(&link, &error)),
            Err(_) => return Err(self.note_timeout(&link, sent.elapsed())),
        };
        link.timeouts_in_row.store(0, Ordering::Relaxed);
        let judge = |answer| match answer {
            Value::ServerError(error) => Err(Refusal::of_server(&self.address, &error.into())),
            answer => Ok(answer),
        };
        Ok(answers.into_iter().map(judge).collect())
    }

    /// Whether it is known that the server may be asked about these partitions.
    fn has_admitted(&self, link: &Arc<Link>, partitions: &[Partition]) -> bool {
        let door = NodeDoor { node: self, link };
        let seats = self.access.seats.as_ref();
        seats.is_none_or(|seats| seats.are_here(&door, partitions))
    }

    /// Makes sure that the server may be asked about these partitions.
    async fn be_admitted(
        &self,
        link: &Arc<Link>,
        partitions: &[Partition],
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let Some(seats) = self.access.seats.as_ref() else {
            return Ok(());
        };
        let door = NodeDoor { node: self, link };
        let admitted = seats.admit(&door, partitions.iter().copied());
        match timeout_at(deadline, admitted).await {
            Ok(Ok(())) => Ok(()),
            // The caller names an older life, and will name the same one again.
            Ok(Err(error)) if seats.is_other_life(&door, partitions) => Err(Refusal::Final(error)),
            Ok(Err(error)) => Err(Refusal::NotNow(error)),
            Err(_) => Err(Refusal::NotNow(
                self.unavailable(
                    "whether it has everything that the ledger has was not found out in time"
                        .to_owned(),
                ),
            )),
        }
    }

    /// Connects, or waits for who does.
    async fn new_link(&self, deadline: Instant) -> Result<Arc<Link>, RedisError> {
        let wait = deadline.min(Instant::now() + self.limits.connect_timeout());
        let Ok(mut failed) = timeout_at(wait, self.connecting.lock()).await else {
            return Err(self.unavailable("no connection in time".to_owned()));
        };
        if let Some(link) = self.live_link() {
            return Ok(link);
        }
        if let Some((when, why)) = &*failed
            && when.elapsed() < self.limits.reconnect_pause()
        {
            return Err(why.clone());
        }
        let connected = match timeout_at(wait, self.connect()).await {
            Ok(connected) => connected.map_err(|error| self.unavailable(error.to_string())),
            Err(_) => Err(self.unavailable("no connection in time".to_owned())),
        };
        match connected {
            Ok(link) => {
                let link = Arc::new(link);
                self.link.store(Some(Arc::clone(&link)));
                *failed = None;
                Ok(link)
            }
            Err(error) => {
                *failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Whether there is a connection that is not known to have ended.
    pub fn is_connected(&self) -> bool {
        let link = self.link.load();
        link.as_ref()
            .is_some_and(|link| !link.has_ended.load(Ordering::Acquire))
    }

    fn live_link(&self) -> Option<Arc<Link>> {
        let link = self.link.load_full()?;
        if link.has_ended.load(Ordering::Acquire) {
            self.drop_link(&link);
            return None;
        }
        Some(link)
    }

    /// Gives this connection up, unless another is in its place already.
    fn drop_link(&self, link: &Arc<Link>) {
        self.link.compare_and_swap(link, None);
    }

    async fn connect(&self) -> redis::RedisResult<Link> {
        let has_ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&has_ended);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limits.connect_timeout()))
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    told.store(true, Ordering::Release);
                }
                Ok::<(), ()>(())
            });
        let client = self.access.client(&self.address)?;
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        if self.access.must_be_master {
            let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
            let master = Value::BulkString(b"master".to_vec());
            if role.first() != Some(&master) {
                let kind = redis::ErrorKind::Client;
                return Err((kind, "the Sentinels name it, but it is not a master").into());
            }
        }
        Ok(Link {
            connection,
            has_ended,
            timeouts_in_row: AtomicU32::new(0),
            leads_to: ArcSwapOption::empty(),
        })
    }

    fn note_timeout(&self, link: &Arc<Link>, waited: Duration) -> Refusal {
        let in_row = link.timeouts_in_row.fetch_add(1, Ordering::Relaxed) + 1;
        if in_row >= self.limits.max_timeouts_in_row {
            self.drop_link(link);
        }
        Refusal::Unknown(RedisError::Timeout {
            address: self.address.to_string(),
            waited,
        })
    }

    /// Judges a failure of the connection, or an error that the library made of an answer.
    fn judge_failure(&self, link: &Arc<Link>, error: &redis::RedisError) -> Refusal {
        if error.code().is_some() {
            return Refusal::of_server(&self.address, error);
        }
        self.drop_link(link);
        Refusal::Unknown(RedisError::Lost {
            address: self.address.to_string(),
            reason: error.to_string(),
        })
    }

    fn unavailable(&self, reason: String) -> RedisError {
        RedisError::Unavailable {
            address: self.address.to_string(),
            reason,
        }
    }
}

/// A server as its seats are asked for: by one connection, so that all answers are the same
/// process's.
struct NodeDoor<'a> {
    node: &'a Node,
    link: &'a Arc<Link>,
}

impl Door for NodeDoor<'_> {
    fn known(&self) -> Option<Arc<str>> {
        let known = self.link.leads_to.load();
        known.as_ref().map(|name| Arc::clone(name.as_ref()))
    }

    fn remember(&self, name: &Arc<str>) {
        self.link.leads_to.store(Some(Arc::new(Arc::clone(name))));
    }

    fn ask<'a>(&'a self, cmds: &'a [Cmd]) -> BoxFuture<'a, Result<Vec<Value>, RedisError>> {
        async move {
            let cmds: Vec<&Cmd> = cmds.iter().collect();
            let patience = self.node.limits.response_timeout();
            let answers = match timeout(patience, exchange(self.link, &cmds)).await {
                Ok(Ok(answers)) => answers,
                Ok(Err(error)) => return Err(self.node.judge_failure(self.link, &error).into()),
                Err(_) => return Err(self.node.note_timeout(self.link, patience).into()),
            };
            let judge = |answer| match answer {
                Value::ServerError(error) => {
                    Err(Refusal::of_server(&self.node.address, &error.into()).into())
                }
                answer => Ok(answer),
            };
            answers.into_iter().map(judge).collect()
        }
        .boxed()
    }

    fn address(&self) -> &Address {
        &self.node.address
    }

    fn still_has<'a>(
        &'a self,
        other: &'a ServerName,
        partition: Partition,
    ) -> BoxFuture<'a, Option<bool>> {
        async move {
            let address = Address::parse(other.address())?;
            let access = self.node.access.clone().with_seats(None);
            let there = Node::new(address, access, self.node.limits);
            there.has_seat(other, partition).await
        }
        .boxed()
    }
}

impl Node {
    /// Whether it is the server of this name, and a master that takes calls about the partition.
    /// `None` where it cannot be asked. A connection that is refused says that nobody is there.
    async fn has_seat(&self, name: &ServerName, partition: Partition) -> Option<bool> {
        let [mut server, mut replication, mut get] =
            [redis::cmd("INFO"), redis::cmd("INFO"), redis::cmd("GET")];
        server.arg("server");
        replication.arg("replication");
        get.arg(format!("{partition}:l"));
        let deadline = Instant::now() + 2 * self.limits.response_timeout();
        let link = match self.connect().await {
            Ok(link) => Arc::new(link),
            Err(error) if error.is_connection_refusal() => return Some(false),
            // It was asked for as a master and says that it is none.
            Err(_) if self.access.must_be_master => {
                let mut access = self.access.clone();
                access.must_be_master = false;
                let anybody = Self::new(self.address.clone(), access, self.limits);
                let link = timeout_at(deadline, anybody.connect()).await.ok()?.ok()?;
                Arc::new(link)
            }
            Err(_) => return None,
        };
        let cmds = [&server, &replication, &get];
        let answers = timeout_at(deadline, exchange(&link, &cmds)).await;
        let answers = answers.ok()?.ok()?;
        let [server, replication, get] = answers.as_slice() else {
            return None;
        };
        let identity = Identity::read(&self.address, server, replication)?;
        Some(identity.is_master_named(name) && !matches!(get, Value::ServerError(_)))
    }
}

/// The answers to commands, errors among them.
async fn exchange(link: &Link, cmds: &[&Cmd]) -> redis::RedisResult<Vec<Value>> {
    let mut connection = link.connection.clone();
    if let [cmd] = cmds {
        return Ok(vec![connection.req_packed_command(cmd).await?]);
    }
    let mut pipeline = redis::Pipeline::with_capacity(cmds.len());
    for cmd in cmds {
        pipeline.add_command((*cmd).clone());
    }
    connection
        .req_packed_commands(&pipeline, 0, cmds.len())
        .await
}
