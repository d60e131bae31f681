//! Rows of any table: read in the order of their keys, written, removed.

use std::cmp::Ordering;

use sqlx::Row as _;
use sqlx::mysql::MySqlRow;

use super::tables::{Form, Table};
use crate::ledger::error::{Failure, LedgerError};
use crate::ledger::pools::Ledger;
use crate::ledger::session::{Sql, parts};

/// What stands in a column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    Number(u64),
    Bytes(Vec<u8>),
}

/// A row, in the order of the table's columns.
pub(super) type Row = Vec<Cell>;

/// Reads a table from its first row to its last. Rows that are added or changed meanwhile are seen
/// or not; none is seen twice.
pub(super) struct Cursor<'a> {
    ledger: &'a Ledger,
    table: &'static Table,
    /// Read and not taken, the last first.
    ahead: Vec<Row>,
    last: Option<Row>,
    is_at_end: bool,
}

impl<'a> Cursor<'a> {
    pub fn new(ledger: &'a Ledger, table: &'static Table) -> Self {
        Self {
            ledger,
            table,
            ahead: Vec::new(),
            last: None,
            is_at_end: false,
        }
    }

    /// Reads on if nothing is at hand.
    pub async fn fill(&mut self) -> Result<(), LedgerError> {
        if !self.ahead.is_empty() || self.is_at_end {
            return Ok(());
        }
        let (ledger, table, last) = (self.ledger, self.table, self.last.as_ref());
        let mut rows = ledger
            .retried(|| async move {
                let found = ledger.reading().await?.all(select(table, last)).await?;
                let rows = found.iter().map(|row| read(table, row));
                rows.collect::<Result<Vec<Row>, Failure>>()
            })
            .await?;
        self.is_at_end = (rows.len() as u64) < table.page;
        if let Some(last) = rows.last() {
            self.last = Some(last.clone());
        }
        rows.reverse();
        self.ahead = rows;
        Ok(())
    }

    /// The next row, once it was read.
    pub fn head(&self) -> Option<&Row> {
        self.ahead.last()
    }

    /// Takes the next row.
    pub fn take(&mut self) -> Option<Row> {
        self.ahead.pop()
    }
}

/// The order of two rows by their keys.
pub(super) fn by_key(table: &Table, a: &Row, b: &Row) -> Ordering {
    a[..table.key].cmp(&b[..table.key])
}

fn read(table: &Table, row: &MySqlRow) -> Result<Row, Failure> {
    let columns = table.columns.iter().enumerate();
    let cells = columns.map(|(n, (_, form))| {
        Ok(match form {
            Form::Number => Cell::Number(row.try_get(n)?),
            Form::Bytes | Form::Text => Cell::Bytes(row.try_get(n)?),
        })
    });
    cells.collect()
}

fn bind(sql: &mut Sql, form: Form, cell: &Cell) {
    match (form, cell) {
        (_, Cell::Number(number)) => sql.bind(*number),
        (Form::Text, Cell::Bytes(bytes)) => sql.bind(String::from_utf8_lossy(bytes).into_owned()),
        (_, Cell::Bytes(bytes)) => sql.bind(bytes.as_slice()),
    };
}

/// The rows behind one: of the same first columns of the key and a higher one after them.
fn select(table: &'static Table, after: Option<&Row>) -> Sql {
    let mut sql = Sql::new("SELECT ");
    for (n, (column, form)) in table.columns.iter().enumerate() {
        sql.push(if n > 0 { ", " } else { "" });
        match form {
            Form::Number => sql.push("CAST(").push(column).push(" AS UNSIGNED)"),
            Form::Bytes => sql.push(column),
            Form::Text => sql.push("CAST(").push(column).push(" AS BINARY)"),
        };
    }
    sql.push(" FROM ")
        .push(table.name)
        .push(" FORCE INDEX (PRIMARY) WHERE ");
    sql.push(if table.only.is_empty() {
        "1 = 1"
    } else {
        table.only
    });
    if let Some(after) = after {
        sql.push(" AND (");
        for more in (0..table.key).rev() {
            sql.push(if more + 1 == table.key { "(" } else { " OR (" });
            for (n, (column, form)) in table.columns.iter().enumerate().take(more + 1) {
                sql.push(if n > 0 { " AND " } else { "" }).push(column);
                sql.push(if n == more { " > ?" } else { " = ?" });
                bind(&mut sql, *form, &after[n]);
            }
            sql.push(")");
        }
        sql.push(")");
    }
    sql.push(" ORDER BY ");
    for (n, (column, _)) in table.columns.iter().enumerate().take(table.key) {
        sql.push(if n > 0 { ", " } else { "" }).push(column);
    }
    sql.push(" LIMIT ?").bind(table.page);
    sql
}

/// Removes rows, then writes rows, by statements that each do no harm when done twice.
pub(super) async fn write(
    ledger: &Ledger,
    table: &'static Table,
    removed: &[Row],
    written: &[Row],
) -> Result<(), LedgerError> {
    for part in parts(removed) {
        ledger.run_again(|| delete(table, part)).await?;
    }
    for part in parts(written) {
        ledger.run_again(|| upsert(table, part)).await?;
    }
    Ok(())
}

impl Ledger {
    async fn run_again(&self, sql: impl Fn() -> Sql) -> Result<(), LedgerError> {
        let sql = &sql;
        self.retried(|| async move {
            self.writing().await?.run(sql()).await?;
            Ok(())
        })
        .await
    }
}

fn delete(table: &'static Table, rows: &[Row]) -> Sql {
    let mut sql = Sql::new("DELETE FROM ");
    sql.push(table.name).push(" WHERE ");
    for (n, row) in rows.iter().enumerate() {
        sql.push(if n > 0 { " OR (" } else { "(" });
        for (n, (column, form)) in table.columns.iter().enumerate().take(table.key) {
            sql.push(if n > 0 { " AND " } else { "" })
                .push(column)
                .push(" = ?");
            bind(&mut sql, *form, &row[n]);
        }
        sql.push(")");
    }
    sql
}

fn upsert(table: &'static Table, rows: &[Row]) -> Sql {
    let mut sql = Sql::new("INSERT INTO ");
    sql.push(table.name).push(" (");
    let columns = table.columns.iter().map(|(column, _)| *column);
    let fresh = table.fresh.iter().map(|(column, _)| *column);
    for (n, column) in columns.chain(fresh).enumerate() {
        sql.push(if n > 0 { ", " } else { "" }).push(column);
    }
    sql.push(") VALUES ");
    for (n, row) in rows.iter().enumerate() {
        sql.push(if n > 0 { ", (" } else { "(" });
        for (n, ((_, form), cell)) in table.columns.iter().zip(row).enumerate() {
            sql.push(if n > 0 { ", ?" } else { "?" });
            bind(&mut sql, *form, cell);
        }
        for (_, value) in table.fresh {
            sql.push(", ").push(value);
        }
        sql.push(")");
    }
    sql.push(" ON DUPLICATE KEY UPDATE ");
    for (n, (column, _)) in table.columns.iter().enumerate().skip(table.key) {
        sql.push(if n > table.key { ", " } else { "" })
            .push(column)
            .push(" = VALUES(")
            .push(column)
            .push(")");
    }
    sql
}
