//! One turn at one partition: its journal, batch by batch, into the ledger.
//!
//! A turn begins at what Redis says the ledger has (`:d`), not at what the ledger says, or where an
//! earlier turn under the same lease ended ([`super::untold`]). What Redis and the ledger say differs
//! where a worker ended between the commit and telling Redis: then the batch is applied
//! again, which changes nothing, and its keys get the TTL that they still lack. They differ too
//! where Redis came back with less than it had; events decided since then have places that the
//! ledger may have passed, and are not left out.
//!
//! Invariant: Redis is told only after the commit, and only of entries that were read here.

use std::sync::Arc;

use acclaim_core::Rev;
use acclaim_core::port::Clock;

use super::carrier::{Carrier, SettleError};
use super::desk::Desk;
use super::folded::Folded;
use super::limits::WorkerLimits;
use super::reads::{self, Reads};
use super::relay;
use super::together::{self, Together};
use super::untold::Untold;
use super::watched::{Watched, add, set};
use crate::failpoint;
use crate::ledger::{
    Applied, Batch, Entry, KindNo, Lease, Ledger, LedgerError, LedgerEvent, TypeNo,
};
use crate::redis::connection::Redis;
use crate::redis::error::RedisError;
use crate::redis::event::JournalEvent;
use crate::redis::journal::{JournalEntry, Marks};
use crate::redis::keys::Partition;
use crate::redis::load::{Cold, Loaded};
use crate::redis::persist::{Keep, Persisted, Told};

/// Batches in one turn; then others have theirs.
pub(super) const TURN_MAX_BATCHES: usize = 16;

/// What all turns share.
pub(super) struct Tools {
    pub redis: Arc<Redis>,
    pub ledger: Ledger,
    pub limits: WorkerLimits,
    pub clock: Option<Arc<dyn Clock>>,
    pub watched: Arc<Watched>,
    pub desk: Arc<Desk>,
    /// Batches that wait for the ledger.
    pub together: Together,
    /// Journals that are to be read.
    pub reads: Reads,
    /// The bus that carries events to the ledger, where there is one.
    pub carrier: Option<Arc<Carrier>>,
    /// Up to where notifications are folded.
    pub folded: Folded,
}

impl Tools {
    /// What Redis keeps of a partition, of so many.
    pub fn keep(&self, partitions: u16) -> Keep {
        self.limits.keep(partitions, self.folded.upto())
    }

    pub fn now(&self) -> Option<Rev> {
        self.clock.as_ref().map(|clock| clock.now())
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// The journal: of the ledger's epoch, or of an older one that is being emptied.
    pub journal: Partition,
    /// The right to write.
    pub lease: Lease,
    /// How often the ledger was given its next batch, this time too.
    pub attempt: u32,
    /// Somebody of this process waits for it, and is told by the desk.
    pub is_asked: bool,
    pub keep: Keep,
    /// With a bus: it has been waited for the ledger long enough to look what it has.
    pub heals: bool,
}

/// How a turn ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The ledger had everything when the turn last looked.
    Drained,
    /// There is more.
    More,
    /// Everything up to this place is on the bus, and not all of it in the ledger.
    Waits(Rev),
}

/// Why a turn did not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Bus(#[from] acclaim_bus::PublishError),
    #[error(transparent)]
    Settle(SettleError),
    #[error("the journal is not the one that the batch was read from")]
    OtherJournal,
    #[error("the partition is being opened by another")]
    Opening,
    #[error("Redis is another one now than when the lease was taken")]
    OtherSeat,
    #[error("this node knows an older seat than the lease: it is asked for again")]
    OldSeat,
}

/// How a turn ended, and what of it Redis was not told.
pub(super) type Outcome = Result<(Ended, Option<Untold>), Trouble>;

/// Drains a partition for a while, on from where an earlier turn under the same lease ended.
pub(super) async fn take_turn(tools: &Arc<Tools>, turn: Turn, before: Option<Untold>) -> Outcome {
    let before = before.filter(|it| it.leads_on(turn.journal, turn.is_asked));
    let (mut last, mut untold) = match before {
        Some(untold) => {
            compare_seats(tools, turn.lease)?;
            (Rev::ZERO, untold)
        }
        None => match begin(tools, turn).await? {
            Begun::At { last, durable } => (last, Untold::new(turn.journal, durable)),
            Begun::Ended(ended) => return Ok((ended, None)),
        },
    };
    for _ in 0..TURN_MAX_BATCHES {
        let most = untold.room(&tools.limits);
        let read = reads::entries(tools, turn, untold.upto(), most).await?;
        let is_full = read.len() >= most;
        let first = read.first().map(|entry| entry.seq);
        let newest = read.last().map_or(Rev::ZERO, |entry| entry.seq);
        // Entries beyond the mark that was read before them are in the batch, or come after it.
        last = if is_full { Rev::ZERO } else { last };
        let upto = newest.max(last).max(untold.upto());
        untold.add(&read, upto);
        apply(tools, turn, read).await?;
        if turn.is_asked && !is_full && !untold.is_due(&tools.limits) {
            return Ok((Ended::Drained, Some(untold)));
        }
        let waiting = tell(tools, turn, untold.persisted(), first).await?;
        untold.told();
        if !is_full {
            let ended = if waiting { Ended::More } else { Ended::Drained };
            return Ok((ended, Some(untold)));
        }
        if let Marks::Known { last: given, .. } = tools.redis.marks(turn.journal).await? {
            last = given;
        }
    }
    Ok((Ended::More, Some(untold)))
}

/// How a turn begins that asks Redis where.
enum Begun {
    /// The journal is to be read after what the ledger has, of the last place given.
    At { last: Rev, durable: Rev },
    /// There was something else to be done.
    Ended(Ended),
}

async fn begin(tools: &Arc<Tools>, turn: Turn) -> Result<Begun, Trouble> {
    let marks = tools.redis.marks(turn.journal).await;
    // Asked for by now; any that is taken from here on ends the lease.
    compare_seats(tools, turn.lease)?;
    let marks = marks?;
    match marks {
        Marks::Cold => {
            open(tools, turn).await?;
            Ok(Begun::Ended(Ended::More))
        }
        Marks::Unmarked { last } => {
            let applied = applied(tools, turn.lease).await?;
            let upto = applied.min(last);
            tools.redis.restore_durable(turn.journal, upto).await?;
            Ok(Begun::Ended(Ended::More))
        }
        Marks::Known { last, durable, .. } => match &tools.carrier {
            Some(carrier) => {
                let ended = relay::take_turn(tools, carrier, turn, marks).await?;
                Ok(Begun::Ended(ended))
            }
            None => Ok(Begun::At { last, durable }),
        },
    }
}

/// Lets a journal be read only from the server whose seat the lease belongs to.
fn compare_seats(tools: &Tools, lease: Lease) -> Result<(), Trouble> {
    let Some(seats) = tools.redis.seats() else {
        return Ok(());
    };
    match seats.turn(lease.partition) {
        Some(turn) if turn > lease.turn => Err(Trouble::OtherSeat),
        Some(turn) if turn < lease.turn => {
            seats.compare(&[(lease.partition, lease.turn)]);
            Err(Trouble::OldSeat)
        }
        _ => Ok(()),
    }
}

/// Applies what was read and tells Redis. Answers whether buckets still wait for their TTL.
pub(super) async fn drain_batch(
    tools: &Arc<Tools>,
    turn: Turn,
    read: Vec<JournalEntry>,
    after: Rev,
    upto: Rev,
) -> Result<bool, Trouble> {
    let first = read.first().map(|entry| entry.seq);
    let mut untold = Untold::new(turn.journal, after);
    untold.add(&read, upto);
    apply(tools, turn, read).await?;
    tell(tools, turn, untold.persisted(), first).await
}

/// Applies what was read, and tells those who wait for it.
async fn apply(tools: &Arc<Tools>, turn: Turn, read: Vec<JournalEntry>) -> Result<(), Trouble> {
    if read.is_empty() {
        return Ok(());
    }
    let batch = Batch {
        partition: turn.lease.partition,
        epoch: turn.journal.epoch,
        fence: turn.lease.fence,
        entries: read.into_iter().map(entry).collect(),
    };
    failpoint::hit(failpoint::DRAIN_BEFORE_APPLY);
    let (batch, applied) = together::apply(tools, batch, turn.attempt).await;
    let applied = applied?;
    count(&tools.watched, &batch, applied);
    // Of some that were refused nobody is told that the ledger has them.
    if applied.refused == 0 {
        let places = batch.entries.iter().map(|entry| entry.seq);
        tools.desk.tell(turn.journal, places);
    }
    Ok(())
}

/// Tells Redis what the ledger has. `first` was the oldest entry of the last batch of it. Answers
/// whether buckets still wait for their TTL.
async fn tell(
    tools: &Tools,
    turn: Turn,
    persisted: &Persisted,
    first: Option<Rev>,
) -> Result<bool, Trouble> {
    if persisted.entries > 0 {
        failpoint::hit(failpoint::DRAIN_BEFORE_TELL);
    }
    let told = tools
        .redis
        .persisted(turn.journal, tools.now(), turn.keep, persisted);
    match told.await? {
        Told::Noted { waiting, now, .. } => {
            if let Some(first) = first {
                set(
                    &tools.watched.lag_millis,
                    now.0.saturating_sub(first.0) / 1_000,
                );
            }
            Ok(waiting > 0)
        }
        // Its events are in the ledger all the same.
        Told::Cold | Told::OtherJournal => {
            add(&tools.watched.other_journals, 1_u64);
            Err(Trouble::OtherJournal)
        }
    }
}

fn count(watched: &Watched, batch: &Batch, applied: Applied) {
    add(&watched.events, batch.entries.len());
    add(&watched.batches, 1_u64);
    add(&watched.flips, applied.flips);
    add(&watched.stale, applied.stale);
    add(&watched.buried, applied.refused);
    if applied.refused > 0 {
        tracing::error!(
            partition = batch.partition,
            events = applied.refused,
            "events could not be applied and are dead letters now"
        );
    }
}

/// Opens a partition that Redis does not have, behind everything that was ever applied of it.
async fn open(tools: &Tools, turn: Turn) -> Result<(), Trouble> {
    if let Some(carrier) = &tools.carrier {
        let settled = carrier.settle(&tools.ledger, turn.lease.partition).await;
        settled.map_err(|error| match error {
            SettleError::Ledger(error) => Trouble::Ledger(error),
            behind @ SettleError::Behind { .. } => Trouble::Settle(behind),
        })?;
    }
    let claim = tools.redis.claim(turn.journal, Cold::Partition).await?;
    let loaded = match claim {
        Ok(claim) => {
            let applied = applied(tools, turn.lease).await?;
            tools.redis.fill_partition(claim, applied).await?
        }
        Err(loaded) => loaded,
    };
    match loaded {
        Loaded::Here => {
            add(&tools.watched.opened, 1_u64);
            Ok(())
        }
        Loaded::Busy | Loaded::Elsewhere => Err(Trouble::Opening),
    }
}

/// How far the ledger is, said under our fence and behind every transaction of ours that may still
/// be under way. Nothing of ours is in hand, so nothing older comes after it.
pub(super) async fn applied(tools: &Tools, lease: Lease) -> Result<Rev, LedgerError> {
    let nothing = Batch {
        partition: lease.partition,
        epoch: lease.epoch,
        fence: lease.fence,
        entries: Vec::new(),
    };
    Ok(tools.ledger.apply(&nothing).await?.applied)
}

/// An entry of the journal as the ledger takes it.
pub(super) fn entry(read: JournalEntry) -> Entry {
    Entry {
        seq: read.seq,
        event: read.event.map(event).map_err(|error| error.to_string()),
        payload: read.payload,
    }
}

fn event(event: JournalEvent) -> LedgerEvent {
    LedgerEvent {
        kind: KindNo(event.target.kind),
        target_type: TypeNo(event.target.target_type),
        target: event.target.id,
        user: event.user,
        active: event.active,
        rev: event.rev,
        count: event.count,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use acclaim_core::{Action, Id, TargetType};
    use acclaim_servers::{MariaDb, Redis as Server};
    use sqlx::{Connection, MySqlConnection};

    use super::*;
    use crate::ledger::Bounds;
    use crate::redis::connection::RedisLimits;
    use crate::redis::decide::{DecideOp, Decided};
    use crate::redis::keys::TargetName;

    async fn tools(server: &Server, url: &str) -> Arc<Tools> {
        let redis = Redis::open(&server.url(), RedisLimits::default()).await;
        Arc::new(Tools {
            redis: Arc::new(redis.unwrap()),
            ledger: Ledger::new(url, Bounds::default()).unwrap(),
            limits: WorkerLimits::default(),
            clock: None,
            watched: Arc::default(),
            desk: Arc::default(),
            together: together::new(&WorkerLimits::default()),
            reads: reads::new(),
            carrier: None,
            folded: Folded::default(),
        })
    }

    /// What the journal of an older epoch holds is applied by rev alone: the place up to which the
    /// partition is applied belongs to the new epoch's journal and stays.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_journal_of_an_older_epoch_is_emptied() {
        let server = Box::pin(Server::start()).await;
        let shared = Box::pin(MariaDb::shared()).await;
        let database = Box::pin(shared.database()).await;
        let tools = Box::pin(tools(&server, database.url())).await;
        let (redis, ledger) = (&tools.redis, &tools.ledger);
        ledger.migrate().await.unwrap();
        let spec = crate::ledger::store::StoreSpec { partitions: 1 };
        ledger.create_or_open_store(&spec).await.unwrap();
        let post = TargetType::parse("POST").unwrap();
        let target = TargetName {
            kind: ledger.kind_no("likes").await.unwrap().0,
            target_type: ledger.type_no(&post).await.unwrap().0,
            id: Id::Number(1),
        };
        let old = Partition {
            epoch: 1,
            life: 0,
            number: 0,
        };
        // The record of a target that the ledger does not have, complete from birth.
        let set = |key: &str| format!("{old}{key}");
        let mut born = redis::pipe();
        born.set(set(":l"), 0).set(set(":d"), 0);
        let record = [("#c", "0"), ("#r", "0"), ("#n", "0"), ("#b", "0")];
        born.hset_multiple(set(&format!(":t:{target}")), &record);
        let mut raw = server.try_connect().await.unwrap();
        born.query_async::<()>(&mut raw).await.unwrap();
        let op = DecideOp::new(Action::Set, target.clone(), Id::Number(7));
        let decided = redis.decide(old, None, &[op]).await.unwrap();
        assert!(matches!(decided[..], [Decided::Done { .. }]), "{decided:?}");

        let mut conn = MySqlConnection::connect(database.url()).await.unwrap();
        let raise = "UPDATE partitions SET epoch = 2, applied = 5";
        sqlx::query(raise).execute(&mut conn).await.unwrap();
        let length = Duration::from_secs(60);
        let lease = ledger.take_leases("one", 1, length).await.unwrap()[0];
        assert_eq!(lease.epoch, 2);
        let turn = Turn {
            journal: old,
            lease,
            attempt: 1,
            is_asked: false,
            keep: tools.keep(1),
            heals: false,
        };
        let (ended, _) = take_turn(&tools, turn, None).await.unwrap();
        assert_eq!(ended, Ended::Drained);
        let numbers = tools.watched.numbers();
        assert_eq!((numbers.events, numbers.flips), (1, 1));
        let partitions = ledger.partitions().await.unwrap();
        assert_eq!(partitions[0].applied, Rev(5));
        let marks = redis.marks(old).await.unwrap();
        assert!(
            matches!(marks, Marks::Known { last, durable, kept: 1, .. } if last == durable),
            "{marks:?}"
        );
    }
}
