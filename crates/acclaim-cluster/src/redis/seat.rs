//! On which server each partition is decided, and what is done when that server is another one or
//! has begun anew: it may have less than the ledger.
//!
//! A server forgets what it had only by starting again or by a replica taking its place. Either
//! gives it a new name (its run and its replication id), and breaks or replaces the connections to
//! it. So the ledger notes for each partition the **seat**: the name of the server that decides it.
//! Before this client sends anything about a partition to a server whose name it has not compared,
//! it asks the ledger:
//!
//! - The seat is that server's: nothing was lost since.
//! - A bus carries events of the partition: first all of them come into the ledger
//!   ([`SeatBook::settle`]), also where the seat is that server's and somebody began with it.
//! - The seat is another's, and this server follows that one (it was its replica, it stands at its
//!   address, or the other one does not have the partition any more): the seat is taken, by
//!   compare-and-set. Where the last place that this server gave is not below what the ledger has
//!   applied, it has everything that the ledger has, and goes on. Where it is below, or where the
//!   ledger was changed past Redis, all that it has is older than the ledger: the partition begins
//!   a new **life** there, empty, behind everything that was applied.
//!
//! # Why this is enough
//! Nothing is decided on a server before the seat is taken, so what a server has is a beginning of
//! what its predecessor had, and `last place < applied` says exactly whether the ledger is ahead.
//! Taking the seat raises the fence, and compares what was applied: a batch that was read from the
//! predecessor is in the ledger before the comparison, or never. `tests/seat` searches for a way
//! around this.
//!
//! It costs a look into a map a call while nothing changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use acclaim_core::Rev;
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use parking_lot::RwLock;
use redis::{Cmd, Value};
use tokio::sync::Mutex;

use super::address::Address;
use super::error::RedisError;
use super::identity::{Identity, ServerName};
use super::keys::Partition;
use super::load::SourceError;
use super::topology::text;

/// The script that begins a life.
const BEGIN_LIFE: &str = include_str!("scripts/begin_life.lua");
/// The script that lifts a partition to a place.
const SEAL: &str = include_str!("scripts/seal.lua");
/// How often a seat is tried for, while others take it or the ledger goes on.
const ATTEMPTS: usize = 8;
/// Seats that are asked for at once; each partition has its place among them.
const DESKS: usize = 64;

/// A seat as the ledger has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeatRow {
    /// The name of the server, empty where there was none yet: [`ServerName::to_text`].
    pub server: String,
    /// How often the seat was taken.
    pub turn: u64,
    /// The life of the partition.
    pub life: u32,
    /// What the ledger has applied.
    pub applied: Rev,
    /// Whether the ledger was changed past Redis since the seat was taken: then a server that came
    /// back may hold what was dropped.
    pub is_passed: bool,
    /// Whether a bus may carry events that were published since the seat was taken.
    pub is_carried: bool,
    /// Whether the seat is to be taken anew, also by the server that has it.
    pub is_closing: bool,
    /// What was published in turns before this one is in the ledger, or never will be.
    pub closed: u64,
}

/// Where seats are noted. All of it is the ledger's primary.
pub trait SeatBook: Send + Sync {
    /// Reads a seat.
    fn read(&self, partition: u16) -> BoxFuture<'_, Result<SeatRow, SourceError>>;

    /// Takes a seat for a server, if it is still as it was found, also in what was applied, and
    /// ends the lease of whoever drains the partition. Answers whether it was.
    fn take<'a>(
        &'a self,
        partition: u16,
        found: &'a SeatRow,
        server: &'a str,
        life: u32,
    ) -> BoxFuture<'a, Result<bool, SourceError>>;

    /// Has everything that a bus carries of a partition come into the ledger, before the seat is
    /// taken as it was `found`. Answers whether it is so; otherwise the seat is to be read again.
    fn settle<'a>(
        &'a self,
        _partition: u16,
        _found: &'a SeatRow,
    ) -> BoxFuture<'a, Result<bool, SourceError>> {
        std::future::ready(Ok(true)).boxed()
    }
}

/// A seat that this client knows to be a server's.
#[derive(Clone, Debug)]
struct Held {
    /// `None` where it may have changed: it is asked for again.
    server: Option<Arc<str>>,
    life: u32,
    turn: u64,
}

/// A server, reached by one connection.
pub(super) trait Door: Sync {
    /// What the connection was found to lead to when a seat was last asked for.
    fn known(&self) -> Option<Arc<str>>;
    /// Remembers what it leads to.
    fn remember(&self, name: &Arc<str>);
    /// Asks by this connection.
    fn ask<'a>(&'a self, cmds: &'a [Cmd]) -> BoxFuture<'a, Result<Vec<Value>, RedisError>>;
    /// Where it leads.
    fn address(&self) -> &Address;
    /// Whether another server may still decide a partition: `None` where it cannot be asked.
    fn still_has<'a>(
        &'a self,
        other: &'a ServerName,
        partition: Partition,
    ) -> BoxFuture<'a, Option<bool>>;
}

/// The seats that this client knows.
pub struct Seats {
    book: Arc<dyn SeatBook>,
    held: RwLock<HashMap<u16, Held>>,
    /// One who asks for a partition at a time.
    desks: Vec<Mutex<()>>,
    /// The newest place that was told to anybody here: no later one comes before it.
    newest: AtomicU64,
    /// How often a seat came to be known.
    learnt: AtomicU64,
}

impl std::fmt::Debug for Seats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seats").finish_non_exhaustive()
    }
}

/// What a call names against what is known.
enum Known {
    Here,
    OtherLife(u32),
    Unknown,
}

impl Seats {
    /// None known yet.
    pub fn new(book: Arc<dyn SeatBook>) -> Self {
        Self {
            book,
            held: RwLock::default(),
            desks: (0..DESKS).map(|_| Mutex::default()).collect(),
            newest: AtomicU64::new(0),
            learnt: AtomicU64::new(0),
        }
    }

    /// The life that a partition is in, as far as is known.
    pub fn life(&self, number: u16) -> u32 {
        self.held.read().get(&number).map_or(0, |held| held.life)
    }

    /// The turn in which a partition is decided, where it is known.
    pub fn turn(&self, number: u16) -> Option<u64> {
        let held = self.held.read();
        let held = held.get(&number).filter(|held| held.server.is_some());
        held.map(|held| held.turn)
    }

    /// How often a seat, and with it the life of a partition, came to be known. Who was refused
    /// while it rose may have named an older life.
    #[must_use]
    pub fn learnt(&self) -> u64 {
        self.learnt.load(Ordering::SeqCst)
    }

    /// Takes note of a place that was told.
    pub fn saw(&self, place: Rev) {
        self.newest.fetch_max(place.0, Ordering::Relaxed);
    }

    /// Seats whose turn is another one in the ledger are asked for again. Their life stays known:
    /// most often it is still the same, and who names it is not refused.
    pub fn compare(&self, turns: &[(u16, u64)]) {
        let is_other = |held: &HashMap<u16, Held>, number: &u16, turn: u64| {
            held.get(number).is_some_and(|held| held.turn != turn)
        };
        let old: Vec<u16> = {
            let held = self.held.read();
            let old = turns.iter().filter(|(n, turn)| is_other(&held, n, *turn));
            old.map(|(number, _)| *number).collect()
        };
        if old.is_empty() {
            return;
        }
        let mut held = self.held.write();
        for (number, turn) in turns {
            // One that was taken meanwhile has a later turn.
            if let Some(held) = held.get_mut(number).filter(|held| held.turn < *turn) {
                held.server = None;
            }
        }
    }

    /// Whether the server behind a door is known to decide these partitions, in the lives that they
    /// name.
    pub(super) fn are_here(&self, door: &dyn Door, partitions: &[Partition]) -> bool {
        let (held, known) = (self.held.read(), door.known());
        partitions
            .iter()
            .all(|one| matches!(judge(&held, known.as_ref(), *one), Known::Here))
    }

    /// Makes sure that the server behind a door decides these partitions, in the lives that they
    /// name.
    ///
    /// # Errors
    /// [`RedisError::Unavailable`]: nothing may be sent there now.
    pub(super) async fn admit(
        &self,
        door: &dyn Door,
        partitions: impl Iterator<Item = Partition>,
    ) -> Result<(), RedisError> {
        let known = door.known();
        let mut unknown = BTreeSet::new();
        let mut other = None;
        {
            let held = self.held.read();
            for partition in partitions {
                match judge(&held, known.as_ref(), partition) {
                    Known::Here => {}
                    Known::OtherLife(life) => other = Some((partition, life)),
                    Known::Unknown => {
                        unknown.insert(partition);
                    }
                }
            }
        }
        if !unknown.is_empty() {
            let asked = unknown.iter().map(|one| self.ask(door, *one));
            for outcome in join_all(asked).await {
                outcome?;
            }
            let held = self.held.read();
            other = other.or_else(|| {
                unknown.iter().find_map(|one| {
                    let life = held.get(&one.number)?.life;
                    (life != one.life).then_some((*one, life))
                })
            });
        }
        match other {
            None => Ok(()),
            Some((partition, life)) => Err(refused(
                door.address(),
                format!("partition {partition} was begun anew and is in its life {life}"),
            )),
        }
    }

    /// Whether one of these partitions is known to be in another life there.
    pub(super) fn is_other_life(&self, door: &dyn Door, partitions: &[Partition]) -> bool {
        let (held, known) = (self.held.read(), door.known());
        partitions
            .iter()
            .any(|one| matches!(judge(&held, known.as_ref(), *one), Known::OtherLife(_)))
    }

    /// Asks the ledger about one partition, and takes the seat where it is to be taken.
    async fn ask(&self, door: &dyn Door, partition: Partition) -> Result<(), RedisError> {
        let number = partition.number;
        let _only = self.desks[usize::from(number) % DESKS].lock().await;
        if let Some(known) = door.known() {
            let held = self.held.read();
            if !matches!(judge(&held, Some(&known), partition), Known::Unknown) {
                return Ok(());
            }
        }
        let identity = identify(door).await?;
        let name: Arc<str> = identity.name.to_text().into();
        door.remember(&name);
        for _ in 0..ATTEMPTS {
            let found = self.book.read(number).await;
            let found = found.map_err(|error| unknown_seat(door, number, &error))?;
            let before = ServerName::parse(&found.server);
            let mut seat = Held {
                server: Some(Arc::clone(&name)),
                life: found.life,
                turn: found.turn,
            };
            let is_own = before.as_ref().is_some_and(|it| it.is(&identity.name));
            if is_own && !found.is_closing {
                self.hold(number, seat);
                return Ok(());
            }
            if let Some(before) = before.filter(|_| !is_own) {
                may_follow(door, &identity, &before, partition).await?;
            }
            let settled = self.book.settle(number, &found).await;
            if !settled.map_err(|error| unknown_seat(door, number, &error))? {
                continue;
            }
            seat.life = self.settle_in(door, partition, &found).await?;
            seat.turn = found.turn + 1;
            let taken = self.book.take(number, &found, &name, seat.life).await;
            if taken.map_err(|error| unknown_seat(door, number, &error))? {
                tell(number, &found, &seat);
                self.hold(number, seat);
                return Ok(());
            }
        }
        Err(refused(
            door.address(),
            format!("others take the seat of partition {number} again and again"),
        ))
    }

    fn hold(&self, number: u16, seat: Held) {
        self.held.write().insert(number, seat);
        self.learnt.fetch_add(1, Ordering::SeqCst);
    }

    /// Has the server ready for the partition, and answers the life in which it is.
    async fn settle_in(
        &self,
        door: &dyn Door,
        partition: Partition,
        found: &SeatRow,
    ) -> Result<u32, RedisError> {
        let old = Partition {
            life: found.life,
            ..partition
        };
        let mut get = redis::cmd("GET");
        get.arg(format!("{old}:l"));
        let reply = one(door, get).await?;
        let last = match &reply {
            Value::Nil => None,
            value => text(value).and_then(|text| text.parse().ok()).map(Rev),
        };
        let newest = Rev(self.newest.load(Ordering::Relaxed));
        // A partition that nobody ever wrote to has nothing to lose.
        if last.unwrap_or(Rev::ZERO) >= found.applied && !found.is_passed {
            if last.is_some_and(|last| last < newest) {
                let mut seal = redis::cmd("EVAL");
                seal.arg(SEAL).arg(1).arg(old.to_string()).arg(newest.0);
                one(door, seal).await?;
            }
            return Ok(found.life);
        }
        let new = Partition {
            life: found.life + 1,
            ..partition
        };
        let from = found.applied.max(last.unwrap_or(Rev::ZERO)).max(newest);
        let mut begin = redis::cmd("EVAL");
        begin.arg(BEGIN_LIFE).arg(2);
        begin.arg(old.to_string()).arg(new.to_string());
        begin.arg(from.0).arg(0);
        one(door, begin).await?;
        Ok(new.life)
    }
}

fn judge(held: &HashMap<u16, Held>, known: Option<&Arc<str>>, partition: Partition) -> Known {
    match (held.get(&partition.number), known) {
        (Some(held), Some(known)) if held.server.as_ref() == Some(known) => {
            if held.life == partition.life {
                Known::Here
            } else {
                Known::OtherLife(held.life)
            }
        }
        _ => Known::Unknown,
    }
}

async fn one(door: &dyn Door, cmd: Cmd) -> Result<Value, RedisError> {
    let mut answers = door.ask(&[cmd]).await?;
    answers
        .pop()
        .ok_or_else(|| refused(door.address(), "it answered nothing".to_owned()))
}

async fn identify(door: &dyn Door) -> Result<Identity, RedisError> {
    let [mut server, mut replication] = [redis::cmd("INFO"), redis::cmd("INFO")];
    server.arg("server");
    replication.arg("replication");
    let answers = door.ask(&[server, replication]).await?;
    let identity = match answers.as_slice() {
        [server, replication] => Identity::read(door.address(), server, replication),
        _ => None,
    };
    match identity {
        Some(identity) if identity.is_master => Ok(identity),
        Some(_) => Err(refused(door.address(), "it is not a master".to_owned())),
        None => Err(refused(
            door.address(),
            "INFO does not say which server it is".to_owned(),
        )),
    }
}

/// Refuses where the server before may still decide the partition: of two that both are masters in
/// somebody's eyes one must not take the seat back.
async fn may_follow(
    door: &dyn Door,
    identity: &Identity,
    before: &ServerName,
    partition: Partition,
) -> Result<(), RedisError> {
    if identity.follows(before) {
        return Ok(());
    }
    let reason = match door.still_has(before, partition).await {
        Some(false) => return Ok(()),
        Some(true) => "decides it",
        None => "decided it last and does not answer",
    };
    let (number, address) = (partition.number, before.address());
    Err(refused(
        door.address(),
        format!("partition {number} is not its own: {address} {reason}"),
    ))
}

fn tell(number: u16, found: &SeatRow, seat: &Held) {
    if seat.life == found.life {
        tracing::debug!(
            partition = number,
            server = seat.server.as_deref(),
            "a seat was taken"
        );
    } else {
        tracing::error!(
            partition = number,
            server = seat.server.as_deref(),
            applied = found.applied.0,
            life = seat.life,
            "Redis came back with less of a partition than the ledger has; it begins anew"
        );
    }
}

fn refused(address: &Address, reason: String) -> RedisError {
    RedisError::Unavailable {
        address: address.to_string(),
        reason,
    }
}

fn unknown_seat(door: &dyn Door, number: u16, error: &SourceError) -> RedisError {
    refused(
        door.address(),
        format!("whether it has all of partition {number} cannot be found out: {error}"),
    )
}
