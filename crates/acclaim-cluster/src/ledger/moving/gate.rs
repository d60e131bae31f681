//! Opening and closing ledgers: pause the old one, mark the new one, and the change-over.

use std::time::Duration;

use sqlx::Row;

use super::{INCOMPLETE, MARK, MOVED_AWAY, OWNER};
use crate::failpoint;
use crate::ledger::error::{Failure, LedgerError};
use crate::ledger::lease::{NOW, micros};
use crate::ledger::pools::Ledger;
use crate::ledger::session::{Session, Sql, give_up};

/// For ever, in the words of a lease.
const EVER: u64 = u64::MAX >> 1;

/// A paused ledger: until when, in microseconds of its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    until: u64,
}

impl Ledger {
    /// Marks this ledger as one that a store is being copied to, so that nothing opens it.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] where it has a store of its own.
    pub async fn begin_copy(&self) -> Result<(), LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = begin_copy(&mut session).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Whether this ledger's store has gone to another one.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn is_moved_away(&self) -> Result<bool, LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            Ok(mark(&mut session).await?.as_deref() == Some(MOVED_AWAY.as_bytes()))
        })
        .await
    }

    /// Takes every partition from its worker, for at most so long, and closes the dictionary: what
    /// was read from journals before is not applied after it.
    ///
    /// # Errors
    /// [`LedgerError`]. The pause may have begun; it ends by itself.
    pub async fn pause(&self, longest: Duration) -> Result<Pause, LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = pause(&mut session, longest, self.manual_now()).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Ends a pause before its time; the workers go on. Nothing, where the ledger is closed.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn resume(&self, paused: Pause) -> Result<(), LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = resume(&mut session, paused).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Closes a paused ledger for ever. `false` when the pause has ended before: then workers may
    /// have written, and it is not closed.
    ///
    /// # Errors
    /// [`LedgerError`]; it may be closed all the same, which [`Ledger::is_moved_away`] tells.
    pub async fn close_moved(&self, paused: Pause) -> Result<bool, LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = close(&mut session, paused, self.manual_now()).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Opens a ledger that is a whole copy.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn open_moved(&self) -> Result<(), LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new("DELETE FROM meta WHERE name = ? AND value = ?");
            sql.bind(MARK.as_bytes()).bind(INCOMPLETE.as_bytes());
            self.writing().await?.run(sql).await?;
            Ok(())
        })
        .await
    }
}

async fn mark(session: &mut Session) -> Result<Option<Vec<u8>>, Failure> {
    let mut sql = Sql::new("SELECT value FROM meta WHERE name = ? FOR UPDATE");
    sql.bind(MARK.as_bytes());
    let row = session.first(sql).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

async fn begin_copy(session: &mut Session) -> Result<(), Failure> {
    session.begin("START TRANSACTION").await?;
    if mark(session).await?.as_deref() != Some(INCOMPLETE.as_bytes()) {
        let sql = Sql::new("SELECT COUNT(*) FROM meta WHERE name <> 'dictionary' FOR UPDATE");
        let row = session.first(sql).await?;
        let rows: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
        if rows > 0 {
            let why = "the ledger to copy to has a store of its own; take an empty database";
            return Err(LedgerError::Refused(why.to_owned()).into());
        }
        let mut sql = Sql::new("INSERT INTO meta (name, value) VALUES (?, ?)");
        sql.bind(MARK.as_bytes()).bind(INCOMPLETE.as_bytes());
        session.run(sql).await?;
    }
    session.commit().await?;
    Ok(())
}

async fn pause(
    session: &mut Session,
    longest: Duration,
    now: Option<u64>,
) -> Result<Pause, Failure> {
    session.begin("START TRANSACTION").await?;
    if mark(session).await?.is_some() {
        return Err(LedgerError::Moved.into());
    }
    let mut sql = Sql::new("SELECT ");
    sql.push(NOW).bind(now);
    let row = session.first(sql).await?;
    let now: u64 = row.map_or(Ok(0), |row| row.try_get(0))?;
    let until = now.saturating_add(micros(longest));
    close_dictionary(session, until).await?;
    // Waits for the transactions under way, whose partitions are locked.
    let mut sql = Sql::new("UPDATE partitions SET fence = fence + 1, owner = ?, lease_until = ?");
    sql.bind(OWNER.as_bytes()).bind(until);
    session.run(sql).await?;
    let mut sql = Sql::new("UPDATE duties SET fence = fence + 1, owner = ?, lease_until = ?");
    sql.bind(OWNER.as_bytes()).bind(until);
    session.run(sql).await?;
    session.commit().await?;
    failpoint::hit(failpoint::MOVE_PAUSED);
    Ok(Pause { until })
}

async fn close_dictionary(session: &mut Session, until: u64) -> Result<(), Failure> {
    let mut sql = Sql::new(
        "INSERT INTO meta (name, value) VALUES ('dictionary', ?) \
         ON DUPLICATE KEY UPDATE value = VALUES(value)",
    );
    sql.bind(until.to_string().into_bytes());
    session.run(sql).await?;
    Ok(())
}

async fn resume(session: &mut Session, paused: Pause) -> Result<(), Failure> {
    session.begin("START TRANSACTION").await?;
    if mark(session).await?.is_none() {
        let sql = Sql::new("UPDATE meta SET value = '' WHERE name = 'dictionary'");
        session.run(sql).await?;
        let mut sql = Sql::new(
            "UPDATE partitions SET owner = '', lease_until = 0 WHERE owner = ? AND lease_until = ?",
        );
        sql.bind(OWNER.as_bytes()).bind(paused.until);
        session.run(sql).await?;
        let mut sql = Sql::new(
            "UPDATE duties SET owner = '', \
             lease_until = CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED) \
             WHERE owner = ? AND lease_until = ?",
        );
        sql.bind(OWNER.as_bytes()).bind(paused.until);
        session.run(sql).await?;
    }
    session.commit().await?;
    Ok(())
}

async fn close(session: &mut Session, paused: Pause, now: Option<u64>) -> Result<bool, Failure> {
    session.begin("START TRANSACTION").await?;
    if mark(session).await?.as_deref() == Some(MOVED_AWAY.as_bytes()) {
        // An attempt before this one, whose answer was lost.
        session.roll_back().await;
        return Ok(true);
    }
    // Of a pause that has ended, or whose partitions somebody has taken since.
    let mut sql =
        Sql::new("SELECT n FROM partitions WHERE NOT (owner = ? AND lease_until = ? AND ");
    sql.bind(OWNER.as_bytes()).bind(paused.until);
    sql.push(NOW).push(" < lease_until) FOR UPDATE").bind(now);
    if session.first(sql).await?.is_some() {
        session.roll_back().await;
        return Ok(false);
    }
    close_dictionary(session, EVER).await?;
    for sql in [
        "UPDATE partitions SET lease_until = ?",
        "UPDATE duties SET lease_until = ?",
    ] {
        let mut sql = Sql::new(sql);
        sql.bind(EVER);
        session.run(sql).await?;
    }
    let mut sql = Sql::new("INSERT INTO meta (name, value) VALUES (?, ?)");
    sql.bind(MARK.as_bytes()).bind(MOVED_AWAY.as_bytes());
    session.run(sql).await?;
    session.commit().await?;
    failpoint::hit(failpoint::MOVE_CLOSED);
    Ok(true)
}
