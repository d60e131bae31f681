//! Reading the journal of a partition.

use acclaim_core::Rev;
use redis::Value;

use super::connection::Redis;
use super::error::RedisError;
use super::event::{JournalEvent, Unreadable};
use super::keys::Partition;

/// The most entries read in one call.
pub const MAX_JOURNAL_READ_EVENTS: usize = 1_000;

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
        let mut range = redis::cmd("XRANGE");
        range
            .arg(format!("{partition}:j"))
            .arg(after.0 + 1)
            .arg("+")
            .arg("COUNT")
            .arg(max_events.min(MAX_JOURNAL_READ_EVENTS));
        let reply = self.command(partition, &range).await?;
        read_entries(&reply).ok_or_else(|| {
            let mut reply = format!("{reply:?}");
            reply.truncate(200);
            RedisError::Reply {
                script: "XRANGE",
                reply,
            }
        })
    }
}

fn read_entries(reply: &Value) -> Option<Vec<Result<JournalEvent, Unreadable>>> {
    let Value::Array(entries) = reply else {
        return None;
    };
    entries.iter().map(read_entry).collect()
}

fn read_entry(entry: &Value) -> Option<Result<JournalEvent, Unreadable>> {
    let Value::Array(entry) = entry else {
        return None;
    };
    let [Value::BulkString(id), Value::Array(fields)] = entry.as_slice() else {
        return None;
    };
    let id = std::str::from_utf8(id).ok()?;
    let text = match fields.as_slice() {
        [_, Value::BulkString(text)] => text.as_slice(),
        _ => b"".as_slice(),
    };
    Some(JournalEvent::parse(id, text))
}
