//! How much the ledger, or the bus before it, does not have yet.

use std::time::Duration;

use acclaim_core::Rev;
use futures::future::join_all;

use super::relay::published_upto;
use crate::redis::connection::Redis;
use crate::redis::error::RedisError;
use crate::redis::journal::{Marks, Pending};
use crate::redis::keys::Partition;

/// Events of a journal that are counted one by one.
const COUNTED_EVENTS: usize = 50;

/// Events that were decided and that the ledger does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many.
    pub events: u64,
    /// The age of the oldest.
    pub oldest: Duration,
}

impl Backlog {
    fn of(pending: &[Pending], now: Rev) -> Self {
        let oldest = pending.iter().filter_map(|one| one.oldest).min();
        Self {
            events: pending.iter().map(|one| one.events).sum(),
            oldest: oldest
                .map(|oldest| Duration::from_micros(now.0.saturating_sub(oldest.0)))
                .unwrap_or_default(),
        }
    }
}

/// A journal of which something is lacking.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behind {
    journal: Partition,
    marks: Marks,
    /// Everything behind this place is.
    after: Rev,
}

impl Behind {
    /// Of a journal of which the ledger does not have all.
    pub fn ledger(journal: Partition, marks: Marks) -> Option<Self> {
        let Marks::Known { last, durable, .. } = marks else {
            return None;
        };
        (last > durable).then_some(Self {
            journal,
            marks,
            after: durable,
        })
    }

    /// Of a journal of which not all is on the bus, in a turn of its seat.
    pub fn bus(journal: Partition, marks: Marks, turn: u64) -> Option<Self> {
        let Marks::Known {
            last,
            durable,
            published,
            ..
        } = marks
        else {
            return None;
        };
        let after = published_upto(published, turn, durable);
        (last > after).then_some(Self {
            journal,
            marks,
            after,
        })
    }

    /// How much it is. What the ledger lacks is known without counting; from another place on it is
    /// counted while it is little, and where it is much all is taken that the ledger lacks: while so
    /// many wait, few are on their way.
    async fn pending(&self, redis: &Redis) -> Result<Pending, RedisError> {
        let (journal, after) = (self.journal, self.after);
        if matches!(self.marks, Marks::Known { durable, .. } if durable == after) {
            return redis.pending(journal, &self.marks).await;
        }
        let some = redis
            .journal_entries(journal, after, COUNTED_EVENTS)
            .await?;
        Ok(Pending {
            events: match some.len() < COUNTED_EVENTS {
                true => some.len() as u64,
                false => redis.pending(journal, &self.marks).await?.events,
            },
            oldest: some.first().map(|entry| entry.seq),
        })
    }
}

/// What is lacking of journals. The time is Redis's own where none is given.
pub(super) async fn of(
    redis: &Redis,
    behind: Vec<Behind>,
    now: Option<Rev>,
) -> Result<Backlog, RedisError> {
    let pending = behind.iter().map(|one| one.pending(redis));
    let pending: Result<Vec<Pending>, RedisError> = join_all(pending).await.into_iter().collect();
    let pending = pending?;
    // The time is asked for only where there is something whose age it gives.
    let waits = pending.iter().position(|one| one.oldest.is_some());
    let now = match (now, waits) {
        (Some(now), _) => now,
        (None, Some(at)) => redis.time(behind[at].journal).await?,
        (None, None) => Rev::ZERO,
    };
    Ok(Backlog::of(&pending, now))
}

/// The backlog of partitions, whoever drains them. The time is Redis's own where none is given.
///
/// # Errors
/// The first [`RedisError`]: a backlog that is known in part says nothing.
pub async fn measure(
    redis: &Redis,
    partitions: &[Partition],
    now: Option<Rev>,
) -> Result<Backlog, RedisError> {
    let looks = partitions.iter().map(|journal| async move {
        let marks = redis.marks(*journal).await?;
        Ok(Behind::ledger(*journal, marks))
    });
    let behind: Result<Vec<_>, RedisError> = join_all(looks).await.into_iter().collect();
    of(redis, behind?.into_iter().flatten().collect(), now).await
}
