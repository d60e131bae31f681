//! Dropping a target's record so that it is loaded anew: what recovery does.

use super::connection::Redis;
use super::error::RedisError;
use super::keys::{Partition, TargetName};
use super::load::{Claim, Cold, LOAD_TOKEN_MILLIS, new_token};
use super::script::{self, Call, DROP};

/// What became of dropping a record.
#[derive(Debug)]
pub enum Dropped {
    /// It is gone and only this claim can install it again.
    Gone {
        /// The right to do so.
        claim: Claim,
        /// The count it had, if it was there.
        count: Option<u64>,
    },
    /// The ledger does not have its last transition yet.
    Behind,
    /// Another is loading it.
    Held,
    /// The partition must be loaded first.
    Cold,
}

impl Redis {
    /// Drops a target's record, only where the ledger has its last transition.
    ///
    /// # Errors
    /// [`RedisError`]; where the outcome is unknown, a token is left to expire.
    pub async fn drop_record(
        &self,
        partition: Partition,
        target: &TargetName,
    ) -> Result<Dropped, RedisError> {
        let token = new_token();
        let mut call = DROP.on(partition);
        call.arg(&token).arg(LOAD_TOKEN_MILLIS);
        call.arg(target.to_string());
        let reply = self.call(&call).await?;
        let unexpected = || Call::unexpected(&DROP, &reply);
        let count = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
        let cold = Cold::Record(target.clone());
        match script::texts(&DROP, &reply)?.as_slice() {
            [b"OK"] => Ok(Dropped::Gone {
                claim: Claim::new(partition, cold, token),
                count: None,
            }),
            [b"OK", text] => Ok(Dropped::Gone {
                claim: Claim::new(partition, cold, token),
                count: Some(count(text).ok_or_else(unexpected)?),
            }),
            [b"BEHIND"] => Ok(Dropped::Behind),
            [b"HELD"] => Ok(Dropped::Held),
            [b"COLD"] => Ok(Dropped::Cold),
            _ => Err(unexpected()),
        }
    }
}
