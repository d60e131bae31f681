//! Two ledgers side by side: both are read in the order of the keys, and what differs is written
//! into the second one, or told.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::rows::{Cell, Cursor, Row, by_key, write};
use super::tables::{TABLES, Table};
use crate::ledger::error::LedgerError;
use crate::ledger::pools::Ledger;

/// Rows that differ before they are written.
const WRITE_ROWS: usize = 1_024;
/// Differences of one table that are told one by one.
const SHOWN_DIFFERENCES: usize = 10;

/// What one table came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableReport {
    /// The table.
    pub table: &'static str,
    /// Whether nodes may write it while the partitions are paused.
    pub is_journal: bool,
    /// Rows of the old ledger.
    pub rows: u64,
    /// Rows that the new ledger lacked, or had otherwise.
    pub differing: u64,
    /// Rows that only the new ledger had.
    pub surplus: u64,
    /// The first of the differences.
    pub shown: Vec<Difference>,
}

/// A row that is not the same in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its key, in words.
    pub key: String,
    /// What is wrong with it in the new ledger: `missing`, `different` or `surplus`.
    pub what: &'static str,
}

impl TableReport {
    fn of(table: &Table) -> Self {
        Self {
            table: table.name,
            is_journal: table.is_journal,
            rows: 0,
            differing: 0,
            surplus: 0,
            shown: Vec::new(),
        }
    }

    /// Rows that are not the same in both.
    #[must_use]
    pub fn differences(&self) -> u64 {
        self.differing + self.surplus
    }

    fn note(&mut self, table: &Table, row: &Row, what: &'static str) {
        match what {
            "surplus" => self.surplus += 1,
            _ => self.differing += 1,
        }
        if self.shown.len() < SHOWN_DIFFERENCES {
            let key = words(table, row);
            self.shown.push(Difference { key, what });
        }
    }
}

impl Ledger {
    /// Copies all tables to another ledger, whose tables are there. `progress` hears of rows as
    /// they are read.
    ///
    /// # Errors
    /// [`LedgerError`] of either; then some is copied, and the rest can be by another call.
    pub async fn copy_to(
        &self,
        other: &Self,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Vec<TableReport>, LedgerError> {
        self.merge(other, true, progress).await
    }

    /// Compares all tables with another ledger's.
    ///
    /// # Errors
    /// [`LedgerError`] of either.
    pub async fn compare_with(
        &self,
        other: &Self,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Vec<TableReport>, LedgerError> {
        self.merge(other, false, progress).await
    }

    async fn merge(
        &self,
        other: &Self,
        writes: bool,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Vec<TableReport>, LedgerError> {
        let mut reports = Vec::with_capacity(TABLES.len());
        for table in TABLES {
            reports.push(merge(self, other, table, writes, progress).await?);
        }
        Ok(reports)
    }
}

async fn merge(
    from: &Ledger,
    to: &Ledger,
    table: &'static Table,
    writes: bool,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<TableReport, LedgerError> {
    let mut report = TableReport::of(table);
    let (mut old, mut new) = (Cursor::new(from, table), Cursor::new(to, table));
    let (mut removed, mut written) = (Vec::new(), Vec::new());
    loop {
        let (a, b) = tokio::join!(old.fill(), new.fill());
        a.and(b)?;
        let order = match (old.head(), new.head()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => by_key(table, a, b),
        };
        let ours = if order.is_le() { old.take() } else { None };
        let theirs = if order.is_ge() { new.take() } else { None };
        if ours.is_some() {
            report.rows += 1;
            if report.rows.is_multiple_of(table.page) {
                progress(table.page);
            }
        }
        match (ours, theirs) {
            (Some(ours), None) => {
                report.note(table, &ours, "missing");
                written.push(ours);
            }
            (Some(ours), Some(theirs)) if ours != theirs => {
                report.note(table, &ours, "different");
                written.push(ours);
            }
            (None, Some(theirs)) => {
                report.note(table, &theirs, "surplus");
                removed.push(theirs);
            }
            _ => {}
        }
        if removed.len() + written.len() >= WRITE_ROWS {
            if writes {
                write(to, table, &removed, &written).await?;
            }
            removed.clear();
            written.clear();
        }
    }
    if writes {
        write(to, table, &removed, &written).await?;
    }
    progress(report.rows % table.page);
    Ok(report)
}

/// A row's key, for people.
fn words(table: &Table, row: &Row) -> String {
    let mut words = String::new();
    for ((column, _), cell) in table.columns.iter().zip(row).take(table.key) {
        // Writing to a string cannot fail.
        let _ = match cell {
            Cell::Number(number) => write!(words, " {column} {number}"),
            Cell::Bytes(bytes) => write!(words, " {column} {}", bytes.escape_ascii()),
        };
    }
    words.trim_start().to_owned()
}
