//! One look at many partitions: all calls at once, on the connections that they share.

use acclaim_core::Rev;
use futures::future::join_all;

use super::backlog::{Backlog, is_behind, time};
use crate::ledger::Lease;
use crate::redis::connection::Redis;
use crate::redis::error::RedisError;
use crate::redis::journal::{Marks, Pending};
use crate::redis::keys::Partition;

/// What was seen of each, and the backlog where it was asked for and all could be seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub marks: Vec<(Lease, Result<Marks, RedisError>)>,
    pub backlog: Option<Backlog>,
}

/// The journal of a lease.
pub(super) fn journal(lease: Lease) -> Partition {
    Partition {
        epoch: lease.epoch,
        life: lease.life,
        number: lease.partition,
    }
}

pub(super) async fn look(
    redis: &Redis,
    leases: Vec<Lease>,
    measures: bool,
    now: Option<Rev>,
) -> Seen {
    // Each by itself: a partition that began a new life would have all that go with it refused.
    let looks = leases.iter().map(|lease| redis.marks(journal(*lease)));
    let marks = join_all(looks).await;
    let backlog = if measures {
        measure(redis, &leases, &marks, now).await.ok()
    } else {
        None
    };
    Seen {
        marks: leases.into_iter().zip(marks).collect(),
        backlog,
    }
}

async fn measure(
    redis: &Redis,
    leases: &[Lease],
    marks: &[Result<Marks, RedisError>],
    now: Option<Rev>,
) -> Result<Backlog, RedisError> {
    let mut behind = Vec::new();
    for (lease, marks) in leases.iter().zip(marks) {
        let marks = marks.clone()?;
        if is_behind(&marks) {
            behind.push((journal(*lease), marks));
        }
    }
    let pending = behind
        .iter()
        .map(|(journal, marks)| redis.pending(*journal, marks));
    let pending: Result<Vec<Pending>, RedisError> = join_all(pending).await.into_iter().collect();
    let pending = pending?;
    let journals: Vec<Partition> = behind.iter().map(|(journal, _)| *journal).collect();
    let now = time(redis, &journals, &pending, now).await?;
    Ok(Backlog::of(&pending, now))
}
