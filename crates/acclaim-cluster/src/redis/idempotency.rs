//! Answers kept for repeated requests, for 24 hours.
//!
//! An op's answer lies in the op's own partition and is written by the call that decides it, so an
//! op under an idempotency key is decided once, however often and through whichever node it comes.
//! Which request a key belongs to lies in a partition of the key's own ([`home`]), because another
//! request under the same key may concern other targets.
//!
//! Answers lie on 256 shelves a day. They carry no TTL, since what carries one can be evicted;
//! shelves are removed when they are two days old.

use acclaim_core::Rev;
use acclaim_core::port::{Fingerprint, Idempotency};
use redis::Value;

use super::connection::Redis;
use super::error::RedisError;
use super::keys::Partition;
use super::script::{self, Call, FORGET_ANSWERS, RESERVE, SWEEP};

/// Shelves removed in one call; of each, Redis frees the memory beside its work.
pub const SHELVES_A_SWEEP: u16 = 64;

/// Whether a request is the first under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It is the first.
    New,
    /// The same came before: what it decided is answered again, the rest is decided now.
    Again,
    /// Another came before.
    Mismatch,
}

/// The number of the partition that a key's request is noted in.
#[must_use]
pub fn home(key: &Fingerprint, partitions: u16) -> u16 {
    u16::from_be_bytes([key[14], key[15]]) % partitions.max(1)
}

/// The field of an answer and the shelf that it lies on.
pub(super) fn place(key: &Fingerprint, index: &str) -> (Vec<u8>, String) {
    let mut field = key.to_vec();
    field.extend_from_slice(index.as_bytes());
    (field, format!("{:02x}", key[0]))
}

impl Redis {
    /// Notes the request of a key in its home partition, before its ops are decided.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn reserve(
        &self,
        home: Partition,
        now: Option<Rev>,
        idempotency: &Idempotency,
    ) -> Result<Reserved, RedisError> {
        let (field, shelf) = place(&idempotency.key, "");
        let mut call = RESERVE.on(home);
        call.arg(now.unwrap_or(Rev::ZERO).0).arg(field).arg(shelf);
        call.arg(idempotency.request.as_slice());
        let reply = self.call(&call).await?;
        let word = match &reply {
            Value::BulkString(word) => word.as_slice(),
            Value::SimpleString(word) => word.as_bytes(),
            _ => b"",
        };
        match word {
            b"NEW" => Ok(Reserved::New),
            b"SAME" => Ok(Reserved::Again),
            b"OTHER" => Ok(Reserved::Mismatch),
            _ => Err(Call::unexpected(&RESERVE, &reply)),
        }
    }

    /// Removes what is kept under a key in one partition before its time: the answers to the ops at
    /// these places of the write and, in the key's [`home`], its request. For who knows that
    /// nobody will repeat it.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn forget_answers(
        &self,
        partition: Partition,
        now: Option<Rev>,
        key: &Fingerprint,
        places: &[u32],
    ) -> Result<(), RedisError> {
        let (request, shelf) = place(key, "");
        let mut call = FORGET_ANSWERS.on(partition);
        call.arg(now.unwrap_or(Rev::ZERO).0).arg(shelf).arg(request);
        for index in places {
            call.arg(place(key, &index.to_string()).0);
        }
        self.call(&call).await?;
        Ok(())
    }

    /// Removes answers of the day before yesterday and of those before it, some shelves a call.
    /// Answers how many shelves there were, and whether there is more to do. The time is the
    /// server's own where none is given.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn sweep_answers(
        &self,
        partition: Partition,
        now: Option<Rev>,
    ) -> Result<(u64, bool), RedisError> {
        let mut call = SWEEP.on(partition);
        call.arg(now.unwrap_or(Rev::ZERO).0).arg(SHELVES_A_SWEEP);
        let reply = self.call(&call).await?;
        let texts = script::texts(&SWEEP, &reply)?;
        let [removed, more] = texts[..] else {
            return Err(Call::unexpected(&SWEEP, &reply));
        };
        let removed = std::str::from_utf8(removed).ok();
        let removed = removed.and_then(|text| text.parse().ok());
        let removed = removed.ok_or_else(|| Call::unexpected(&SWEEP, &reply))?;
        Ok((removed, more == b"1"))
    }
}
