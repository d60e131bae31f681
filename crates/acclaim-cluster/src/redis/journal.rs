//! Reading the journal of a partition.

use acclaim_core::Rev;
use redis::Value;

use super::connection::Redis;
use super::error::RedisError;
use super::event::{self, JournalEvent, Unreadable};
use super::keys::Partition;

/// The most transitions read in one call.
pub const MAX_JOURNAL_READ_EVENTS: usize = 1_000;

/// How many entries the first question asks for. One may hold many transitions, so what is asked
/// for further goes by how many these held.
const FIRST_READ_ENTRIES: usize = 64;

impl Redis {
    /// Up to `max_events` transitions after a place, oldest first. What is unreadable is told by
    /// itself.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn journal_after(
        &self,
        partition: Partition,
        after: Rev,
        max_events: usize,
    ) -> Result<Vec<Result<JournalEvent, Unreadable>>, RedisError> {
        let max_events = max_events.min(MAX_JOURNAL_READ_EVENTS);
        let mut events = Vec::new();
        let mut from = format!("{}-0", after.0 + 1);
        let (mut entries, mut ask_for) = (0, FIRST_READ_ENTRIES.min(max_events));
        while events.len() < max_events {
            let mut range = redis::cmd("XRANGE");
            range.arg(format!("{partition}:j")).arg(&from).arg("+");
            range.arg("COUNT").arg(ask_for);
            let reply = self.command(partition, &range).await?;
            let piece = read_entries(&reply, after).ok_or_else(|| unexpected(&reply))?;
            let got = piece.len();
            let Some((last, _)) = piece.last() else { break };
            // Behind this entry.
            from = format!("({last}");
            entries += got;
            events.extend(piece.into_iter().flat_map(|(_, events)| events));
            if got < ask_for {
                break;
            }
            let missing = max_events.saturating_sub(events.len());
            ask_for = (missing * entries).div_ceil(events.len().max(1)).max(1);
        }
        events.truncate(max_events);
        Ok(events)
    }
}

fn unexpected(reply: &Value) -> RedisError {
    let mut reply = format!("{reply:?}");
    reply.truncate(200);
    RedisError::Reply {
        script: "XRANGE",
        reply,
    }
}

/// An entry's id and the transitions in it that are asked for.
type Entry = (String, Vec<Result<JournalEvent, Unreadable>>);

fn read_entries(reply: &Value, after: Rev) -> Option<Vec<Entry>> {
    let Value::Array(entries) = reply else {
        return None;
    };
    entries
        .iter()
        .map(|entry| read_entry(entry, after))
        .collect()
}

fn read_entry(entry: &Value, after: Rev) -> Option<Entry> {
    let Value::Array(entry) = entry else {
        return None;
    };
    let [Value::BulkString(id), Value::Array(fields)] = entry.as_slice() else {
        return None;
    };
    let id = std::str::from_utf8(id).ok()?;
    let texts = fields.iter().skip(1).step_by(2).map(|text| match text {
        Value::BulkString(text) => Some(text.as_slice()),
        _ => None,
    });
    let texts: Option<Vec<&[u8]>> = texts.collect();
    Some((id.to_owned(), event::read_entry(id, &texts?, after)))
}
