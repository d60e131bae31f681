//! Days and rankings of a store that moves in.
//!
//! They follow from transitions, and of a store that moves in only the edges as they stand come
//! through Redis: a like that was taken back and given again counts as one transition, not three.
//! So the other store's own numbers are put in the place of those, after its edges are here. What
//! happened here since stays: steps of a target and days behind the end of the other's journal.

use acclaim_core::Rev;
use acclaim_core::port::Daily;
use acclaim_core::pulse::Pulse;
use sqlx::Row;

use super::apply::lock_partition;
use super::blob::{pack_pulse, read_pulse};
use super::codec::IdKey;
use super::dictionary::{KindNo, TypeNo};
use super::error::{Failure, LedgerError};
use super::fold::ALL_TYPES;
use super::pools::Ledger;
use super::read::TargetRef;
use super::session::{Session, Sql, give_up};

/// Targets in one call.
pub const MAX_ACTIVE_TARGETS: usize = 256;

impl Ledger {
    /// Puts the activity of targets of one partition in the place of what their edges made. `end`
    /// is the last moment of the other store. Targets without a row are left out.
    ///
    /// # Errors
    /// [`LedgerError::TooMany`] for more than [`MAX_ACTIVE_TARGETS`].
    pub async fn take_pulses(
        &self,
        partition: u16,
        pulses: &[(TargetRef, Pulse)],
        end: Rev,
    ) -> Result<(), LedgerError> {
        if pulses.len() > MAX_ACTIVE_TARGETS {
            return Err(LedgerError::TooMany {
                what: "active targets",
                given: pulses.len(),
                limit: MAX_ACTIVE_TARGETS,
            });
        }
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = take_pulses(&mut session, partition, pulses, end).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Puts days of the other store in the place of what its edges made of them: those before the
    /// day of `end` as they are; that day itself has at least these numbers.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn take_days(
        &self,
        kind: KindNo,
        target_type: Option<TypeNo>,
        days: &[Daily],
        end: Rev,
    ) -> Result<(), LedgerError> {
        let type_no = target_type.unwrap_or(ALL_TYPES);
        for day in days.iter().filter(|day| day.set + day.unset > 0) {
            self.retried(|| async move {
                let mut session = self.writing().await?;
                let outcome = take_day(&mut session, (kind, type_no), *day, end).await;
                give_up(&mut session, outcome).await
            })
            .await?;
        }
        Ok(())
    }
}

async fn take_pulses(
    session: &mut Session,
    partition: u16,
    pulses: &[(TargetRef, Pulse)],
    end: Rev,
) -> Result<(), Failure> {
    session.begin("START TRANSACTION").await?;
    lock_partition(session, partition).await?.unless_moved()?;
    for (target, theirs) in pulses {
        let key = IdKey::new(&target.target);
        let bind = |sql: &mut Sql| {
            sql.bind(target.kind.0)
                .bind(target.target_type.0)
                .bind(key.as_bytes());
        };
        let mut sql =
            Sql::new("SELECT pulse FROM targets WHERE kind = ? AND target_type = ? AND target = ?");
        bind(&mut sql);
        let Some(row) = session.first(sql).await? else {
            continue;
        };
        let ours = read_pulse(row.try_get(0)?)?;
        let since = ours
            .steps()
            .iter()
            .filter(|step| step.start_minute > end.minute());
        let both = Pulse::from_steps(theirs.steps().iter().chain(since).copied());
        // Rankings look at the targets touched on a day or later.
        let last = both
            .steps()
            .last()
            .map_or(0, |step| step.start_minute / (24 * 60));
        let mut sql = Sql::new("UPDATE targets SET pulse = ?, last_day = GREATEST(last_day, ?) ");
        sql.push("WHERE kind = ? AND target_type = ? AND target = ?");
        sql.bind(pack_pulse(&both)).bind(last);
        bind(&mut sql);
        session.run(sql).await?;
    }
    session.commit().await?;
    Ok(())
}

async fn take_day(
    session: &mut Session,
    (kind, type_no): (KindNo, TypeNo),
    day: Daily,
    end: Rev,
) -> Result<(), Failure> {
    session.begin("START TRANSACTION").await?;
    let mut sql = Sql::new(
        "SELECT sets, unsets, users FROM daily WHERE kind = ? AND target_type = ? AND day = ? \
         FOR UPDATE",
    );
    sql.bind(kind.0).bind(type_no.0).bind(day.day);
    let mut take = day;
    if day.day >= end.day() {
        let mut ours = Daily::default();
        for row in session.all(sql).await? {
            ours.set += row.try_get::<u64, _>(0)?;
            ours.unset += row.try_get::<u64, _>(1)?;
            ours.users += row.try_get::<u64, _>(2)?;
        }
        take.set = take.set.max(ours.set);
        take.unset = take.unset.max(ours.unset);
        take.users = take.users.max(ours.users);
    }
    let mut sql = Sql::new("DELETE FROM daily WHERE kind = ? AND target_type = ? AND day = ?");
    sql.bind(kind.0).bind(type_no.0).bind(day.day);
    session.run(sql).await?;
    let mut sql = Sql::new(
        "INSERT INTO daily (kind, target_type, day, shard, sets, unsets, users) \
         VALUES (?, ?, ?, 0, ?, ?, ?)",
    );
    sql.bind(kind.0).bind(type_no.0).bind(day.day);
    sql.bind(take.set).bind(take.unset).bind(take.users);
    session.run(sql).await?;
    session.commit().await?;
    Ok(())
}
