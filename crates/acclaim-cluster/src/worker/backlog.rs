//! How much the ledger does not have yet.

use std::time::Duration;

use acclaim_core::Rev;
use futures::future::join_all;

use crate::redis::connection::Redis;
use crate::redis::error::RedisError;
use crate::redis::journal::{Marks, Pending};
use crate::redis::keys::Partition;

/// Events that were decided and that the ledger does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many.
    pub events: u64,
    /// The age of the oldest.
    pub oldest: Duration,
}

impl Backlog {
    pub(super) fn of(pending: &[Pending], now: Rev) -> Self {
        let oldest = pending.iter().filter_map(|one| one.oldest).min();
        Self {
            events: pending.iter().map(|one| one.events).sum(),
            oldest: oldest
                .map(|oldest| Duration::from_micros(now.0.saturating_sub(oldest.0)))
                .unwrap_or_default(),
        }
    }
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
    let looks = partitions.iter().map(|partition| async move {
        let marks = redis.marks(*partition).await?;
        if is_behind(&marks) {
            redis.pending(*partition, &marks).await
        } else {
            Ok(Pending::default())
        }
    });
    let pending: Result<Vec<Pending>, RedisError> = join_all(looks).await.into_iter().collect();
    let pending = pending?;
    Ok(Backlog::of(
        &pending,
        time(redis, partitions, &pending, now).await?,
    ))
}

/// The time, asked for only where there is something whose age it gives.
pub(super) async fn time(
    redis: &Redis,
    partitions: &[Partition],
    pending: &[Pending],
    now: Option<Rev>,
) -> Result<Rev, RedisError> {
    let waits = pending.iter().position(|one| one.oldest.is_some());
    match (now, waits) {
        (Some(now), _) => Ok(now),
        (None, Some(at)) => redis.time(partitions[at]).await,
        (None, None) => Ok(Rev::ZERO),
    }
}

pub(super) fn is_behind(marks: &Marks) -> bool {
    matches!(marks, Marks::Known { last, durable, .. } if last > durable)
}
