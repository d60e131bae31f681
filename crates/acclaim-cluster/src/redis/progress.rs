//! How far a partition is, and sealing it.

use acclaim_core::Rev;
use redis::Value;

use super::connection::Redis;
use super::error::RedisError;
use super::keys::Partition;
use super::script::{self, Call, PROGRESS, SEAL};

/// How far a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last place given. Later transitions get later ones.
    pub last: Rev,
    /// The ledger has everything up to here.
    pub durable: Rev,
    /// The journal has everything after here.
    pub kept_after: Rev,
    /// The place of the newest transition.
    pub newest: Rev,
    /// The time of the server.
    pub time: Rev,
}

impl Progress {
    /// Whether the ledger has every transition.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.newest <= self.durable
    }
}

impl Redis {
    /// How far a partition is, or nothing where it is cold: then the ledger has all of it.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn progress(&self, partition: Partition) -> Result<Option<Progress>, RedisError> {
        let reply = self.call(&PROGRESS.on(partition)).await?;
        let texts = script::texts(&PROGRESS, &reply)?;
        if texts.is_empty() {
            return Ok(None);
        }
        let numbers: Option<Vec<Rev>> = texts.into_iter().map(rev).collect();
        match numbers.as_deref() {
            Some(&[last, durable, kept_after, newest, time]) => Ok(Some(Progress {
                last,
                durable,
                kept_after,
                newest,
                time,
            })),
            _ => Err(Call::unexpected(&PROGRESS, &reply)),
        }
    }

    /// Gives no place up to `upto` any more: the journal up to there is all that it will be.
    /// `false` where the partition is cold.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn seal(&self, partition: Partition, upto: Rev) -> Result<bool, RedisError> {
        let mut call = SEAL.on(partition);
        call.arg(upto.0);
        let reply: Value = self.call(&call).await?;
        match super::load::word(&reply) {
            Some("OK") => Ok(true),
            Some("COLD") => Ok(false),
            _ => Err(Call::unexpected(&SEAL, &reply)),
        }
    }
}

fn rev(text: &[u8]) -> Option<Rev> {
    std::str::from_utf8(text).ok()?.parse().ok().map(Rev)
}
