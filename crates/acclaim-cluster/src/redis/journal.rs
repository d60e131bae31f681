//! Reading the journal of a partition, and how far it is.

use acclaim_core::Rev;
use bytes::Bytes;
use redis::{Cmd, Value};

use super::connection::Redis;
use super::error::RedisError;
use super::event::{JournalEvent, Unreadable};
use super::keys::Partition;
use super::published::Published;

/// The most entries read in one call.
pub const MAX_JOURNAL_READ_EVENTS: usize = 1_000;

/// How long it is remembered that somebody waits for the ledger, in milliseconds: longer than
/// anybody waits.
pub const WANTED_MILLIS: u64 = 10_000;

/// An entry as it stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its place.
    pub seq: Rev,
    /// What it holds.
    pub payload: Bytes,
    /// What that says.
    pub event: Result<JournalEvent, Unreadable>,
}

/// A part of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Whose journal.
    pub partition: Partition,
    /// Entries after this place.
    pub after: Rev,
    /// So many at most.
    pub max_events: usize,
}

/// How far a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// Redis was emptied, or never had it.
    Cold,
    /// Nothing says what the ledger has, though the partition is there. Nothing is decided until it
    /// is said again ([`Redis::restore_durable`]).
    Unmarked {
        /// The last place given.
        last: Rev,
    },
    /// As it should be.
    Known {
        /// The last place given.
        last: Rev,
        /// The ledger has everything up to here.
        durable: Rev,
        /// Entries that the ledger has and that are kept for subscribers.
        kept: u64,
        /// Entries up to here were removed.
        removed: Rev,
        /// Somebody waits until the ledger has everything up to here.
        wanted: Rev,
        /// Up to where the journal was published to a bus, if it ever was.
        published: Option<Published>,
    },
}

/// What the ledger does not have yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Entries.
    pub events: u64,
    /// The place of the oldest, where there is one.
    pub oldest: Option<Rev>,
}

impl Redis {
    /// Up to `max_events` entries after a place, oldest first. What is unreadable is told by itself.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn journal_after(
        &self,
        partition: Partition,
        after: Rev,
        max_events: usize,
    ) -> Result<Vec<Result<JournalEvent, Unreadable>>, RedisError> {
        let entries = self.journal_entries(partition, after, max_events).await?;
        Ok(entries.into_iter().map(|entry| entry.event).collect())
    }

    /// The same with what stands there.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn journal_entries(
        &self,
        partition: Partition,
        after: Rev,
        max_events: usize,
    ) -> Result<Vec<JournalEntry>, RedisError> {
        let range = range(partition, after, max_events.min(MAX_JOURNAL_READ_EVENTS));
        let reply = self.command(partition, &range).await?;
        read_entries(&reply).ok_or_else(|| unexpected("XRANGE", &reply))
    }

    /// The same of several journals, those of one server in one pipeline, in their order.
    pub async fn journals(&self, spans: &[Span]) -> Vec<Result<Vec<JournalEntry>, RedisError>> {
        let asked = spans.iter().map(|span| {
            let most = span.max_events.min(MAX_JOURNAL_READ_EVENTS);
            (span.partition, range(span.partition, span.after, most))
        });
        let asked: Vec<_> = asked.collect();
        let replies = self.command_many(&asked).await.into_iter();
        let read = replies.map(|reply| {
            let reply = reply?;
            read_entries(&reply).ok_or_else(|| unexpected("XRANGE", &reply))
        });
        read.collect()
    }

    /// How far a partition is.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn marks(&self, partition: Partition) -> Result<Marks, RedisError> {
        let mut get = redis::cmd("MGET");
        for mark in ["l", "d", "h", "w", "p"] {
            get.arg(format!("{partition}:{mark}"));
        }
        let reply = self.command(partition, &get).await?;
        read_marks(&reply).ok_or_else(|| unexpected("MGET", &reply))
    }

    /// What the ledger does not have yet of a partition with these marks.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn pending(
        &self,
        partition: Partition,
        marks: &Marks,
    ) -> Result<Pending, RedisError> {
        let Marks::Known { durable, kept, .. } = *marks else {
            return Ok(Pending::default());
        };
        let mut length = redis::cmd("XLEN");
        length.arg(format!("{partition}:j"));
        let range = range(partition, durable, 1);
        let (length, first) = futures::try_join!(
            self.command(partition, &length),
            self.command(partition, &range)
        )?;
        let Value::Int(length) = length else {
            return Err(unexpected("XLEN", &length));
        };
        let first = read_entries(&first).ok_or_else(|| unexpected("XRANGE", &first))?;
        let Some(first) = first.first() else {
            return Ok(Pending::default());
        };
        Ok(Pending {
            events: length.unsigned_abs().saturating_sub(kept).max(1),
            oldest: Some(first.seq),
        })
    }

    /// Asks whoever drains the partition to hurry until the ledger has everything up to a place.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn want_durable(&self, partition: Partition, upto: Rev) -> Result<(), RedisError> {
        let mut set = redis::cmd("SET");
        set.arg(format!("{partition}:w")).arg(upto.0);
        set.arg("PX").arg(WANTED_MILLIS);
        self.command(partition, &set).await.map(|_| ())
    }

    /// Says again what the ledger has, where that was lost; too low a place does no harm.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn restore_durable(&self, partition: Partition, upto: Rev) -> Result<(), RedisError> {
        let mut set = redis::cmd("SET");
        set.arg(format!("{partition}:d")).arg(upto.0).arg("NX");
        self.command(partition, &set).await.map(|_| ())
    }

    /// The time of the server that a partition lies on.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn time(&self, partition: Partition) -> Result<Rev, RedisError> {
        let reply = self.command(partition, &redis::cmd("TIME")).await?;
        let part = |at: usize| match &reply {
            Value::Array(parts) => number(parts.get(at)?),
            _ => None,
        };
        match (part(0), part(1)) {
            (Some(seconds), Some(micros)) => Ok(Rev(seconds * 1_000_000 + micros)),
            _ => Err(unexpected("TIME", &reply)),
        }
    }
}

fn range(partition: Partition, after: Rev, max_events: usize) -> Cmd {
    let mut range = redis::cmd("XRANGE");
    range.arg(format!("{partition}:j")).arg(after.0 + 1);
    range.arg("+").arg("COUNT").arg(max_events);
    range
}

pub(super) fn unexpected(script: &'static str, reply: &Value) -> RedisError {
    let reply = format!("{reply:?}").chars().take(200).collect();
    RedisError::Reply { script, reply }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn read_marks(reply: &Value) -> Option<Marks> {
    let Value::Array(marks) = reply else {
        return None;
    };
    let [last, durable, held, wanted, published] = marks.as_slice() else {
        return None;
    };
    if *last == Value::Nil {
        return Some(Marks::Cold);
    }
    let last = Rev(number(last)?);
    if *durable == Value::Nil {
        return Some(Marks::Unmarked { last });
    }
    let held = match held {
        Value::Nil => "0 0",
        Value::BulkString(text) => std::str::from_utf8(text).ok()?,
        _ => return None,
    };
    let (kept, removed) = held.split_once(' ')?;
    let wanted = match wanted {
        Value::Nil => 0,
        wanted => number(wanted)?,
    };
    let published = match published {
        Value::BulkString(text) => Published::parse(std::str::from_utf8(text).ok()?),
        _ => None,
    };
    Some(Marks::Known {
        last,
        durable: Rev(number(durable)?),
        kept: kept.parse().ok()?,
        removed: Rev(removed.parse().ok()?),
        wanted: Rev(wanted),
        published,
    })
}

pub(super) fn read_entries(reply: &Value) -> Option<Vec<JournalEntry>> {
    let Value::Array(entries) = reply else {
        return None;
    };
    entries.iter().map(read_entry).collect()
}

fn read_entry(entry: &Value) -> Option<JournalEntry> {
    let Value::Array(entry) = entry else {
        return None;
    };
    let [Value::BulkString(id), Value::Array(fields)] = entry.as_slice() else {
        return None;
    };
    let id = std::str::from_utf8(id).ok()?;
    let (seq, _) = id.split_once('-')?;
    let text = match fields.as_slice() {
        [_, Value::BulkString(text)] => text.as_slice(),
        _ => b"".as_slice(),
    };
    Some(JournalEntry {
        seq: Rev(seq.parse().ok()?),
        payload: Bytes::copy_from_slice(text),
        event: JournalEvent::parse(id, text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn marks_say_what_is_missing() {
        let read = |marks: [Value; 5]| read_marks(&Value::Array(marks.to_vec()));
        assert_eq!(
            read([Value::Nil, bulk("3"), Value::Nil, Value::Nil, Value::Nil]),
            Some(Marks::Cold)
        );
        assert_eq!(
            read([bulk("7"), Value::Nil, bulk("2 1"), Value::Nil, Value::Nil]),
            Some(Marks::Unmarked { last: Rev(7) })
        );
        assert_eq!(
            read([bulk("7"), bulk("5"), bulk("2 1"), bulk("6"), bulk("4 6")]),
            Some(Marks::Known {
                last: Rev(7),
                durable: Rev(5),
                kept: 2,
                removed: Rev(1),
                wanted: Rev(6),
                published: Some(Published {
                    turn: 4,
                    upto: Rev(6)
                }),
            })
        );
        let nil = || Value::Nil;
        assert_eq!(
            read([bulk("x"), bulk("5"), bulk("2 1"), bulk("6"), nil()]),
            None
        );
        assert_eq!(read([bulk("7"), bulk("5"), bulk("2"), nil(), nil()]), None);
    }
}
