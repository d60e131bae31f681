//! Dropping a target's record so that it is loaded anew: what recovery does, and an import that
//! goes past Redis.

use redis::Value;

use super::connection::Redis;
use super::error::RedisError;
use super::keys::{Partition, TargetName};
use super::load::{Claim, Cold, LOAD_TOKEN_MILLIS, new_token};
use super::script::{self, Call, DROP, RELEASE};

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
        let call = drop_call(partition, target, &token, LOAD_TOKEN_MILLIS);
        let reply = self.call(&call).await?;
        read_dropped(partition, target, token, &reply)
    }

    /// Drops the records of many targets of a partition in one pipeline, for so long at most. The
    /// answers are in the order of the targets, each by itself.
    pub async fn drop_records(
        &self,
        partition: Partition,
        targets: &[TargetName],
        token_millis: u64,
    ) -> Vec<Result<Dropped, RedisError>> {
        let tokens: Vec<String> = targets.iter().map(|_| new_token()).collect();
        let calls = targets.iter().zip(&tokens);
        let calls: Vec<Call> = calls
            .map(|(target, token)| drop_call(partition, target, token, token_millis))
            .collect();
        let replies = self.call_many(&calls).await;
        let dropped = targets.iter().zip(tokens).zip(replies);
        dropped
            .map(|((target, token), reply)| read_dropped(partition, target, token, &reply?))
            .collect()
    }

    /// Gives claims of records of a partition back: whoever needs one loads it.
    ///
    /// # Errors
    /// [`RedisError`]; then the tokens end by themselves.
    pub async fn release_records(
        &self,
        partition: Partition,
        claims: Vec<Claim>,
    ) -> Result<(), RedisError> {
        for claims in claims.chunks(MAX_RELEASED) {
            let mut call = RELEASE.on(partition);
            for claim in claims {
                if let Cold::Record(target) = claim.cold() {
                    call.arg(target.to_string()).arg(claim.token());
                }
            }
            self.call(&call).await?;
        }
        Ok(())
    }
}

/// Claims that one call gives back.
const MAX_RELEASED: usize = 200;

fn drop_call(partition: Partition, target: &TargetName, token: &str, millis: u64) -> Call {
    let mut call = DROP.on(partition);
    call.arg(token).arg(millis);
    call.arg(target.to_string());
    call
}

fn read_dropped(
    partition: Partition,
    target: &TargetName,
    token: String,
    reply: &Value,
) -> Result<Dropped, RedisError> {
    let unexpected = || Call::unexpected(&DROP, reply);
    let count = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
    let cold = Cold::Record(target.clone());
    match script::texts(&DROP, reply)?.as_slice() {
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
