//! Edges and counts by key, many in one statement.

use std::collections::HashMap;

use acclaim_core::EdgeState;
use acclaim_core::Rev;
use acclaim_core::port::Count;
use sqlx::Row;

use super::{EdgeRef, TargetRef, corrupt};
use crate::ledger::codec::{IdKey, rev_at};
use crate::ledger::dictionary::{KindNo, TypeNo};
use crate::ledger::error::LedgerError;
use crate::ledger::event::{EdgeRow, TargetRow};
use crate::ledger::pools::Ledger;
use crate::ledger::rows::{edge_parts, edge_row, edges_by_key, key, target_parts, targets_in};
use crate::ledger::session::Sql;

impl Ledger {
    /// The state of each edge, in order. What was never there is inactive at rev zero.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn edge_states(&self, edges: &[EdgeRef]) -> Result<Vec<EdgeState>, LedgerError> {
        let wanted: Vec<EdgeRow> = edges.iter().map(EdgeRef::row).collect();
        let found = self.states_of(&wanted).await?;
        Ok(wanted
            .iter()
            .map(|edge| found.get(edge).copied().unwrap_or_default())
            .collect())
    }

    pub(super) async fn states_of(
        &self,
        wanted: &[EdgeRow],
    ) -> Result<HashMap<EdgeRow, EdgeState>, LedgerError> {
        let mut found = HashMap::with_capacity(wanted.len());
        let mut wanted: Vec<&EdgeRow> = wanted.iter().collect();
        wanted.sort_unstable();
        for part in edge_parts(&wanted) {
            for row in self.read_rows(|| edges_by_key(&part)).await? {
                let active = row.try_get(5).map_err(corrupt)?;
                let rev = rev_at(row.try_get(6).map_err(corrupt)?);
                found.insert(edge_row(&row).map_err(corrupt)?, EdgeState { active, rev });
            }
        }
        Ok(found)
    }

    /// The count of each target, in order.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn target_counts(&self, targets: &[TargetRef]) -> Result<Vec<Count>, LedgerError> {
        let wanted: Vec<TargetRow> = targets.iter().map(target_row).collect();
        let mut found = HashMap::with_capacity(wanted.len());
        let mut sorted: Vec<&TargetRow> = wanted.iter().collect();
        sorted.sort_unstable();
        for part in target_parts(&sorted) {
            for row in self.read_rows(|| counts_by_key(&part)).await? {
                let target = TargetRow {
                    kind: KindNo(row.try_get(0).map_err(corrupt)?),
                    target_type: TypeNo(row.try_get(1).map_err(corrupt)?),
                    target: key(&row, 2).map_err(corrupt)?,
                };
                let count = rev_at(row.try_get(3).map_err(corrupt)?).0;
                let rev = Rev(row.try_get(4).map_err(corrupt)?);
                found.insert(target, Count { count, rev });
            }
        }
        Ok(wanted
            .iter()
            .map(|target| found.get(target).copied().unwrap_or_default())
            .collect())
    }
}

pub(in crate::ledger) fn target_row(target: &TargetRef) -> TargetRow {
    TargetRow {
        kind: target.kind,
        target_type: target.target_type,
        target: IdKey::new(&target.target),
    }
}

/// A statement over targets of one kind and type by their keys.
pub(super) fn counts_by_key(targets: &[&TargetRow]) -> Sql {
    let mut sql = Sql::new(
        "SELECT kind, target_type, target, count_place, seq, edges \
         FROM targets FORCE INDEX (PRIMARY) WHERE ",
    );
    targets_in(&mut sql, targets);
    sql
}
