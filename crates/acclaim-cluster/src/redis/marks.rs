//! Where users wrote lately.
//!
//! A user's edges lie in the partitions of their targets. Whoever reads the user's side from the
//! ledger asks here which partitions the ledger must have caught up with. A mark carries a TTL, so
//! it may be evicted: then a read right after a write may miss it until the ledger has it.

use acclaim_core::Id;
use redis::Value;

use super::connection::Redis;
use super::error::RedisError;
use super::keys::Partition;
use super::script::{Call, MARK};

impl Redis {
    /// Notes users and partitions that they write in, in the partition that is the users' own.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn mark(
        &self,
        home: Partition,
        lives_seconds: u64,
        marks: &[(Id, u16)],
    ) -> Result<(), RedisError> {
        let mut call = MARK.on(home);
        call.arg(lives_seconds);
        for (user, partition) in marks {
            call.arg(user.to_string()).arg(*partition);
        }
        self.call(&call).await.map(|_| ())
    }

    /// The partitions in which a user wrote lately, in no order.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn marked(&self, home: Partition, user: &Id) -> Result<Vec<u16>, RedisError> {
        let mut members = redis::cmd("SMEMBERS");
        members.arg(format!("{home}:u:{user}"));
        let reply = self.command(home, &members).await?;
        read(&reply).ok_or_else(|| Call::unexpected(&MARK, &reply))
    }
}

fn read(reply: &Value) -> Option<Vec<u16>> {
    let (Value::Array(members) | Value::Set(members)) = reply else {
        return None;
    };
    let number = |member: &Value| match member {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    };
    members.iter().map(number).collect()
}
