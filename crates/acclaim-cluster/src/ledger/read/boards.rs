//! Rankings and days.

use acclaim_core::limits::{MAX_RANKING_ENTRIES, MAX_REPORT_DAYS};
use acclaim_core::port::{Daily, Ranked};
use acclaim_core::pulse::Pulse;
use acclaim_core::{Id, Rev};
use sqlx::Row;

use super::corrupt;
use crate::ledger::blob::read_pulse;
use crate::ledger::codec::{IdKey, rev_at};
use crate::ledger::dictionary::{KindNo, TypeNo};
use crate::ledger::error::LedgerError;
use crate::ledger::fold::ALL_TYPES;
use crate::ledger::pools::Ledger;
use crate::ledger::rows::key;
use crate::ledger::session::Sql;

/// Targets in one page of recent ones.
pub const MAX_RECENT_TARGETS: usize = 10_000;

/// A target that was touched lately, with what happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    /// The target's id inside its class.
    pub id: Id,
    /// Active edges.
    pub count: u64,
    /// The day of its newest transition.
    pub last_day: u32,
    /// Its transitions of the last month.
    pub pulse: Pulse,
}

impl Ledger {
    /// The targets with the highest counts; equal counts by id.
    ///
    /// # Errors
    /// [`LedgerError::TooMany`] for more than [`MAX_RANKING_ENTRIES`].
    pub async fn highest_counts(
        &self,
        kind: KindNo,
        target_type: TypeNo,
        size: usize,
    ) -> Result<Vec<Ranked>, LedgerError> {
        within("entries of a ranking", size, MAX_RANKING_ENTRIES)?;
        let mut ranked = Vec::with_capacity(size);
        for row in self.read_rows(|| highest(kind, target_type, size)).await? {
            let count = rev_at(row.try_get(1).map_err(corrupt)?).0;
            let id = key(&row, 0).map_err(corrupt)?.id()?;
            ranked.push(Ranked {
                id,
                score: i64::try_from(count).unwrap_or(i64::MAX),
                count,
            });
        }
        Ok(ranked)
    }

    /// A page of the targets whose newest transition was on `first_day` or later: what the
    /// rankings of the windows are rebuilt from. By day and id; go on after the last one.
    ///
    /// # Errors
    /// [`LedgerError::TooMany`] for more than [`MAX_RECENT_TARGETS`].
    pub async fn recent_targets(
        &self,
        kind: KindNo,
        target_type: TypeNo,
        first_day: u32,
        after: Option<(u32, &Id)>,
        most: usize,
    ) -> Result<Vec<Recent>, LedgerError> {
        within("recent targets", most, MAX_RECENT_TARGETS)?;
        let after = after.map(|(day, id)| (day, IdKey::new(id)));
        let sql = || recent(kind, target_type, first_day, after.as_ref(), most);
        let mut targets = Vec::new();
        for row in self.read_rows(sql).await? {
            targets.push(Recent {
                id: key(&row, 0).map_err(corrupt)?.id()?,
                count: rev_at(row.try_get(1).map_err(corrupt)?).0,
                last_day: row.try_get(2).map_err(corrupt)?,
                pulse: read_pulse(row.try_get(3).map_err(corrupt)?)?,
            });
        }
        Ok(targets)
    }

    /// The numbers of the `days` days up to that of `now`, newest first, one entry a day.
    ///
    /// # Errors
    /// [`LedgerError::TooMany`] for more than [`MAX_REPORT_DAYS`].
    pub async fn daily_numbers(
        &self,
        kind: KindNo,
        target_type: Option<TypeNo>,
        days: u32,
        now: Rev,
    ) -> Result<Vec<Daily>, LedgerError> {
        within("days", days as usize, MAX_REPORT_DAYS as usize)?;
        let first = (now.day() + 1).saturating_sub(days);
        let mut report: Vec<Daily> = (first..=now.day())
            .rev()
            .map(|day| Daily {
                day,
                ..Daily::default()
            })
            .collect();
        let type_no = target_type.unwrap_or(ALL_TYPES);
        for row in self
            .read_rows(|| daily(kind, type_no, first, now.day()))
            .await?
        {
            let day: u32 = row.try_get(0).map_err(corrupt)?;
            // The statement asks for these days only.
            let Some(entry) = report.get_mut((now.day() - day) as usize) else {
                continue;
            };
            entry.set = row.try_get(1).map_err(corrupt)?;
            entry.unset = row.try_get(2).map_err(corrupt)?;
            entry.users = row.try_get(3).map_err(corrupt)?;
        }
        Ok(report)
    }
}

fn within(what: &'static str, given: usize, limit: usize) -> Result<(), LedgerError> {
    if given > limit {
        Err(LedgerError::TooMany { what, given, limit })
    } else {
        Ok(())
    }
}

pub(super) fn highest(kind: KindNo, target_type: TypeNo, size: usize) -> Sql {
    let mut sql = Sql::new(
        "SELECT target, count_place FROM targets \
         WHERE kind = ? AND target_type = ? AND count_place < ? \
         ORDER BY count_place, target LIMIT ?",
    );
    sql.bind(kind.0)
        .bind(target_type.0)
        .bind(Rev::MAX.0)
        .bind(size as u64);
    sql
}

pub(super) fn recent(
    kind: KindNo,
    target_type: TypeNo,
    first_day: u32,
    after: Option<&(u32, IdKey)>,
    most: usize,
) -> Sql {
    let mut sql = Sql::new(
        "SELECT target, count_place, last_day, pulse FROM targets FORCE INDEX (by_day) \
         WHERE kind = ? AND target_type = ?",
    );
    sql.bind(kind.0).bind(target_type.0);
    match after {
        Some((day, target)) => {
            sql.push(" AND ((last_day = ? AND target > ?) OR last_day > ?)");
            sql.bind(*day).bind(target.as_bytes()).bind(*day);
        }
        None => {
            sql.push(" AND last_day >= ?").bind(first_day);
        }
    }
    sql.push(" ORDER BY last_day, target LIMIT ?")
        .bind(most as u64);
    sql
}

pub(super) fn daily(kind: KindNo, type_no: TypeNo, first: u32, last: u32) -> Sql {
    let mut sql = Sql::new(
        "SELECT day, CAST(SUM(sets) AS UNSIGNED), CAST(SUM(unsets) AS UNSIGNED), \
         CAST(SUM(users) AS UNSIGNED) FROM daily \
         WHERE kind = ? AND target_type = ? AND day BETWEEN ? AND ? GROUP BY day",
    );
    sql.bind(kind.0).bind(type_no.0).bind(first).bind(last);
    sql
}
