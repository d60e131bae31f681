//! How far a partition is, and sealing it.

use acclaim_core::{Id, Rev};
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

    /// The place of the last transition of these users in each of the partitions, as far as the
    /// ledger may lack it; zero where it has everything.
    ///
    /// A user's edges lie in the partitions of their targets: whoever reads the user's side from
    /// the ledger asks here up to where it must have caught up.
    ///
    /// # Errors
    /// The first [`RedisError`].
    pub async fn pending_of(
        &self,
        partitions: &[Partition],
        users: &[&Id],
    ) -> Result<Vec<Rev>, RedisError> {
        let users: Vec<String> = users.iter().map(|user| user.to_string()).collect();
        let asked = |partition: &Partition| {
            let mut places = redis::cmd("HMGET");
            places.arg(format!("{partition}:u")).arg(&users);
            (*partition, places)
        };
        let asked: Vec<_> = partitions.iter().map(asked).collect();
        let replies = self.command_many(&asked).await.into_iter();
        replies.map(|reply| newest(&reply?)).collect()
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

/// The latest of places, of which some are not there.
fn newest(reply: &Value) -> Result<Rev, RedisError> {
    let unexpected = || RedisError::Reply {
        script: "HMGET",
        reply: format!("{reply:?}"),
    };
    let Value::Array(places) = reply else {
        return Err(unexpected());
    };
    let place = |place: &Value| match place {
        Value::Nil => Some(Rev::ZERO),
        Value::BulkString(text) => rev(text),
        _ => None,
    };
    let places: Option<Vec<Rev>> = places.iter().map(place).collect();
    let newest = places.ok_or_else(unexpected)?.into_iter().max();
    Ok(newest.unwrap_or(Rev::ZERO))
}

fn rev(text: &[u8]) -> Option<Rev> {
    std::str::from_utf8(text).ok()?.parse().ok().map(Rev)
}
