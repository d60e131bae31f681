//! One turn at one partition: its journal, batch by batch, into the ledger.
//!
//! A turn begins at what Redis says the ledger has (`:d`), not at what the ledger says. The two
//! differ where a worker ended between the commit and telling Redis: then the batch is applied
//! again, which changes nothing, and its keys get the TTL that they still lack. They differ too
//! where Redis came back with less than it had; events decided since then have places that the
//! ledger may have passed, and are not left out.
//!
//! Invariant: Redis is told only after the commit, and only of entries that were read here.

use std::collections::BTreeSet;
use std::sync::Arc;

use acclaim_core::Rev;
use acclaim_core::port::Clock;

use super::desk::Desk;
use super::limits::WorkerLimits;
use super::together::{self, Together};
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
const TURN_MAX_BATCHES: usize = 16;

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
}

impl Tools {
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
    pub keep: Keep,
}

/// How a turn ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The ledger had everything when the turn last looked.
    Drained,
    /// There is more.
    More,
}

/// Why a turn did not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the journal is not the one that the batch was read from")]
    OtherJournal,
    #[error("the partition is being opened by another")]
    Opening,
    #[error("Redis is another one now than when the lease was taken")]
    OtherSeat,
    #[error("this node knows an older seat than the lease: it is asked for again")]
    OldSeat,
}

/// Drains a partition for a while.
pub(super) async fn take_turn(tools: &Arc<Tools>, turn: Turn) -> Result<Ended, Trouble> {
    let marks = tools.redis.marks(turn.journal).await;
    // Asked for by now; any that is taken from here on ends the lease.
    compare_seats(tools, turn.lease)?;
    let (mut last, mut after) = match marks? {
        Marks::Cold => {
            open(tools, turn).await?;
            return Ok(Ended::More);
        }
        Marks::Unmarked { last } => {
            let applied = applied(tools, turn.lease).await?;
            let upto = applied.min(last);
            tools.redis.restore_durable(turn.journal, upto).await?;
            return Ok(Ended::More);
        }
        Marks::Known { last, durable, .. } => (last, durable),
    };
    for _ in 0..TURN_MAX_BATCHES {
        let most = tools.limits.batch_max_events;
        let read = tools
            .redis
            .journal_entries(turn.journal, after, most)
            .await?;
        let is_full = read.len() >= most;
        let newest = read.last().map(|entry| entry.seq);
        // Entries beyond the mark that was read before them are in the batch, or come after it.
        last = if is_full { Rev::ZERO } else { last };
        let upto = newest.unwrap_or(Rev::ZERO).max(last).max(after);
        let waiting = drain_batch(tools, turn, read, after, upto).await?;
        after = upto;
        if !is_full {
            return Ok(if waiting { Ended::More } else { Ended::Drained });
        }
        if let Marks::Known { last: given, .. } = tools.redis.marks(turn.journal).await? {
            last = given;
        }
    }
    Ok(Ended::More)
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
async fn drain_batch(
    tools: &Arc<Tools>,
    turn: Turn,
    read: Vec<JournalEntry>,
    after: Rev,
    upto: Rev,
) -> Result<bool, Trouble> {
    let first = read.first().map(|entry| entry.seq);
    let mut persisted = Persisted {
        upto,
        after,
        last: read.last().map(|entry| entry.seq),
        entries: read.len(),
        edges: BTreeSet::new(),
    };
    if !read.is_empty() {
        for event in read.iter().filter_map(|entry| entry.event.as_ref().ok()) {
            let edge = (event.target.clone(), event.user.clone());
            persisted.edges.insert(edge);
        }
        let batch = Batch {
            partition: turn.lease.partition,
            epoch: turn.journal.epoch,
            fence: turn.lease.fence,
            entries: read.into_iter().map(entry).collect(),
        };
        failpoint::hit(failpoint::DRAIN_BEFORE_APPLY);
        let (batch, applied) = together::apply(tools, batch, turn.attempt).await;
        count(&tools.watched, &batch, applied?);
        let places = batch.entries.iter().map(|entry| entry.seq);
        tools.desk.tell(turn.journal, places);
        failpoint::hit(failpoint::DRAIN_BEFORE_TELL);
    }
    let told = tools
        .redis
        .persisted(turn.journal, tools.now(), turn.keep, &persisted);
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
async fn applied(tools: &Tools, lease: Lease) -> Result<Rev, LedgerError> {
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
            keep: tools.limits.keep(1),
        };
        assert_eq!(take_turn(&tools, turn).await.unwrap(), Ended::Drained);
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
