//! On which server of Redis each partition is decided, as all nodes agree on it.
//!
//! The ledger only compares and sets; what a server's name is and when a seat is to be taken is not
//! its business. Taking a seat ends the partition's lease: what was read from the server before is
//! applied before the seat is taken, or never.
//!
//! What changes edges or counts past Redis marks the seat as **passed**: the next server that takes
//! it may have what Redis was told to drop.

use acclaim_core::Rev;
use sqlx::Row;

use super::error::{Failure, LedgerError};
use super::moving::IS_MOVED;
use super::pools::Ledger;
use super::session::{Session, Sql};

/// The longest name of a server, in bytes.
pub const MAX_SEAT_BYTES: usize = 255;

/// A partition's seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The name of the server; empty while there was none.
    pub server: String,
    /// How often it was taken.
    pub turn: u64,
    /// The life of the partition.
    pub life: u32,
    /// The journal is applied up to here.
    pub applied: Rev,
    /// Whether the ledger was changed past Redis since it was taken.
    pub is_passed: bool,
    /// Whether something was published to a bus in this turn.
    pub is_carried: bool,
    /// Whether the turn before was ended because of that, and the seat is still to be taken.
    pub is_closing: bool,
    /// Everything that was published in turns before this one is recorded, or never will be.
    pub closed: u64,
}

impl Ledger {
    /// The seat of a partition.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn seat(&self, partition: u16) -> Result<Seat, LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new(
                "SELECT seat, turn, life, applied, passed, carried, closing, closed \
                 FROM partitions WHERE n = ?",
            );
            sql.bind(partition);
            let row = self.writing().await?.first(sql).await?;
            let row = row.ok_or_else(|| {
                LedgerError::Corrupt(format!("there is no partition {partition}"))
            })?;
            let server: Vec<u8> = row.try_get(0)?;
            Ok(Seat {
                server: String::from_utf8_lossy(&server).into_owned(),
                turn: row.try_get(1)?,
                life: row.try_get(2)?,
                applied: Rev(row.try_get(3)?),
                is_passed: row.try_get(4)?,
                is_carried: row.try_get(5)?,
                is_closing: row.try_get(6)?,
                closed: row.try_get(7)?,
            })
        })
        .await
    }

    /// How often each seat was taken, by partition.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn seat_turns(&self) -> Result<Vec<(u16, u64)>, LedgerError> {
        self.retried(|| async move {
            let sql = Sql::new("SELECT n, turn FROM partitions ORDER BY n");
            let rows = self.writing().await?.all(sql).await?;
            rows.iter()
                .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                .collect()
        })
        .await
    }

    /// Takes the seat for `server`, in which the partition is in `life`, if all of it is still as
    /// it was `found` and the ledger is not being moved: a seat that was taken would end the pause
    /// of the move. Answers whether it was. After an error the seat may have been taken.
    ///
    /// # Errors
    /// [`LedgerError::TooMany`] for a name that is too long.
    pub async fn take_seat(
        &self,
        partition: u16,
        found: &Seat,
        server: &str,
        life: u32,
    ) -> Result<bool, LedgerError> {
        if server.len() > MAX_SEAT_BYTES {
            return Err(LedgerError::TooMany {
                what: "bytes of the name of a Redis server",
                given: server.len(),
                limit: MAX_SEAT_BYTES,
            });
        }
        self.retried(|| async move {
            // Nobody can hold what was read from a server before there was one.
            let text = if found.server.is_empty() {
                "UPDATE partitions SET seat = ?, life = ?, passed = 0, turn = turn + 1, \
                 carried = 0, closing = 0 \
                 WHERE n = ? AND turn = ? AND applied = ? AND passed = ? AND carried = ?"
            } else {
                "UPDATE partitions SET seat = ?, life = ?, passed = 0, turn = turn + 1, \
                 fence = fence + 1, owner = '', lease_until = 0, carried = 0, closing = 0 \
                 WHERE n = ? AND turn = ? AND applied = ? AND passed = ? AND carried = ?"
            };
            let mut sql = Sql::new(text);
            sql.push(" AND NOT ").push(IS_MOVED);
            sql.bind(server.as_bytes())
                .bind(life)
                .bind(partition)
                .bind(found.turn)
                .bind(found.applied.0)
                .bind(found.is_passed)
                .bind(found.is_carried);
            Ok(self.writing().await?.run(sql).await? == 1)
        })
        .await
    }

    /// Notes that the ledger is changed past Redis in a partition, before it is.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn note_passed(&self, partition: u16) -> Result<(), LedgerError> {
        self.retried(|| async move { pass(&mut self.writing().await?, partition).await })
            .await
    }
}

/// The same, in the transaction that changes it.
pub(super) async fn pass(session: &mut Session, partition: u16) -> Result<(), Failure> {
    let mut sql = Sql::new("UPDATE partitions SET passed = 1 WHERE n = ? AND passed = 0");
    sql.bind(partition);
    session.run(sql).await?;
    Ok(())
}
