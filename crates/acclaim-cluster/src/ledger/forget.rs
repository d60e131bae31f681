//! Forgetting a user whose edges are all unset: the end of an erasure.
//!
//! What is left of the user then are rows of edges that were unset, their own rows, and their share
//! in the numbers of distinct users a day. All of it goes; the numbers of transitions stay.
//!
//! The rows of unset edges also keep an old event from being counted again. So the caller waits
//! until the ledger has everything that was written before the erasure ended.

use std::collections::{BTreeMap, BTreeSet};

use acclaim_core::Id;
use acclaim_core::days::Days;
use sqlx::Row;

use super::blob::{UserType, pack_types, read_types};
use super::codec::IdKey;
use super::dictionary::{KindNo, TypeNo};
use super::error::{Failure, LedgerError};
use super::event::TargetRow;
use super::fold::ALL_TYPES;
use super::pools::Ledger;
use super::rows::{bind_target, key};
use super::session::{Session, Sql, give_up};

/// Rows of unset edges that one transaction removes.
const MAX_FORGOTTEN_EDGES: u64 = 500;

impl Ledger {
    /// Removes what is left of a user under every kind there ever was. An edge that is active by
    /// now stays, with what follows from it.
    ///
    /// # Errors
    /// [`LedgerError`]; then some of it may be done, and the rest can be done by another call.
    pub async fn forget_user(&self, user: &Id) -> Result<(), LedgerError> {
        let kinds = self
            .read_rows(|| Sql::new("SELECT no FROM kinds ORDER BY no"))
            .await?;
        let user = &IdKey::new(user);
        for row in &kinds {
            let corrupt = |error: sqlx::Error| LedgerError::Corrupt(error.to_string());
            let kind = KindNo(row.try_get(0).map_err(corrupt)?);
            self.retried(|| async move {
                let mut session = self.writing().await?;
                let outcome = forget_days(&mut session, kind, user).await;
                give_up(&mut session, outcome).await
            })
            .await?;
            while self
                .retried(|| async move {
                    let mut session = self.writing().await?;
                    let outcome = forget_edges(&mut session, kind, user).await;
                    give_up(&mut session, outcome).await
                })
                .await?
            {}
        }
        Ok(())
    }
}

/// The user's own row and their share in the days.
async fn forget_days(session: &mut Session, kind: KindNo, user: &IdKey) -> Result<(), Failure> {
    session.begin("START TRANSACTION").await?;
    let mut sql =
        Sql::new("SELECT given, mutual, types FROM users WHERE kind = ? AND user = ? FOR UPDATE");
    sql.bind(kind.0).bind(user.as_bytes());
    let Some(row) = session.first(sql).await? else {
        session.roll_back().await;
        return Ok(());
    };
    let (given, mutual): (u64, u64) = (row.try_get(0)?, row.try_get(1)?);
    let mut types = read_types(row.try_get(2)?)?;
    let days = days_of(&types);
    if given == 0 && mutual == 0 {
        let mut sql = Sql::new("DELETE FROM users WHERE kind = ? AND user = ?");
        sql.bind(kind.0).bind(user.as_bytes());
        session.run(sql).await?;
    } else {
        for of_type in &mut types {
            of_type.days = Days::default();
        }
        let mut sql = Sql::new("UPDATE users SET types = ? WHERE kind = ? AND user = ?");
        sql.bind(pack_types(&types))
            .bind(kind.0)
            .bind(user.as_bytes());
        session.run(sql).await?;
    }
    for (type_no, day) in days {
        // A day is spread over several rows, and only their sum says anything.
        let mut sql = Sql::new(
            "UPDATE daily SET users = users - 1 WHERE kind = ? AND target_type = ? AND day = ? \
             AND users > 0 ORDER BY shard LIMIT 1",
        );
        sql.bind(kind.0).bind(type_no.0).bind(day);
        session.run(sql).await?;
    }
    session.commit().await?;
    Ok(())
}

/// The days on which the user is counted, by type and over all types.
fn days_of(types: &[UserType]) -> BTreeSet<(TypeNo, u32)> {
    let mut days = BTreeSet::new();
    for of_type in types {
        for run in of_type.days.runs() {
            for day in run.first..=run.last {
                days.insert((of_type.type_no, day));
                days.insert((ALL_TYPES, day));
            }
        }
    }
    days
}

/// Some of the user's unset edges. Answers whether there may be more.
async fn forget_edges(session: &mut Session, kind: KindNo, user: &IdKey) -> Result<bool, Failure> {
    session.begin("START TRANSACTION").await?;
    let mut sql = Sql::new(
        "SELECT target_type, target, user_hash FROM edges FORCE INDEX (by_user) \
         WHERE kind = ? AND user = ? AND active = 0 LIMIT ?",
    );
    sql.bind(kind.0)
        .bind(user.as_bytes())
        .bind(MAX_FORGOTTEN_EDGES);
    let rows = session.all(sql).await?;
    let mut found: BTreeMap<TargetRow, u32> = BTreeMap::new();
    for row in &rows {
        let target = TargetRow {
            kind,
            target_type: TypeNo(row.try_get(0)?),
            target: key(row, 1)?,
        };
        found.insert(target, row.try_get(2)?);
    }
    let mut gone = Vec::with_capacity(found.len());
    for (target, hash) in found {
        let mut sql = Sql::new(
            "DELETE FROM edges WHERE kind = ? AND target_type = ? AND target = ? \
             AND user_hash = ? AND user = ? AND active = 0",
        );
        bind_target(&mut sql, &target);
        sql.bind(hash).bind(user.as_bytes());
        if session.run(sql).await? > 0 {
            gone.push(target);
        }
    }
    for target in &gone {
        let mut sql = Sql::new(
            "UPDATE targets SET edges = edges - 1 \
             WHERE kind = ? AND target_type = ? AND target = ? AND edges > 0",
        );
        bind_target(&mut sql, target);
        session.run(sql).await?;
    }
    session.commit().await?;
    Ok(!gone.is_empty() && rows.len() as u64 == MAX_FORGOTTEN_EDGES)
}
