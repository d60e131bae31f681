//! How far a partition's journal was published to the bus.
//!
//! The mark lies beside the journal, so it goes where the journal goes: who takes over a partition
//! goes on where it stands, and publishes at most what was under way once more. It belongs to a turn
//! of the partition's seat; in the next one everything is published again that the ledger lacks
//! ([`crate::ledger::carry`]).

use acclaim_core::Rev;
use redis::Value;

use super::connection::Redis;
use super::error::RedisError;
use super::keys::Partition;
use super::load::word;
use super::script::{Call, PUBLISH_AGAIN, PUBLISHED};

/// Up to where a journal was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// In which turn of the seat.
    pub turn: u64,
    /// The place of the last event that the bus acknowledged; zero where all that the ledger lacks
    /// is to be published again.
    pub upto: Rev,
}

impl Published {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (turn, upto) = text.split_once(' ')?;
        Some(Self {
            turn: turn.parse().ok()?,
            upto: Rev(upto.parse().ok()?),
        })
    }

    fn text(self) -> String {
        format!("{} {}", self.turn, self.upto.0)
    }
}

/// What became of a mark that was to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// It stands there now.
    Noted,
    /// It stood elsewhere: another published too, or it was asked for again.
    Elsewhere,
    /// The partition is cold.
    Cold,
}

impl Redis {
    /// Moves the mark from where it stood when the journal was read.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn note_published(
        &self,
        partition: Partition,
        before: Option<Published>,
        now: Published,
    ) -> Result<Marked, RedisError> {
        let mut call = PUBLISHED.on(partition);
        call.arg(before.map(Published::text).unwrap_or_default());
        call.arg(now.text());
        let reply = self.call(&call).await?;
        match word(&reply) {
            Some("OK") => Ok(Marked::Noted),
            Some("OTHER") => Ok(Marked::Elsewhere),
            Some("COLD") => Ok(Marked::Cold),
            _ => Err(Call::unexpected(&PUBLISHED, &reply)),
        }
    }

    /// Has everything that the ledger lacks published again, since something that was published in
    /// `turn` never came. Answers whether it will be; in another turn it is anyway.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn publish_again(&self, partition: Partition, turn: u64) -> Result<bool, RedisError> {
        let mut call = PUBLISH_AGAIN.on(partition);
        call.arg(turn);
        let reply: Value = self.call(&call).await?;
        match word(&reply) {
            Some("OK") => Ok(true),
            Some("NO") => Ok(false),
            _ => Err(Call::unexpected(&PUBLISH_AGAIN, &reply)),
        }
    }

    /// The place of the entry before another one in a journal, if it still has it.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn place_before(
        &self,
        partition: Partition,
        place: Rev,
    ) -> Result<Option<Rev>, RedisError> {
        let mut range = redis::cmd("XREVRANGE");
        range.arg(format!("{partition}:j"));
        range.arg(place.0.saturating_sub(1)).arg("-");
        range.arg("COUNT").arg(1);
        let reply = self.command(partition, &range).await?;
        let entries = super::journal::read_entries(&reply);
        let entries = entries.ok_or_else(|| super::journal::unexpected("XREVRANGE", &reply))?;
        Ok(entries.first().map(|entry| entry.seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_read_back() {
        let mark = Published {
            turn: 3,
            upto: Rev(17),
        };
        assert_eq!(Published::parse(&mark.text()), Some(mark));
        assert_eq!(Published::parse("3"), None);
        assert_eq!(Published::parse("x 1"), None);
    }
}
