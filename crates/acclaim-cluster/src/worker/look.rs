//! One look at many partitions: all calls at once, on the connections that they share.

use acclaim_core::Rev;
use futures::future::join_all;

use super::backlog::{self, Backlog, Behind};
use crate::ledger::Lease;
use crate::redis::connection::Redis;
use crate::redis::error::RedisError;
use crate::redis::journal::Marks;
use crate::redis::keys::Partition;

/// What was seen of each, and the backlog where it was asked for and all could be seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub marks: Vec<(Lease, Result<Marks, RedisError>)>,
    pub backlog: Option<Backlog>,
    /// What is not on the bus, where there is one.
    pub unpublished: Option<Backlog>,
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
    has_bus: bool,
    now: Option<Rev>,
) -> Seen {
    // Each by itself: a partition that began a new life would have all that go with it refused.
    let looks = leases.iter().map(|lease| redis.marks(journal(*lease)));
    let marks = join_all(looks).await;
    let measured = leases.iter().zip(&marks).filter(|_| measures);
    let known: Result<Vec<(Lease, Marks)>, RedisError> = measured
        .map(|(lease, marks)| Ok((*lease, marks.clone()?)))
        .collect();
    let (mut backlog, mut unpublished) = (None, None);
    if let (true, Ok(known)) = (measures, known) {
        let behind = known.iter();
        let behind = behind.filter_map(|(lease, marks)| Behind::ledger(journal(*lease), *marks));
        backlog = backlog::of(redis, behind.collect(), now).await.ok();
        if has_bus {
            let behind = known
                .iter()
                .filter_map(|(lease, marks)| Behind::bus(journal(*lease), *marks, lease.turn));
            unpublished = backlog::of(redis, behind.collect(), now).await.ok();
        }
    }
    Seen {
        marks: leases.into_iter().zip(marks).collect(),
        backlog,
        unpublished,
    }
}
