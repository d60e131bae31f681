//! Both lists: who did it to a target, and what a user did. Newest first, ties by key.
//!
//! A page is one range of an index: what stands at the cursor's place after its key, and what
//! stands after that place. What a user did over all types is merged from one such range a type,
//! so that ties come in the order of the types' names, not of their numbers; which types there are
//! the user's own row says.

use acclaim_core::limits::{MAX_FILTERED_EDGES, MAX_OFFSET_ENTRIES};
use acclaim_core::page::{Entry, Position};
use acclaim_core::port::Listing;
use acclaim_core::{Id, Page, Start, Target, TargetType};
use sqlx::Row;
use sqlx::mysql::MySqlRow;

use super::{TargetRef, corrupt};
use crate::ledger::blob::{UserType, read_types};
use crate::ledger::codec::{IdKey, place, rev_at};
use crate::ledger::dictionary::{KindNo, TypeNo};
use crate::ledger::error::LedgerError;
use crate::ledger::pools::Ledger;
use crate::ledger::rows::key;
use crate::ledger::session::Sql;

/// Entries of one page: as many as a filtered list looks at.
pub const MAX_LIST_ENTRIES: usize = MAX_FILTERED_EDGES;

/// What a user's row says.
#[derive(Clone, Debug, Default)]
pub(super) struct UserSums {
    pub given: u64,
    pub mutual: u64,
    pub types: Vec<UserType>,
}

impl Ledger {
    /// Who did it to a target.
    ///
    /// # Errors
    /// [`LedgerError::TooMany`] for a page or an offset over its limit.
    pub async fn users_of(
        &self,
        target: &TargetRef,
        start: &Start<Id>,
        size: usize,
    ) -> Result<Listing<Id>, LedgerError> {
        let (skip, after) = split(start, size)?;
        let after = after.map(|position| (place(position.rev), IdKey::new(&position.key)));
        let rows = self
            .read_rows(|| users_page(target, after.as_ref(), skip + size + 1))
            .await?;
        let entry = |row: &MySqlRow| -> Result<Entry<Id>, LedgerError> {
            let at = rev_at(row.try_get(0).map_err(corrupt)?);
            Ok(Entry {
                key: key(row, 1).map_err(corrupt)?.id()?,
                at,
            })
        };
        let entries = rows
            .iter()
            .skip(skip)
            .map(entry)
            .collect::<Result<Vec<_>, _>>()?;
        let total = self.target_counts(std::slice::from_ref(target)).await?[0].count;
        Ok(Listing {
            page: page(entries, size),
            total,
        })
    }

    /// What a user did it to, of one type or of all.
    ///
    /// # Errors
    /// As [`Ledger::users_of`].
    pub async fn targets_of(
        &self,
        kind: KindNo,
        user: &Id,
        only: Option<&TargetType>,
        start: &Start<Target>,
        size: usize,
    ) -> Result<Listing<Target>, LedgerError> {
        let (skip, after) = split(start, size)?;
        let mut total = 0;
        let mut types = Vec::new();
        for of_type in self.user_sums(kind, user).await?.types {
            let name = self.type_of_row(of_type.type_no).await?;
            if of_type.given > 0 && only.is_none_or(|only| *only == name) {
                total += of_type.given;
                types.push((of_type.type_no, name));
            }
        }
        let mut entries = Vec::new();
        let most = skip + size + 1;
        for (type_no, name) in types {
            let user = &IdKey::new(user);
            let after = after.map(|position| after_in_type(position, &name));
            let sql = || targets_page(kind, user, type_no, after.as_ref(), most);
            for row in &self.read_rows(sql).await? {
                let at = rev_at(row.try_get(0).map_err(corrupt)?);
                let id = key(row, 1).map_err(corrupt)?.id()?;
                entries.push(Entry {
                    key: Target {
                        target_type: name.clone(),
                        id,
                    },
                    at,
                });
            }
        }
        entries.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.key.cmp(&b.key)));
        entries.truncate(most);
        let entries = entries.split_off(skip.min(entries.len()));
        Ok(Listing {
            page: page(entries, size),
            total,
        })
    }

    pub(super) async fn user_sums(&self, kind: KindNo, user: &Id) -> Result<UserSums, LedgerError> {
        let rows = self.read_rows(|| user_row(kind, &IdKey::new(user))).await?;
        let Some(row) = rows.first() else {
            return Ok(UserSums::default());
        };
        Ok(UserSums {
            given: row.try_get(0).map_err(corrupt)?,
            mutual: row.try_get(1).map_err(corrupt)?,
            types: read_types(row.try_get(2).map_err(corrupt)?)?,
        })
    }
}

/// Where to go on inside one type: the place, and the key from which on ties count.
fn after_in_type(position: &Position<Target>, name: &TargetType) -> (u64, Tie) {
    let tie = match name.cmp(&position.key.target_type) {
        std::cmp::Ordering::Less => Tie::None,
        std::cmp::Ordering::Equal => Tie::After(IdKey::new(&position.key.id)),
        std::cmp::Ordering::Greater => Tie::All,
    };
    (place(position.rev), tie)
}

/// Which entries at the cursor's own place come after it.
#[derive(Clone, Debug)]
pub(super) enum Tie {
    /// None: this type's name comes before the cursor's.
    None,
    /// Those after a key.
    After(IdKey),
    /// All: this type's name comes after the cursor's.
    All,
}

fn split<K>(start: &Start<K>, size: usize) -> Result<(usize, Option<&Position<K>>), LedgerError> {
    if size > MAX_LIST_ENTRIES {
        let limit = MAX_LIST_ENTRIES;
        return Err(LedgerError::TooMany {
            what: "entries of a page",
            given: size,
            limit,
        });
    }
    match start {
        Start::Offset(given) if *given > MAX_OFFSET_ENTRIES => {
            let limit = MAX_OFFSET_ENTRIES;
            Err(LedgerError::TooMany {
                what: "entries to skip",
                given: *given,
                limit,
            })
        }
        Start::Offset(skip) => Ok((*skip, None)),
        Start::After(position) => Ok((0, Some(position))),
    }
}

/// Of up to one entry more than the page holds, the page.
fn page<K: Clone>(mut entries: Vec<Entry<K>>, size: usize) -> Page<K> {
    let more = entries.len() > size;
    entries.truncate(size);
    let next = entries.last().filter(|_| more).map(Entry::position);
    Page { entries, next }
}

pub(super) fn users_page(target: &TargetRef, after: Option<&(u64, IdKey)>, most: usize) -> Sql {
    let mut sql = Sql::new(
        "SELECT place, user FROM edges \
         WHERE kind = ? AND target_type = ? AND target = ? AND active = 1",
    );
    sql.bind(target.kind.0).bind(target.target_type.0);
    sql.bind(IdKey::new(&target.target).as_bytes());
    if let Some((place, user)) = after {
        sql.push(" AND ((place = ? AND user > ?) OR place > ?)");
        sql.bind(*place).bind(user.as_bytes()).bind(*place);
    }
    sql.push(" ORDER BY place, user LIMIT ?").bind(most as u64);
    sql
}

pub(super) fn targets_page(
    kind: KindNo,
    user: &IdKey,
    type_no: TypeNo,
    after: Option<&(u64, Tie)>,
    most: usize,
) -> Sql {
    let mut sql = Sql::new(
        "SELECT place, target FROM edges \
         WHERE kind = ? AND user = ? AND target_type = ? AND active = 1",
    );
    sql.bind(kind.0).bind(user.as_bytes()).bind(type_no.0);
    match after {
        None => {}
        Some((place, Tie::None)) => {
            sql.push(" AND place > ?").bind(*place);
        }
        Some((place, Tie::All)) => {
            sql.push(" AND place >= ?").bind(*place);
        }
        Some((place, Tie::After(target))) => {
            sql.push(" AND ((place = ? AND target > ?) OR place > ?)");
            sql.bind(*place).bind(target.as_bytes()).bind(*place);
        }
    }
    sql.push(" ORDER BY place, target LIMIT ?")
        .bind(most as u64);
    sql
}

pub(super) fn user_row(kind: KindNo, user: &IdKey) -> Sql {
    let mut sql = Sql::new("SELECT given, mutual, types FROM users WHERE kind = ? AND user = ?");
    sql.bind(kind.0).bind(user.as_bytes());
    sql
}
