//! Events that could not be applied, with the reason, to be looked at and sent again.
//!
//! An event is there once, however often it is refused: its place in its journal is its key.

use acclaim_core::Rev;
use sqlx::Row;
use sqlx::mysql::MySqlRow;

use crate::ledger::error::{Failure, LedgerError};
use crate::ledger::event::Batch;
use crate::ledger::lease::NOW;
use crate::ledger::pools::Ledger;
use crate::ledger::session::{Session, Sql, parts};

/// The longest reason, in characters; the rest is cut off.
pub const MAX_REASON_CHARS: usize = 512;
/// The longest payload, in bytes; the rest is cut off. The longest event of ours is far shorter.
pub const MAX_PAYLOAD_BYTES: usize = 16 * 1024;
/// Dead letters in one page.
pub const MAX_DEAD_LETTERS: usize = 1_000;

/// An event on its way to the dead letters.
#[derive(Debug)]
pub(crate) struct DeadLetter<'a> {
    pub seq: Rev,
    pub reason: String,
    pub payload: &'a [u8],
}

/// An event that could not be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buried {
    /// Its number here.
    pub id: u64,
    /// The partition of its journal.
    pub partition: u16,
    /// The epoch of its journal.
    pub epoch: u32,
    /// Its place in its journal.
    pub seq: Rev,
    /// When it was refused first.
    pub at: Rev,
    /// Why it was refused last.
    pub reason: String,
    /// As it stood in the journal.
    pub payload: Vec<u8>,
}

pub(crate) async fn bury(
    session: &mut Session,
    batch: &Batch,
    letters: &[DeadLetter<'_>],
    now: Option<u64>,
) -> Result<(), Failure> {
    for part in parts(letters) {
        let mut sql =
            Sql::new("INSERT INTO dead_letters (part, epoch, seq, at, reason, payload) VALUES ");
        for (n, letter) in part.iter().enumerate() {
            sql.push(if n == 0 { "(?,?,?," } else { ",(?,?,?," })
                .push(NOW)
                .push(",?,?)");
            let reason: String = letter.reason.chars().take(MAX_REASON_CHARS).collect();
            let payload = &letter.payload[..letter.payload.len().min(MAX_PAYLOAD_BYTES)];
            sql.bind(batch.partition)
                .bind(batch.epoch)
                .bind(letter.seq.0)
                .bind(now);
            sql.bind(reason).bind(payload);
        }
        sql.push(" ON DUPLICATE KEY UPDATE reason = VALUES(reason)");
        session.run(sql).await?;
    }
    Ok(())
}

impl Ledger {
    /// Puts away a message of a bus that does not say where in which journal it stands: under its
    /// bus partition, epoch 0, and its place there.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn bury_message(
        &self,
        bus_partition: u32,
        position: u64,
        reason: &str,
        payload: &[u8],
    ) -> Result<(), LedgerError> {
        let batch = &Batch {
            partition: u16::try_from(bus_partition).unwrap_or(u16::MAX),
            epoch: 0,
            fence: 0,
            entries: Vec::new(),
        };
        self.retried(|| async move {
            let letter = DeadLetter {
                seq: Rev(position.saturating_add(1)),
                reason: reason.to_owned(),
                payload,
            };
            let mut session = self.writing().await?;
            bury(&mut session, batch, &[letter], self.manual_now()).await
        })
        .await
    }

    /// Up to `most` dead letters after `after`, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn dead_letters(&self, after: u64, most: usize) -> Result<Vec<Buried>, LedgerError> {
        let most = most.min(MAX_DEAD_LETTERS) as u64;
        let sql = || {
            let mut sql = Sql::new(
                "SELECT id, part, epoch, seq, at, reason, payload FROM dead_letters \
                 WHERE id > ? ORDER BY id LIMIT ?",
            );
            sql.bind(after).bind(most);
            sql
        };
        read(&self.read_rows(sql).await?)
    }

    /// One dead letter.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn dead_letter(&self, id: u64) -> Result<Option<Buried>, LedgerError> {
        let sql = || {
            let mut sql = Sql::new(
                "SELECT id, part, epoch, seq, at, reason, payload FROM dead_letters WHERE id = ?",
            );
            sql.bind(id);
            sql
        };
        Ok(read(&self.read_rows(sql).await?)?.pop())
    }

    /// Takes a dead letter away, after it was sent again. Answers whether it was there.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn remove_dead_letter(&self, id: u64) -> Result<bool, LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new("DELETE FROM dead_letters WHERE id = ?");
            sql.bind(id);
            Ok(self.writing().await?.run(sql).await? > 0)
        })
        .await
    }
}

fn read(rows: &[MySqlRow]) -> Result<Vec<Buried>, LedgerError> {
    let one = |row: &MySqlRow| -> Result<Buried, sqlx::Error> {
        Ok(Buried {
            id: row.try_get(0)?,
            partition: row.try_get(1)?,
            epoch: row.try_get(2)?,
            seq: Rev(row.try_get(3)?),
            at: Rev(row.try_get(4)?),
            reason: row.try_get(5)?,
            payload: row.try_get(6)?,
        })
    };
    let read: Result<Vec<_>, _> = rows.iter().map(one).collect();
    read.map_err(|error| LedgerError::Corrupt(error.to_string()))
}
