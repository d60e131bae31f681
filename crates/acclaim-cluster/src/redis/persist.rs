//! Telling Redis what the ledger has.

use std::collections::BTreeSet;
use std::time::Duration;

use acclaim_core::{Id, Rev};
use redis::Value;

use super::connection::Redis;
use super::error::RedisError;
use super::keys::{Partition, TargetName};
use super::load::word;
use super::script::{self, Call, FORGET, PERSISTED};

/// The most transitions told in one call; their worker's batch is not larger.
pub const MAX_PERSISTED_EVENTS: usize = 1_000;

/// The most buckets made by splits that one call gives their TTL.
pub const MAX_AWAITING_BUCKETS: usize = 200;

/// For how long Redis keeps what the ledger has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Records and buckets, ± 10%.
    pub keys: Duration,
    /// The journal, for subscribers who resume.
    pub journal: Duration,
    /// Entries of the journal of one partition, for the same; less some of one stream node.
    pub journal_events: u64,
    /// The place up to which those have read who are to miss nothing; `None` where there is nobody.
    pub read_upto: Option<Rev>,
    /// Entries of the journal of one partition that are kept for them.
    pub unread_events: u64,
}

/// What one of the worker's transactions wrote.
#[derive(Clone, Debug, Default)]
pub struct Persisted {
    /// The ledger has everything up to here.
    pub upto: Rev,
    /// The journal was read after this place.
    pub after: Rev,
    /// The place of the last entry that was applied, where there was one.
    pub last: Option<Rev>,
    /// Entries that were applied.
    pub entries: usize,
    /// The edges of the transitions.
    pub edges: BTreeSet<(TargetName, Id)>,
}

/// What Redis made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It knows now.
    Noted {
        /// Entries of the journal that the ledger has and that are kept for subscribers.
        kept: u64,
        /// Entries up to here were removed.
        removed: Rev,
        /// Buckets that still wait for their TTL: tell again.
        waiting: u64,
        /// The time there.
        now: Rev,
    },
    /// The partition is cold.
    Cold,
    /// The batch was read from a journal that is not there any more: nothing was noted.
    OtherJournal,
}

impl Redis {
    /// Lets what the ledger has be evicted, and trims the journal. May be said again. The time is
    /// the server's own where none is given.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn persisted(
        &self,
        partition: Partition,
        now: Option<Rev>,
        keep: Keep,
        persisted: &Persisted,
    ) -> Result<Told, RedisError> {
        let mut call = PERSISTED.on(partition);
        call.arg(persisted.upto.0)
            .arg(persisted.after.0)
            .arg(persisted.last.unwrap_or(Rev::ZERO).0)
            .arg(persisted.entries)
            .arg(now.unwrap_or(Rev::ZERO).0)
            .arg(u64::try_from(keep.keys.as_millis()).unwrap_or(u64::MAX))
            .arg(rand::random::<u32>())
            .arg(u64::try_from(keep.journal.as_micros()).unwrap_or(u64::MAX))
            .arg(keep.journal_events)
            .arg(MAX_AWAITING_BUCKETS);
        match keep.read_upto {
            Some(upto) => call.arg(upto.0),
            None => call.arg(-1),
        };
        call.arg(keep.unread_events);
        for (target, user) in &persisted.edges {
            call.arg(target.to_string());
            call.arg(user.to_string());
        }
        let reply = self.call(&call).await?;
        match word(&reply) {
            Some("COLD") => return Ok(Told::Cold),
            Some("OTHER") => return Ok(Told::OtherJournal),
            _ => {}
        }
        let numbers = numbers(&reply)?;
        let [kept, removed, waiting, now] = numbers[..] else {
            return Err(Call::unexpected(&PERSISTED, &reply));
        };
        Ok(Told::Noted {
            kept,
            removed: Rev(removed),
            waiting,
            now: Rev(now),
        })
    }

    /// Drops a target's record because the ledger was changed past Redis; it is loaded anew when it
    /// is touched. Answers false while the ledger does not have all of it: ask again later.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn forget(
        &self,
        partition: Partition,
        target: &TargetName,
    ) -> Result<bool, RedisError> {
        let mut call = FORGET.on(partition);
        call.arg(target.to_string());
        let reply = self.call(&call).await?;
        match word(&reply) {
            Some("OK") => Ok(true),
            Some("LATER") => Ok(false),
            _ => Err(Call::unexpected(&FORGET, &reply)),
        }
    }
}

fn numbers(reply: &Value) -> Result<Vec<u64>, RedisError> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
    let texts = script::texts(&PERSISTED, reply)?;
    let numbers: Option<Vec<u64>> = texts.into_iter().map(number).collect();
    numbers.ok_or_else(|| Call::unexpected(&PERSISTED, reply))
}
