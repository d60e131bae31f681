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

use super::limits::WorkerLimits;
use super::poison;
use super::watched::{Watched, add, set};
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
}

/// Drains a partition for a while.
pub(super) async fn take_turn(tools: &Tools, turn: Turn) -> Result<Ended, Trouble> {
    let (mut last, mut after) = match tools.redis.marks(turn.journal).await? {
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

/// Applies what was read and tells Redis. Answers whether buckets still wait for their TTL.
async fn drain_batch(
    tools: &Tools,
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
        let applied = poison::apply(&tools.ledger, &batch, &tools.limits, turn.attempt).await?;
        count(&tools.watched, &batch, applied);
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
