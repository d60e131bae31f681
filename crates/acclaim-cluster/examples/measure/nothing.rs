//! A ledger that has nothing: every target is complete from birth.

use std::ops::RangeInclusive;
use std::time::Duration;

use acclaim_cluster::redis::connection::Redis;
use acclaim_cluster::redis::decide::{DecideOp, Decided};
use acclaim_cluster::redis::keys::{Partition, TargetName};
use acclaim_cluster::redis::load::{Cold, EdgeRows, Source, SourceError, TargetRow};
use acclaim_core::Rev;
use futures::future::{BoxFuture, FutureExt, ready};

use super::Failure;

/// The ledger.
pub struct Nothing;

impl Source for Nothing {
    fn applied(&self, _partition: u16) -> BoxFuture<'_, Result<Rev, SourceError>> {
        ready(Ok(Rev(1))).boxed()
    }

    fn target(
        &self,
        _target: &TargetName,
        _max_edges: u64,
    ) -> BoxFuture<'_, Result<(TargetRow, EdgeRows), SourceError>> {
        ready(Ok((TargetRow::default(), EdgeRows::new()))).boxed()
    }

    fn bucket(
        &self,
        _target: &TargetName,
        _hashes: RangeInclusive<u32>,
    ) -> BoxFuture<'_, Result<EdgeRows, SourceError>> {
        ready(Ok(EdgeRows::new())).boxed()
    }
}

/// Decides ops of a partition, loading from [`Nothing`] what is cold.
pub async fn decide_all(
    redis: &Redis,
    partition: Partition,
    mut ops: Vec<DecideOp>,
    keep: Duration,
) -> Result<(), Failure> {
    while !ops.is_empty() {
        let decided = redis.decide(partition, None, &ops).await?;
        let mut left = Vec::new();
        let mut cold: Vec<Cold> = Vec::new();
        for (op, decided) in ops.into_iter().zip(decided) {
            if let Decided::Cold(what) = decided {
                if !cold.contains(&what) {
                    cold.push(what);
                }
                left.push(op);
            }
        }
        for what in cold {
            redis.load(&Nothing, partition, what, keep).await?;
        }
        ops = left;
    }
    Ok(())
}
