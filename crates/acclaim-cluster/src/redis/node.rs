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
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    PushInfo, PushKind, RedisConnectionInfo, TlsCertificates, Value,
};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::address::{Address, RedisUrl};
use super::error::RedisError;
use super::limits::RedisLimits;
use super::refusal::Refusal;

/// How a server is connected to.
#[derive(Clone)]
pub struct Access {
    settings: RedisConnectionInfo,
    /// Where TLS is spoken: the certificates to trust instead of the system's.
    tls: Option<Option<Arc<[u8]>>>,
    /// Only a master will do. Sentinels may name a server that is none yet, or no longer.
    must_be_master: bool,
}

impl Access {
    /// As the URL says.
    pub fn new(url: &RedisUrl, trusted_pem: Option<&[u8]>) -> Self {
        let mut settings = RedisConnectionInfo::default()
            .set_db(url.database.into())
            .set_protocol(ProtocolVersion::RESP3);
        if let Some(user) = &url.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &url.password {
            settings = settings.set_password(password);
        }
        Self {
            settings,
            tls: url.tls.then(|| trusted_pem.map(Arc::from)),
            must_be_master: false,
        }
    }

    /// The same for masters alone.
    pub fn for_master(mut self) -> Self {
        self.must_be_master = true;
        self
    }

    /// The same for a Sentinel, which has no databases, and often no password.
    pub fn to_sentinel(&self, with_password: bool) -> Self {
        let mut sentinel = self.clone();
        sentinel.settings = if with_password {
            sentinel.settings.set_db(0)
        } else {
            RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3)
        };
        sentinel.must_be_master = false;
        sentinel
    }

    /// Whether there is a password.
    pub fn has_password(&self) -> bool {
        self.settings.password().is_some()
    }

    fn client(&self, address: &Address) -> redis::RedisResult<Client> {
        let Address { host, port } = address.clone();
        let place = match &self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
        };
        let info = place.into_connection_info()?;
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info
            .set_tcp_settings(tcp)
            .set_redis_settings(self.settings.clone());
        match &self.tls {
            Some(Some(trusted)) => Client::build_with_tls(
                info,
                TlsCertificates {
                    client_tls: None,
                    root_cert: Some(trusted.to_vec()),
                },
            ),
            _ => Client::open(info),
        }
    }
}

/// One connection.
struct Link {
    connection: MultiplexedConnection,
    has_ended: Arc<AtomicBool>,
    timeouts_in_row: AtomicU32,
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
    /// than until the deadline.
    ///
    /// # Errors
    /// A refusal of all of them; those of single ones are in their places.
    pub async fn send(
        &self,
        cmds: &[&Cmd],
        deadline: Instant,
    ) -> Result<Vec<Result<Value, Refusal>>, Refusal> {
        self.send_within(cmds, self.limits.response_timeout(), deadline)
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
        replicas: u32,
        patience: Duration,
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
        let mut answers = node.send_within(&cmds, within, deadline).await?;
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
        patience: Duration,
        deadline: Instant,
    ) -> Result<Vec<Result<Value, Refusal>>, Refusal> {
        let Ok(Ok(_room)) = timeout_at(deadline, self.room.acquire()).await else {
            let most = self.limits.max_in_flight_calls;
            return Err(Refusal::NotNow(self.unavailable(format!(
                "{most} calls are under way, and none of them ended in time"
            ))));
        };
        let link = self.link(deadline).await.map_err(Refusal::NotNow)?;
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

    async fn link(&self, deadline: Instant) -> Result<Arc<Link>, RedisError> {
        if let Some(link) = self.live_link() {
            return Ok(link);
        }
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
