//! Counting a target's edges again, and going through all targets of a kind.

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
use super::session::{Session, Sql, give_up};

/// Targets in one page.
pub const MAX_KIND_TARGETS: usize = 1_000;

/// What a recount found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recounted {
    /// The count that was written down.
    pub before: u64,
    /// Active edges: the count from now on.
    pub after: u64,
}

impl Ledger {
    /// Counts the edges of a target of `partition` and writes the count down. No batch of the
    /// partition is applied meanwhile.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn recount(
        &self,
        partition: u16,
        target: &TargetRef,
    ) -> Result<Recounted, LedgerError> {
        let row = &target_row(target);
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = recount(&mut session, partition, row).await;
            give_up(&mut session, outcome).await
        })
        .await
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

async fn recount(
    session: &mut Session,
    partition: u16,
    target: &TargetRow,
) -> Result<Recounted, Failure> {
    session.begin("START TRANSACTION").await?;
    lock_partition(session, partition).await?.unless_moved()?;
    let mut sql = Sql::new(
        "SELECT count_place, edges FROM targets WHERE kind = ? AND target_type = ? AND target = ? FOR UPDATE",
    );
    bind_target(&mut sql, target);
    let before: Option<(u64, u64)> = match session.first(sql).await? {
        Some(row) => Some((rev_at(row.try_get(0)?).0, row.try_get(1)?)),
        None => None,
    };
    let mut sql = Sql::new(
        "SELECT CAST(COALESCE(SUM(active), 0) AS UNSIGNED), COUNT(*) \
         FROM edges FORCE INDEX (by_target) WHERE kind = ? AND target_type = ? AND target = ?",
    );
    bind_target(&mut sql, target);
    let (after, edges) = match session.first(sql).await? {
        Some(row) => (row.try_get(0)?, row.try_get::<i64, _>(1)?.unsigned_abs()),
        None => (0, 0),
    };
    if before.is_some_and(|before| before != (after, edges)) {
        let mut sql = Sql::new("UPDATE targets SET count_place = ?, edges = ?");
        sql.push(" WHERE kind = ? AND target_type = ? AND target = ?");
        sql.bind(place(Rev(after))).bind(edges);
        bind_target(&mut sql, target);
        session.run(sql).await?;
    }
    session.commit().await?;
    Ok(Recounted {
        before: before.map_or(0, |(count, _)| count),
        after,
    })
}
