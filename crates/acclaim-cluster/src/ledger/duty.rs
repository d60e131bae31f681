//! Who folds events into notifications and delivers webhooks: one process at a time, by the
//! database's clock, fenced as partitions are (see [`super::lease`]).
//!
//! The row is there from the start. Its fence rises with each taking and is compared by each batch
//! in the transaction that writes it; `wakes` counts what those who wait are to look at.

use std::time::Duration;

use acclaim_core::Rev;
use acclaim_core::notify::keys;
use acclaim_core::port::Place;
use sqlx::Row;

use super::error::{Failure, LedgerError};
use super::lease::{NOW, micros};
use super::pools::Ledger;
use super::session::{Session, Sql, give_up};

/// How the duty stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DutyState {
    /// Who has it, or had it last; empty where it was given back.
    pub owner: String,
    /// How often it was taken.
    pub fence: u64,
    /// For how much longer it lasts.
    pub left: Duration,
    /// How long ago it ended, where that is known.
    pub over_for: Duration,
    /// Up to where events are folded, if they ever were.
    pub position: Option<Place>,
}

impl DutyState {
    /// Whether somebody folds, or did so not longer than `recently` ago and may go on.
    #[must_use]
    pub fn is_done(&self, recently: Duration) -> bool {
        self.fence > 0 && (self.left > Duration::ZERO || self.over_for <= recently)
    }
}

impl Ledger {
    /// Takes the duty for `owner`, if nobody has it, and gives its fence.
    ///
    /// # Errors
    /// [`LedgerError`]. An answer that was lost leaves a duty that nobody knows to have: it ends by
    /// itself.
    pub async fn take_duty(
        &self,
        owner: &str,
        length: Duration,
    ) -> Result<Option<u64>, LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = take(&mut session, owner, length, self.manual_now()).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Prolongs the duty of a fence. `false` when it is somebody else's.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn keep_duty(&self, fence: u64, length: Duration) -> Result<bool, LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new("UPDATE duties SET lease_until = ");
            sql.push(NOW)
                .push(" + ? WHERE name = 'notifications' AND fence = ?");
            sql.bind(self.manual_now()).bind(micros(length)).bind(fence);
            Ok(self.writing().await?.run(sql).await? > 0)
        })
        .await
    }

    /// Gives the duty back.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn leave_duty(&self, fence: u64) -> Result<(), LedgerError> {
        self.retried(|| async move {
            // Whose it was stays: nobody may have it for as long as a start takes.
            let mut sql = Sql::new("UPDATE duties SET lease_until = ");
            sql.push(NOW)
                .push(" WHERE name = 'notifications' AND fence = ?");
            sql.bind(self.manual_now()).bind(fence);
            self.writing().await?.run(sql).await?;
            Ok(())
        })
        .await
    }

    /// How the duty stands.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn duty(&self) -> Result<DutyState, LedgerError> {
        let sql = || {
            let mut sql = Sql::new("SELECT owner, fence, lease_until, ");
            sql.push(NOW)
                .push(" FROM duties WHERE name = 'notifications'");
            sql.bind(self.manual_now());
            sql
        };
        let rows = self.read_rows(sql).await?;
        let row = rows.first().ok_or_else(|| {
            LedgerError::Corrupt("duties has no row for notifications".to_owned())
        })?;
        let position = self.notes(&[keys::position()]).await?.pop().flatten();
        state(row, position).map_err(|error| LedgerError::Corrupt(error.to_string()))
    }

    /// How often somebody was to be woken so far.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn wakes(&self) -> Result<u64, LedgerError> {
        let sql = || Sql::new("SELECT wakes FROM duties WHERE name = 'notifications'");
        let rows = self.read_rows(sql).await?;
        let wakes = rows.first().map_or(Ok(0), |row| row.try_get(0));
        wakes.map_err(|error| LedgerError::Corrupt(error.to_string()))
    }
}

fn state(row: &sqlx::mysql::MySqlRow, position: Option<Vec<u8>>) -> Result<DutyState, sqlx::Error> {
    let owner: Vec<u8> = row.try_get(0)?;
    let (until, now) = (Rev(row.try_get(2)?), Rev(row.try_get(3)?));
    let over = match until {
        // Of a ledger that was moved: nobody has had it here.
        Rev::ZERO => Rev::ZERO,
        until => Rev(now.0.saturating_sub(until.0)),
    };
    let text = position.and_then(|json| serde_json::from_slice::<String>(&json).ok());
    Ok(DutyState {
        owner: String::from_utf8_lossy(&owner).into_owned(),
        fence: row.try_get(1)?,
        left: Duration::from_micros(until.0.saturating_sub(now.0)),
        over_for: Duration::from_micros(over.0),
        position: text.and_then(|text| text.parse().ok()),
    })
}

async fn take(
    session: &mut Session,
    owner: &str,
    length: Duration,
    now: Option<u64>,
) -> Result<Option<u64>, Failure> {
    // Most who ask find that somebody has it: they lock nothing.
    let mut sql =
        Sql::new("SELECT fence FROM duties WHERE name = 'notifications' AND lease_until <= ");
    sql.push(NOW).bind(now);
    if session.first(sql).await?.is_none() {
        return Ok(None);
    }
    session.begin("START TRANSACTION").await?;
    let mut sql =
        Sql::new("SELECT fence FROM duties WHERE name = 'notifications' AND lease_until <= ");
    sql.push(NOW).push(" FOR UPDATE").bind(now);
    let Some(row) = session.first(sql).await? else {
        session.roll_back().await;
        return Ok(None);
    };
    let fence = row.try_get::<u64, _>(0)? + 1;
    let mut sql = Sql::new("UPDATE duties SET owner = ?, fence = ?, lease_until = ");
    sql.push(NOW).push(" + ? WHERE name = 'notifications'");
    sql.bind(owner.as_bytes())
        .bind(fence)
        .bind(now)
        .bind(micros(length));
    session.run(sql).await?;
    session.commit().await?;
    Ok(Some(fence))
}
