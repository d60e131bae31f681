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
use super::script::{Call, RESERVE};

const SHELVES: u16 = 256;

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

    /// Removes the answers of a day. Not before the day after the next.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn forget_answers(&self, partition: Partition, day: u32) -> Result<(), RedisError> {
        let mut unlink = redis::cmd("UNLINK");
        for shelf in 0..SHELVES {
            unlink.arg(format!("{partition}:i:{day}:{shelf:02x}"));
        }
        self.command(partition, &unlink).await.map(|_| ())
    }
}
