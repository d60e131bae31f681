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
        read(&self.call(&PROGRESS.on(partition)).await?)
    }

    /// The same of several, those of one server in one pipeline, in their order.
    ///
    /// # Errors
    /// The first [`RedisError`].
    pub async fn progress_many(
        &self,
        partitions: &[Partition],
    ) -> Result<Vec<Option<Progress>>, RedisError> {
        let calls: Vec<Call> = partitions.iter().map(|one| PROGRESS.on(*one)).collect();
        let replies = self.call_many(&calls).await;
        replies.into_iter().map(|reply| read(&reply?)).collect()
    }

    /// Gives no place up to `upto` any more in these partitions: their journals up to there are all
    /// that they will be. One that is cold stays so.
    ///
    /// # Errors
    /// The first [`RedisError`].
    pub async fn seal(&self, partitions: &[Partition], upto: Rev) -> Result<(), RedisError> {
        let call = |partition: &Partition| {
            let mut call = SEAL.on(*partition);
            call.arg(upto.0);
            call
        };
        let calls: Vec<Call> = partitions.iter().map(call).collect();
        for reply in self.call_many(&calls).await {
            let reply = reply?;
            if !matches!(super::load::word(&reply), Some("OK" | "COLD")) {
                return Err(Call::unexpected(&SEAL, &reply));
            }
        }
        Ok(())
    }
}

fn read(reply: &Value) -> Result<Option<Progress>, RedisError> {
    let texts = script::texts(&PROGRESS, reply)?;
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
        _ => Err(Call::unexpected(&PROGRESS, reply)),
    }
}

fn rev(text: &[u8]) -> Option<Rev> {
    std::str::from_utf8(text).ok()?.parse().ok().map(Rev)
}
