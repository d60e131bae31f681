//! Telling Redis what the ledger has.

use std::collections::BTreeSet;
use std::time::Duration;

use acclaim_core::{Id, Rev};
use redis::Value;

use super::connection::Redis;
use super::error::RedisError;
use super::keys::{Partition, TargetName};
use super::script::{Call, PERSISTED};

/// The most transitions told in one call; their worker's batch is not larger.
pub const MAX_PERSISTED_EVENTS: usize = 1_000;

/// The most buckets made by splits that one call gives their TTL.
pub const MAX_AWAITING_BUCKETS: usize = 200;

/// What one of the worker's transactions wrote.
#[derive(Clone, Debug)]
pub struct Persisted {
    /// The ledger has everything up to here.
    pub upto: Rev,
    /// How long what it has is kept in Redis, ± 10%.
    pub keep: Duration,
    /// The journal is kept after this place for subscribers; at most `upto`.
    pub journal_from: Rev,
    /// The edges of the transitions.
    pub edges: BTreeSet<(TargetName, Id)>,
}

impl Redis {
    /// Lets what the ledger has be evicted, and the journal be trimmed. May be said again. Answers
    /// how many buckets still wait for their TTL, or nothing where the partition is cold.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn persisted(
        &self,
        partition: Partition,
        persisted: &Persisted,
    ) -> Result<Option<u64>, RedisError> {
        let mut call = PERSISTED.on(partition);
        call.arg(persisted.upto.0)
            .arg(u64::try_from(persisted.keep.as_millis()).unwrap_or(u64::MAX))
            .arg(rand::random::<u32>())
            .arg(persisted.journal_from.min(persisted.upto).0 + 1)
            .arg(MAX_AWAITING_BUCKETS);
        for (target, user) in &persisted.edges {
            call.arg(target.to_string());
            call.arg(user.to_string());
        }
        match self.call(&call).await? {
            Value::Nil => Ok(None),
            Value::Int(waiting) => Ok(Some(waiting.unsigned_abs())),
            other => Err(Call::unexpected(&PERSISTED, &other)),
        }
    }
}
