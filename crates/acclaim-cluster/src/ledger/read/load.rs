//! A target, or one bucket of it, as it was at one moment: what a cache is filled with.
//!
//! Both are one range of the primary key, read in one consistent snapshot with the target's own
//! row.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use acclaim_core::{EdgeState, Id, Rev};
use sqlx::Row;
use sqlx::mysql::MySqlRow;

use super::TargetRef;
use super::states::{counts_by_key, target_row};
use crate::ledger::codec::rev_at;
use crate::ledger::dictionary::{KindNo, TypeNo};
use crate::ledger::error::{Failure, LedgerError};
use crate::ledger::event::TargetRow;
use crate::ledger::pools::Ledger;
use crate::ledger::rows::{bind_target, key, target_parts, targets_in};
use crate::ledger::session::{Session, Sql, give_up};

/// Entries that one load may hand out. A target with more is loaded by buckets.
pub const MAX_LOAD_ENTRIES: usize = 10_000;

/// Targets that one load may name.
pub const MAX_LOAD_TARGETS: usize = 128;

/// An edge of a target, active or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedEntry {
    /// Who.
    pub user: Id,
    /// Whether, and since when.
    pub state: EdgeState,
}

/// A target at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedTarget {
    /// Active edges.
    pub count: u64,
    /// The journal place of the last transition that the ledger has.
    pub seq: Rev,
    /// Edges, unset ones too.
    pub edges: u64,
    /// The edges that were asked for, by hash and id; none where there are more than the limit.
    pub entries: Option<Vec<LoadedEntry>>,
}

impl Ledger {
    /// A target with all its edges, if they are at most `most_entries`.
    ///
    /// # Errors
    /// [`LedgerError::TooMany`] for more than [`MAX_LOAD_ENTRIES`].
    pub async fn load_target(
        &self,
        target: &TargetRef,
        most_entries: usize,
    ) -> Result<LoadedTarget, LedgerError> {
        self.load(target, 0..=u32::MAX, most_entries).await
    }

    /// A target with those of its edges whose users hash into `hashes`.
    ///
    /// # Errors
    /// As [`Ledger::load_target`].
    pub async fn load_bucket(
        &self,
        target: &TargetRef,
        hashes: RangeInclusive<u32>,
    ) -> Result<LoadedTarget, LedgerError> {
        self.load(target, hashes, MAX_LOAD_ENTRIES).await
    }

    /// Many targets at one moment, each as [`Ledger::load_target`] would give it.
    ///
    /// # Errors
    /// [`LedgerError::TooMany`] for more than [`MAX_LOAD_TARGETS`] or [`MAX_LOAD_ENTRIES`].
    pub async fn load_targets(
        &self,
        targets: &[TargetRef],
        most_entries: usize,
    ) -> Result<Vec<LoadedTarget>, LedgerError> {
        for (what, given, limit) in [
            ("targets", targets.len(), MAX_LOAD_TARGETS),
            ("entries", most_entries, MAX_LOAD_ENTRIES),
        ] {
            if given > limit {
                return Err(LedgerError::TooMany { what, given, limit });
            }
        }
        let rows: &Vec<TargetRow> = &targets.iter().map(target_row).collect();
        self.retried(|| async move {
            let mut session = self.reading().await?;
            let outcome = load_many(&mut session, rows, most_entries).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    async fn load(
        &self,
        target: &TargetRef,
        hashes: RangeInclusive<u32>,
        most: usize,
    ) -> Result<LoadedTarget, LedgerError> {
        if most > MAX_LOAD_ENTRIES {
            let limit = MAX_LOAD_ENTRIES;
            return Err(LedgerError::TooMany {
                what: "entries",
                given: most,
                limit,
            });
        }
        let row = &target_row(target);
        let hashes = &hashes;
        self.retried(|| async move {
            let mut session = self.reading().await?;
            let outcome = load(&mut session, row, hashes, most).await;
            give_up(&mut session, outcome).await
        })
        .await
    }
}

async fn load(
    session: &mut Session,
    target: &TargetRow,
    hashes: &RangeInclusive<u32>,
    most: usize,
) -> Result<LoadedTarget, Failure> {
    session
        .begin("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        .await?;
    let mut loaded = LoadedTarget {
        entries: Some(Vec::new()),
        ..LoadedTarget::default()
    };
    if let Some(row) = session.first(counts_by_key(&[target])).await? {
        loaded.count = rev_at(row.try_get(3)?).0;
        loaded.seq = Rev(row.try_get(4)?);
        loaded.edges = row.try_get(5)?;
        let is_whole = *hashes == (0..=u32::MAX);
        loaded.entries = if is_whole && loaded.edges > most as u64 {
            None
        } else {
            entries(&session.all(bucket(target, hashes, most + 1)).await?, most)?
        };
    }
    session.commit().await?;
    Ok(loaded)
}

async fn load_many(
    session: &mut Session,
    targets: &[TargetRow],
    most: usize,
) -> Result<Vec<LoadedTarget>, Failure> {
    session
        .begin("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        .await?;
    let mut found: BTreeMap<TargetRow, LoadedTarget> = BTreeMap::new();
    let mut wanted: Vec<&TargetRow> = targets.iter().collect();
    wanted.sort_unstable();
    for part in target_parts(&wanted) {
        for row in session.all(counts_by_key(&part)).await? {
            let target = target_of(&row)?;
            let edges: u64 = row.try_get(5)?;
            let loaded = LoadedTarget {
                count: rev_at(row.try_get(3)?).0,
                seq: Rev(row.try_get(4)?),
                edges,
                entries: (edges <= most as u64).then(Vec::new),
            };
            found.insert(target, loaded);
        }
    }
    let small: Vec<TargetRow> = found
        .iter()
        .filter(|(_, loaded)| loaded.entries.is_some() && loaded.edges > 0)
        .map(|(target, _)| target.clone())
        .collect();
    // In the order of the map.
    for part in target_parts(&small.iter().collect::<Vec<_>>()) {
        for row in session.all(entries_of(&part)).await? {
            let entry = LoadedEntry {
                user: key(&row, 3)?.id()?,
                state: EdgeState {
                    active: row.try_get(4)?,
                    rev: rev_at(row.try_get(5)?),
                },
            };
            let target = found.get_mut(&target_of(&row)?);
            if let Some(entries) = target.and_then(|loaded| loaded.entries.as_mut()) {
                entries.push(entry);
            }
        }
    }
    session.commit().await?;
    let whole = |target: &TargetRow| {
        let mut loaded = found.get(target).cloned().unwrap_or(LoadedTarget {
            entries: Some(Vec::new()),
            ..LoadedTarget::default()
        });
        // More rows than the target's row says.
        if loaded
            .entries
            .as_ref()
            .is_some_and(|entries| entries.len() > most)
        {
            loaded.entries = None;
        }
        loaded
    };
    Ok(targets.iter().map(whole).collect())
}

fn target_of(row: &MySqlRow) -> Result<TargetRow, Failure> {
    Ok(TargetRow {
        kind: KindNo(row.try_get(0)?),
        target_type: TypeNo(row.try_get(1)?),
        target: key(row, 2)?,
    })
}

fn entries_of(targets: &[&TargetRow]) -> Sql {
    let mut sql = Sql::new(
        "SELECT kind, target_type, target, user, active, place \
         FROM edges FORCE INDEX (PRIMARY) WHERE ",
    );
    targets_in(&mut sql, targets);
    sql
}

pub(super) fn bucket(target: &TargetRow, hashes: &RangeInclusive<u32>, most: usize) -> Sql {
    let mut sql = Sql::new(
        "SELECT user, active, place FROM edges FORCE INDEX (PRIMARY) WHERE kind = ? AND target_type = ? AND target = ? \
         AND user_hash BETWEEN ? AND ? ORDER BY user_hash, user LIMIT ?",
    );
    bind_target(&mut sql, target);
    sql.bind(*hashes.start())
        .bind(*hashes.end())
        .bind(most as u64);
    sql
}

fn entries(rows: &[MySqlRow], most: usize) -> Result<Option<Vec<LoadedEntry>>, Failure> {
    if rows.len() > most {
        return Ok(None);
    }
    let entry = |row: &MySqlRow| -> Result<LoadedEntry, Failure> {
        let state = EdgeState {
            active: row.try_get(1)?,
            rev: rev_at(row.try_get(2)?),
        };
        Ok(LoadedEntry {
            user: key(row, 0)?.id()?,
            state,
        })
    };
    rows.iter().map(entry).collect::<Result<_, _>>().map(Some)
}
