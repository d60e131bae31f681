//! Counting a target's edges again, and going through all targets of a kind.
//!
//! A target may have millions of edges, so they are counted in pieces, each a range of the primary
//! key and a short statement, and all in one snapshot: the sum is of one moment, whatever is
//! written meanwhile, and nobody waits for it. Only the result is written under the partition's
//! lock, and only if nothing happened to the target since that moment.

use acclaim_core::Rev;
use sqlx::Row;
use sqlx::mysql::MySqlRow;

use super::apply::lock_partition;
use super::codec::{place, rev_at};
use super::dictionary::{KindNo, TypeNo};
use super::error::{Failure, LedgerError};
use super::event::TargetRow;
use super::pools::Ledger;
use super::read::TargetRef;
use super::read::states::target_row;
use super::rows::{bind_target, key};
use super::seat::pass;
use super::session::{Session, Sql, give_up};

/// Targets in one page.
pub const MAX_KIND_TARGETS: usize = 1_000;
/// Edges that one statement is meant to count.
pub const PIECE_EDGES: u64 = 20_000;
/// Users' hashes: 32 bits.
const HASHES: u64 = 1 << 32;

/// What a recount found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recounted {
    /// The count that was written down.
    pub before: u64,
    /// Active edges: the count from now on.
    pub after: u64,
}

/// A target's edges at one moment, and what its row said then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    row: Written,
    sum: Sum,
}

impl Counted {
    /// All edges, unset ones too.
    #[must_use]
    pub fn edges(&self) -> u64 {
        self.sum.edges
    }
}

/// A target's row, as far as it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Written {
    count: u64,
    seq: Rev,
    edges: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    active: u64,
    edges: u64,
}

impl Ledger {
    /// Edges that a target's row says it has, unset ones too. 0 for one without a row.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn edges_written_down(&self, target: &TargetRef) -> Result<u64, LedgerError> {
        let target = &target_row(target);
        let row = self
            .retried(|| async move { row_of(&mut self.reading().await?, target).await })
            .await?;
        Ok(row.unwrap_or_default().edges)
    }

    /// Counts the edges of a target as they are at one moment. Nobody waits for it.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn count_edges(&self, target: &TargetRef) -> Result<Counted, LedgerError> {
        let target = &target_row(target);
        self.retried(|| async move {
            let mut session = self.reading().await?;
            let outcome = count_edges(&mut session, target).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Writes down what was counted, if nothing happened to the target since; else none.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn write_counted(
        &self,
        partition: u16,
        target: &TargetRef,
        counted: &Counted,
    ) -> Result<Option<Recounted>, LedgerError> {
        let target = &target_row(target);
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = write_counted(&mut session, partition, target, counted).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Counts the edges of a target of `partition` and writes the count down. For one to which
    /// nothing happens meanwhile.
    ///
    /// # Errors
    /// [`LedgerError`]; [`LedgerError::Contended`] when something happened to it each time.
    pub async fn recount(
        &self,
        partition: u16,
        target: &TargetRef,
    ) -> Result<Recounted, LedgerError> {
        let attempts = self.bounds().attempts;
        for _ in 0..attempts {
            let counted = self.count_edges(target).await?;
            if let Some(recounted) = self.write_counted(partition, target, &counted).await? {
                return Ok(recounted);
            }
        }
        Err(LedgerError::Contended {
            attempts,
            last: "the target changed while its edges were counted".to_owned(),
        })
    }

    /// Up to `most` targets of a kind after `after`, by type and id.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn targets_of_kind(
        &self,
        kind: KindNo,
        after: Option<&TargetRef>,
        most: usize,
    ) -> Result<Vec<TargetRef>, LedgerError> {
        let most = most.min(MAX_KIND_TARGETS) as u64;
        let after = after.map(target_row);
        let rows = self.read_rows(|| next(kind, after.as_ref(), most)).await?;
        rows.iter().map(|row| read(kind, row)).collect()
    }
}

fn read(kind: KindNo, row: &MySqlRow) -> Result<TargetRef, LedgerError> {
    let corrupt = |error: sqlx::Error| LedgerError::Corrupt(error.to_string());
    Ok(TargetRef {
        kind,
        target_type: TypeNo(row.try_get(0).map_err(corrupt)?),
        target: key(row, 1).map_err(corrupt)?.id()?,
    })
}

fn next(kind: KindNo, after: Option<&TargetRow>, most: u64) -> Sql {
    let mut sql =
        Sql::new("SELECT target_type, target FROM targets FORCE INDEX (PRIMARY) WHERE kind = ?");
    sql.bind(kind.0);
    if let Some(after) = after {
        sql.push(" AND ((target_type = ? AND target > ?) OR target_type > ?)");
        sql.bind(after.target_type.0)
            .bind(after.target.as_bytes())
            .bind(after.target_type.0);
    }
    sql.push(" ORDER BY target_type, target LIMIT ?").bind(most);
    sql
}

async fn row_of(session: &mut Session, target: &TargetRow) -> Result<Option<Written>, Failure> {
    let mut sql = Sql::new("SELECT count_place, seq, edges FROM targets WHERE ");
    sql.push("kind = ? AND target_type = ? AND target = ?");
    bind_target(&mut sql, target);
    let Some(row) = session.first(sql).await? else {
        return Ok(None);
    };
    Ok(Some(Written {
        count: rev_at(row.try_get(0)?).0,
        seq: Rev(row.try_get(1)?),
        edges: row.try_get(2)?,
    }))
}

async fn count_edges(session: &mut Session, target: &TargetRow) -> Result<Counted, Failure> {
    let snapshot = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
    session.begin(snapshot).await?;
    let row = row_of(session, target).await?.unwrap_or_default();
    let mut sum = Sum::default();
    // The row may be wrong about how many there are, so a piece that held too many makes the next
    // ones narrower.
    let mut width = (HASHES / (row.edges / PIECE_EDGES + 1)).max(1);
    let mut first = 0;
    while first < HASHES {
        let last = (first + width).min(HASHES) - 1;
        let found = count_piece(session, target, first, last).await?;
        sum.active += found.active;
        sum.edges += found.edges;
        first = last + 1;
        if found.edges > 2 * PIECE_EDGES {
            width = (width / (found.edges / PIECE_EDGES)).max(1);
        }
    }
    session.roll_back().await;
    Ok(Counted { row, sum })
}

async fn count_piece(
    session: &mut Session,
    target: &TargetRow,
    first: u64,
    last: u64,
) -> Result<Sum, Failure> {
    let row = session.first(piece(target, first, last)).await?;
    let Some(row) = row else {
        return Ok(Sum::default());
    };
    Ok(Sum {
        active: row.try_get(0)?,
        edges: row.try_get::<i64, _>(1)?.unsigned_abs(),
    })
}

pub(super) fn piece(target: &TargetRow, first: u64, last: u64) -> Sql {
    let mut sql = Sql::new(
        "SELECT CAST(COALESCE(SUM(active), 0) AS UNSIGNED), COUNT(*) \
         FROM edges FORCE INDEX (PRIMARY) \
         WHERE kind = ? AND target_type = ? AND target = ? AND user_hash BETWEEN ? AND ?",
    );
    bind_target(&mut sql, target);
    sql.bind(first).bind(last);
    sql
}

async fn write_counted(
    session: &mut Session,
    partition: u16,
    target: &TargetRow,
    counted: &Counted,
) -> Result<Option<Recounted>, Failure> {
    session.begin("START TRANSACTION").await?;
    lock_partition(session, partition).await?.unless_moved()?;
    let found = row_of(session, target).await?;
    if found.unwrap_or_default() != counted.row {
        session.roll_back().await;
        return Ok(None);
    }
    let Counted { row, sum } = *counted;
    if found.is_some() && (row.count, row.edges) != (sum.active, sum.edges) {
        let mut sql = Sql::new("UPDATE targets SET count_place = ?, edges = ?");
        sql.push(" WHERE kind = ? AND target_type = ? AND target = ?");
        sql.bind(place(Rev(sum.active))).bind(sum.edges);
        bind_target(&mut sql, target);
        session.run(sql).await?;
        pass(session, partition).await?;
    }
    session.commit().await?;
    Ok(Some(Recounted {
        before: row.count,
        after: sum.active,
    }))
}
