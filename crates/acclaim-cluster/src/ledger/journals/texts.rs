//! The texts of imports that run as jobs, in pieces of one size.
//!
//! A text belongs to nobody's process: any node reads it. It is taken piece by piece, then named by
//! its job, and goes when the job is over. One whose sender fell silent goes after a time.
//!
//! All texts together have a limit. Room is taken under the lock of one row, before a piece is
//! written, so no two nodes take the same.

use std::fmt;
use std::time::Duration;

use sqlx::Row;

use super::jobs::has_room;
use crate::ledger::error::{Failure, LedgerError};
use crate::ledger::lease::{NOW, micros};
use crate::ledger::pools::Ledger;
use crate::ledger::session::{Session, Sql, give_up};

/// Bytes of each piece of a text but the last, which may be shorter.
pub const PIECE_BYTES: usize = 256 * 1024;
/// Pieces that one statement removes.
const PIECES_A_REMOVAL: u32 = 16;
/// Texts that one search for those to be removed finds.
const TEXTS_A_SWEEP: u32 = 100;
/// In the place of a job: the text is being removed.
pub(super) const GOING: u64 = u64::MAX;

/// A text's name: random, so that no two nodes give the same and nobody guesses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TextId([u8; 16]);

impl TextId {
    /// A new one.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "no two are alike")]
    pub fn new() -> Self {
        Self(rand::random())
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = u128::from_str_radix(text, 16).ok()?;
        (text.len() == 32).then(|| Self(number.to_be_bytes()))
    }

    pub(super) fn column(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for TextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Whether a text may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It may.
    Taken,
    /// All texts take so many bytes, and it would be too many.
    Full {
        /// Bytes of all texts.
        held: u64,
    },
    /// The text was removed.
    Gone,
}

impl Ledger {
    /// Begins a text. `false` when as many jobs wait or run as may.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn begin_text(&self, text: TextId) -> Result<bool, LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = begin(&mut session, text, self.manual_now()).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Takes room for a text that will have `bytes`, under a limit on all texts.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn take_room(
        &self,
        text: TextId,
        bytes: u64,
        limit: u64,
    ) -> Result<Room, LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = take_room(&mut session, text, bytes, limit, self.manual_now()).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Notes that somebody still sends a text. `false` when it was removed.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn touch_text(&self, text: TextId) -> Result<bool, LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new("UPDATE import_texts SET touched = ");
            sql.push(NOW).push(" WHERE text = ? AND job = 0");
            sql.bind(self.manual_now()).bind(text.column());
            Ok(self.writing().await?.run(sql).await? > 0)
        })
        .await
    }

    /// Writes a piece for which there is room.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn write_piece(
        &self,
        text: TextId,
        number: u32,
        piece: &[u8],
    ) -> Result<(), LedgerError> {
        debug_assert!(piece.len() <= PIECE_BYTES);
        self.retried(|| async move {
            let mut sql = Sql::new(
                "INSERT INTO import_pieces (text, n, piece) VALUES (?, ?, ?) \
                 ON DUPLICATE KEY UPDATE piece = VALUES(piece)",
            );
            sql.bind(text.column()).bind(number).bind(piece);
            self.writing().await?.run(sql).await?;
            Ok(())
        })
        .await
    }

    /// Reads a piece, if it is there.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn piece(&self, text: TextId, number: u32) -> Result<Option<Vec<u8>>, LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new("SELECT piece FROM import_pieces WHERE text = ? AND n = ?");
            sql.bind(text.column()).bind(number);
            let row = self.reading().await?.first(sql).await?;
            Ok(row.map(|row| row.try_get(0)).transpose()?)
        })
        .await
    }

    /// Removes a text that is still being taken, unless somebody sent something of it within
    /// `idle`. One that has a job stays.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn give_up_text(&self, text: TextId, idle: Duration) -> Result<(), LedgerError> {
        let going = self.retried(|| async move {
            let mut sql = Sql::new("UPDATE import_texts SET job = ? WHERE text = ? AND job = 0");
            sql.push(" AND touched + ? <= ").push(NOW);
            sql.bind(GOING).bind(text.column());
            sql.bind(micros(idle)).bind(self.manual_now());
            Ok(self.writing().await?.run(sql).await? > 0)
        });
        if going.await? {
            self.remove_text(text).await?;
        }
        Ok(())
    }

    /// Removes a text that nobody needs any more, in several steps; what was begun and not ended
    /// is found by [`Ledger::idle_texts`].
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn remove_text(&self, text: TextId) -> Result<(), LedgerError> {
        let bytes = self.retried(|| async move {
            let mut sql = Sql::new("SELECT bytes FROM import_texts WHERE text = ?");
            sql.bind(text.column());
            let row = self.writing().await?.first(sql).await?;
            Ok::<Option<u64>, Failure>(row.map(|row| row.try_get(0)).transpose()?)
        });
        let Some(bytes) = bytes.await? else {
            return Ok(());
        };
        // The limit on texts keeps their number far below a u32.
        let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES as u64)).unwrap_or(u32::MAX);
        for from in (0..pieces).step_by(PIECES_A_REMOVAL as usize) {
            self.retried(|| async move {
                let mut sql =
                    Sql::new("DELETE FROM import_pieces WHERE text = ? AND n >= ? AND n < ?");
                let to = from.saturating_add(PIECES_A_REMOVAL);
                sql.bind(text.column()).bind(from).bind(to);
                self.writing().await?.run(sql).await?;
                Ok(())
            })
            .await?;
        }
        self.retried(|| async move {
            let mut sql = Sql::new("DELETE FROM import_texts WHERE text = ?");
            sql.bind(text.column());
            self.writing().await?.run(sql).await?;
            Ok(())
        })
        .await
    }

    /// Texts to be removed: those that are being taken and of which nothing came within `idle`, and
    /// those whose job is over. The second says which of the two.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn idle_texts(&self, idle: Duration) -> Result<Vec<(TextId, bool)>, LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new(
                "SELECT t.text, t.job = 0 FROM import_texts t LEFT JOIN jobs j ON j.id = t.job \
                 WHERE t.text <> '' AND ((t.job = 0 AND t.touched + ? <= ",
            );
            sql.push(NOW).push(
                ") OR (t.job <> 0 AND (j.id IS NULL OR j.state IN (2, 3)))) ORDER BY t.text LIMIT ?",
            );
            sql.bind(micros(idle)).bind(self.manual_now()).bind(TEXTS_A_SWEEP);
            let rows = self.writing().await?.all(sql).await?;
            rows.iter()
                .map(|row| {
                    let name: Vec<u8> = row.try_get(0)?;
                    let is_taken: i64 = row.try_get(1)?;
                    let name = <[u8; 16]>::try_from(name.as_slice());
                    let name = name.map_err(|_| {
                        LedgerError::Corrupt("a text's name has not 16 bytes".to_owned())
                    })?;
                    Ok((TextId(name), is_taken != 0))
                })
                .collect()
        })
        .await
    }
}

/// Takes the lock under which room is given out.
async fn lock(session: &mut Session) -> Result<(), Failure> {
    session.begin("START TRANSACTION").await?;
    let sql = Sql::new("SELECT job FROM import_texts WHERE text = '' FOR UPDATE");
    if session.first(sql).await?.is_none() {
        let missing = "the row of import_texts that is locked is not there";
        return Err(LedgerError::Corrupt(missing.to_owned()).into());
    }
    Ok(())
}

async fn begin(session: &mut Session, text: TextId, now: Option<u64>) -> Result<bool, Failure> {
    lock(session).await?;
    if !has_room(session).await? {
        session.roll_back().await;
        return Ok(false);
    }
    // A repeat after a lost answer finds it there.
    let mut sql =
        Sql::new("INSERT INTO import_texts (text, job, bytes, touched) VALUES (?, 0, 0, ");
    sql.push(NOW).push(") ON DUPLICATE KEY UPDATE job = 0");
    sql.bind(text.column()).bind(now);
    session.run(sql).await?;
    session.commit().await?;
    Ok(true)
}

async fn take_room(
    session: &mut Session,
    text: TextId,
    bytes: u64,
    limit: u64,
    now: Option<u64>,
) -> Result<Room, Failure> {
    lock(session).await?;
    let mut sql = Sql::new(
        "SELECT CAST(COALESCE(SUM(bytes), 0) AS UNSIGNED), \
         CAST(COALESCE(SUM(CASE WHEN text = ? THEN bytes ELSE 0 END), 0) AS UNSIGNED) \
         FROM import_texts",
    );
    sql.bind(text.column());
    let row = session.first(sql).await?;
    let row = row.ok_or_else(|| LedgerError::Corrupt("a sum has no row".to_owned()))?;
    let (held, own): (u64, u64) = (row.try_get(0)?, row.try_get(1)?);
    if held - own + bytes > limit {
        session.roll_back().await;
        return Ok(Room::Full { held });
    }
    let mut sql = Sql::new("UPDATE import_texts SET bytes = ?, touched = ");
    sql.push(NOW).push(" WHERE text = ? AND job = 0");
    sql.bind(bytes).bind(now).bind(text.column());
    let is_there = session.run(sql).await? > 0;
    session.commit().await?;
    Ok(if is_there { Room::Taken } else { Room::Gone })
}
