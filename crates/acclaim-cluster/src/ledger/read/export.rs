//! Every active edge of a kind, page by page, in the order of the primary key.

use acclaim_core::{Id, Rev, Target};
use sqlx::Row;

use super::{EdgeRef, corrupt};
use crate::ledger::codec::rev_at;
use crate::ledger::dictionary::KindNo;
use crate::ledger::error::LedgerError;
use crate::ledger::event::EdgeRow;
use crate::ledger::pools::Ledger;
use crate::ledger::rows::edge_row;
use crate::ledger::session::Sql;

/// Rows that one statement looks at, unset edges too.
pub const MAX_EXPORT_ROWS: usize = 10_000;

/// An active edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Who.
    pub user: Id,
    /// To what.
    pub target: Target,
    /// Since when.
    pub at: Rev,
}

impl Ledger {
    /// The next `most` active edges of a kind after `after`; fewer at the end only.
    ///
    /// # Errors
    /// [`LedgerError::TooMany`] for more than [`MAX_EXPORT_ROWS`].
    pub async fn export_edges(
        &self,
        kind: KindNo,
        after: Option<&EdgeRef>,
        most: usize,
    ) -> Result<Vec<Exported>, LedgerError> {
        if most > MAX_EXPORT_ROWS {
            let limit = MAX_EXPORT_ROWS;
            return Err(LedgerError::TooMany {
                what: "edges of an export",
                given: most,
                limit,
            });
        }
        let mut after = after.map(EdgeRef::row);
        let mut exported = Vec::new();
        while exported.len() < most {
            let rows = self.read_rows(|| next(kind, after.as_ref(), most)).await?;
            for row in &rows {
                let edge = edge_row(row).map_err(corrupt)?;
                if row.try_get(5).map_err(corrupt)? && exported.len() < most {
                    let target_type = self.type_of_row(edge.target_type).await?;
                    let target = Target {
                        target_type,
                        id: edge.target.id()?,
                    };
                    let at = rev_at(row.try_get(6).map_err(corrupt)?);
                    exported.push(Exported {
                        user: edge.user.id()?,
                        target,
                        at,
                    });
                }
                after = Some(edge);
            }
            if rows.len() < most {
                break;
            }
        }
        Ok(exported)
    }
}

/// The rows after an edge, as four ranges that lie one behind the other.
pub(in crate::ledger) fn next(kind: KindNo, after: Option<&EdgeRow>, most: usize) -> Sql {
    let mut sql = Sql::new(
        "SELECT kind, target_type, target, user_hash, user, active, place \
         FROM edges FORCE INDEX (PRIMARY) WHERE ",
    );
    match after {
        None => {
            sql.push("kind = ?").bind(kind.0);
        }
        Some(edge) => {
            let (target_type, target) = (edge.target_type.0, edge.target.as_bytes());
            sql.push(
                "((kind = ? AND target_type = ? AND target = ? AND user_hash = ? AND user > ?) \
                 OR (kind = ? AND target_type = ? AND target = ? AND user_hash > ?) \
                 OR (kind = ? AND target_type = ? AND target > ?) \
                 OR (kind = ? AND target_type > ?))",
            );
            sql.bind(kind.0)
                .bind(target_type)
                .bind(target)
                .bind(edge.user_hash);
            sql.bind(edge.user.as_bytes());
            sql.bind(kind.0)
                .bind(target_type)
                .bind(target)
                .bind(edge.user_hash);
            sql.bind(kind.0).bind(target_type).bind(target);
            sql.bind(kind.0).bind(target_type);
        }
    }
    sql.push(" ORDER BY kind, target_type, target, user_hash, user LIMIT ?")
        .bind(most as u64);
    sql
}
