//! Reading edges in the order of one of their indexes, target by target or user by user.

use std::collections::BTreeMap;

use sqlx::Row;

use super::{MAX_STEP_EDGES, MAX_STEP_ROWS};
use crate::ledger::codec::IdKey;
use crate::ledger::dictionary::TypeNo;
use crate::ledger::error::Failure;
use crate::ledger::event::{EdgeRow, TargetRow, UserRow};
use crate::ledger::rows::{bind_target, edge_row};
use crate::ledger::session::{Session, Sql};

/// Edges that one statement reads.
const MAX_STATEMENT_EDGES: usize = 10_000;

/// What the edges of a target, or of a user, come to.
#[derive(Debug, Default)]
pub struct Group {
    /// Active ones.
    pub active: u64,
    /// All.
    pub edges: u64,
    /// Active ones by the type of the target.
    pub by_type: BTreeMap<TypeNo, u64>,
    /// Of a user: the other users among the active ones' targets.
    pub users: Vec<IdKey>,
    /// As they should be, with the hash that they stand under.
    pub misplaced: Vec<(EdgeRow, u32)>,
}

/// Where reading stopped.
pub struct Last {
    pub edge: EdgeRow,
    pub active: bool,
    pub place: u64,
}

/// Where reading begins.
pub enum Begin<'a, S> {
    /// With the first of all.
    Start,
    /// With whoever comes after this one.
    After(&'a S),
    /// With this one.
    At(&'a S),
}

/// Targets or users: what edges are grouped by, in the order of an index.
pub trait Side: Ord + Clone + Sized {
    /// Whose edge this is.
    fn of(edge: &EdgeRow) -> Self;
    /// The next edges: those of who comes after `from`, or, where reading has begun, after the last
    /// one.
    fn next(from: &Begin<'_, Self>, last: Option<&Last>) -> Sql;
    /// Adds what only this side wants to know.
    fn add(&self, group: &mut Group, edge: EdgeRow, active: bool, user_type: Option<TypeNo>);
}

/// Groups the edges of everybody after `after`, up to `end`. Answers where it stopped, if there may
/// be more: behind a whole group, after [`MAX_STEP_EDGES`].
pub async fn groups_after<S: Side>(
    session: &mut Session,
    after: Option<&S>,
    end: Option<&S>,
    user_type: Option<TypeNo>,
    groups: &mut BTreeMap<S, Group>,
) -> Result<Option<S>, Failure> {
    let from = after.map_or(Begin::Start, Begin::After);
    read(session, from, end, user_type, groups).await
}

/// The edges of one target or user.
pub async fn groups_of<S: Side>(
    session: &mut Session,
    of: &S,
    user_type: Option<TypeNo>,
) -> Result<Group, Failure> {
    let mut groups = BTreeMap::new();
    read(session, Begin::At(of), Some(of), user_type, &mut groups).await?;
    Ok(groups.remove(of).unwrap_or_default())
}

async fn read<S: Side>(
    session: &mut Session,
    from: Begin<'_, S>,
    end: Option<&S>,
    user_type: Option<TypeNo>,
    groups: &mut BTreeMap<S, Group>,
) -> Result<Option<S>, Failure> {
    let mut read = 0;
    let mut last: Option<Last> = None;
    let mut current: Option<S> = None;
    loop {
        let rows = session.all(S::next(&from, last.as_ref())).await?;
        for row in &rows {
            let edge = edge_row(row)?;
            let active: bool = row.try_get(5)?;
            let key = S::of(&edge);
            if end.is_some_and(|end| key > *end) {
                return Ok(None);
            }
            if current.as_ref() != Some(&key) {
                if read >= MAX_STEP_EDGES {
                    return Ok(current);
                }
                current = Some(key.clone());
            }
            read += 1;
            last = Some(Last {
                edge: edge.clone(),
                active,
                place: row.try_get(6)?,
            });
            let group = groups.entry(key.clone()).or_default();
            group.edges += 1;
            group.active += u64::from(active);
            key.add(group, edge, active, user_type);
        }
        if rows.len() < MAX_STATEMENT_EDGES {
            return Ok(None);
        }
    }
}

impl Side for TargetRow {
    fn of(edge: &EdgeRow) -> Self {
        edge.target_row()
    }

    fn next(from: &Begin<'_, Self>, last: Option<&Last>) -> Sql {
        let mut sql = Sql::new(
            "SELECT kind, target_type, target, user_hash, user, active, place \
             FROM edges FORCE INDEX (PRIMARY)",
        );
        if let Some(Last { edge, .. }) = last {
            sql.push(
                " WHERE ((kind = ? AND target_type = ? AND target = ? AND user_hash = ? AND user > ?) \
                 OR (kind = ? AND target_type = ? AND target = ? AND user_hash > ?) OR ",
            );
            bind_target(&mut sql, &edge.target_row());
            sql.bind(edge.user_hash).bind(edge.user.as_bytes());
            bind_target(&mut sql, &edge.target_row());
            sql.bind(edge.user_hash);
            after_target(&mut sql, &edge.target_row());
            sql.push(")");
        } else {
            match from {
                Begin::Start => {}
                Begin::After(target) => {
                    sql.push(" WHERE (");
                    after_target(&mut sql, target);
                    sql.push(")");
                }
                Begin::At(target) => {
                    sql.push(" WHERE kind = ? AND target_type = ? AND target = ?");
                    bind_target(&mut sql, target);
                }
            }
        }
        sql.push(" ORDER BY kind, target_type, target, user_hash, user LIMIT ?")
            .bind(MAX_STATEMENT_EDGES as u64);
        sql
    }

    fn add(&self, group: &mut Group, edge: EdgeRow, _: bool, _: Option<TypeNo>) {
        let found = edge.user_hash;
        let placed = EdgeRow::new(edge.kind, edge.target_type, edge.target, edge.user);
        if placed.user_hash != found {
            group.misplaced.push((placed, found));
        }
    }
}

impl Side for UserRow {
    fn of(edge: &EdgeRow) -> Self {
        Self {
            kind: edge.kind,
            user: edge.user.clone(),
        }
    }

    fn next(from: &Begin<'_, Self>, last: Option<&Last>) -> Sql {
        let mut sql = Sql::new(
            "SELECT kind, target_type, target, user_hash, user, active, place \
             FROM edges FORCE INDEX (by_user)",
        );
        if let Some(last) = last {
            sql.push(" WHERE (");
            after_edge_of_user(&mut sql, last);
            sql.push(")");
        } else {
            match from {
                Begin::Start => {}
                Begin::After(user) => {
                    sql.push(" WHERE (");
                    after_user(&mut sql, user);
                    sql.push(")");
                }
                Begin::At(user) => {
                    sql.push(" WHERE kind = ? AND user = ?");
                    sql.bind(user.kind.0).bind(user.user.as_bytes());
                }
            }
        }
        sql.push(" ORDER BY kind, user, target_type, active, place, target LIMIT ?")
            .bind(MAX_STATEMENT_EDGES as u64);
        sql
    }

    fn add(&self, group: &mut Group, edge: EdgeRow, active: bool, user_type: Option<TypeNo>) {
        if !active {
            return;
        }
        *group.by_type.entry(edge.target_type).or_default() += 1;
        if Some(edge.target_type) == user_type && edge.target != self.user {
            group.users.push(edge.target);
        }
    }
}

fn after_target(sql: &mut Sql, target: &TargetRow) {
    sql.push("(kind = ? AND target_type = ? AND target > ?) ");
    sql.push("OR (kind = ? AND target_type > ?) OR kind > ?");
    bind_target(sql, target);
    sql.bind(target.kind.0).bind(target.target_type.0);
    sql.bind(target.kind.0);
}

fn after_user(sql: &mut Sql, user: &UserRow) {
    sql.push("(kind = ? AND user > ?) OR kind > ?");
    sql.bind(user.kind.0).bind(user.user.as_bytes());
    sql.bind(user.kind.0);
}

fn after_edge_of_user(sql: &mut Sql, last: &Last) {
    let Last {
        edge,
        active,
        place,
    } = last;
    let columns = [
        " AND target_type > ?",
        " AND target_type = ? AND active > ?",
        " AND target_type = ? AND active = ? AND place > ?",
        " AND target_type = ? AND active = ? AND place = ? AND target > ?",
    ];
    for (n, more) in columns.into_iter().enumerate().rev() {
        sql.push("(kind = ? AND user = ?").push(more).push(") OR ");
        sql.bind(edge.kind.0).bind(edge.user.as_bytes());
        sql.bind(edge.target_type.0);
        if n > 0 {
            sql.bind(*active);
        }
        if n > 1 {
            sql.bind(*place);
        }
        if n > 2 {
            sql.bind(edge.target.as_bytes());
        }
    }
    after_user(sql, &UserRow::of(edge));
}

/// The next rows of targets.
pub fn targets_after(after: Option<&TargetRow>) -> Sql {
    let mut sql = Sql::new(
        "SELECT kind, target_type, target, count_place, edges FROM targets FORCE INDEX (PRIMARY)",
    );
    if let Some(target) = after {
        sql.push(" WHERE (");
        after_target(&mut sql, target);
        sql.push(")");
    }
    sql.push(" ORDER BY kind, target_type, target LIMIT ?")
        .bind(MAX_STEP_ROWS as u64);
    sql
}

/// The next rows of users.
pub fn users_after(after: Option<&UserRow>) -> Sql {
    let mut sql =
        Sql::new("SELECT kind, user, given, mutual, types FROM users FORCE INDEX (PRIMARY)");
    if let Some(user) = after {
        sql.push(" WHERE (");
        after_user(&mut sql, user);
        sql.push(")");
    }
    sql.push(" ORDER BY kind, user LIMIT ?")
        .bind(MAX_STEP_ROWS as u64);
    sql
}
