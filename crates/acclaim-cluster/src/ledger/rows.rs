//! The statements of [`super::apply`], each over many rows, in the order of the tables' keys.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use acclaim_core::Rev;
use sqlx::Row;
use sqlx::mysql::MySqlRow;

use super::blob::{pack_pulse, pack_types, read_pulse, read_types};
use super::codec::{IdKey, place, rev_at};
use super::dictionary::{KindNo, TypeNo};
use super::error::{Class, Failure};
use super::event::{EdgeRow, TargetRow, UserRow};
use super::fold::{DaysTouched, EdgeValue, Edges, TargetValue, Targets, UserValue, Users};
use super::schema::DAILY_SHARDS;
use super::session::{Session, Sql, filled_parts, parts};

pub(super) fn key(row: &MySqlRow, column: usize) -> Result<IdKey, sqlx::Error> {
    Ok(IdKey::from_column(row.try_get::<&[u8], _>(column)?))
}

pub(super) fn edge_row(row: &MySqlRow) -> Result<EdgeRow, sqlx::Error> {
    Ok(EdgeRow {
        kind: KindNo(row.try_get(0)?),
        target_type: TypeNo(row.try_get(1)?),
        target: key(row, 2)?,
        user_hash: row.try_get(3)?,
        user: key(row, 4)?,
    })
}

pub(super) fn bind_edge(sql: &mut Sql, edge: &EdgeRow) {
    sql.bind(edge.kind.0)
        .bind(edge.target_type.0)
        .bind(edge.target.as_bytes())
        .bind(edge.user_hash)
        .bind(edge.user.as_bytes());
}

pub(super) fn bind_target(sql: &mut Sql, target: &TargetRow) {
    sql.bind(target.kind.0)
        .bind(target.target_type.0)
        .bind(target.target.as_bytes());
}

/// Parts of `edges` that one statement asks for: of one kind and type each. To have few of them,
/// `edges` are in order.
pub(super) fn edge_parts<'a>(
    edges: &'a [&'a EdgeRow],
) -> impl Iterator<Item = Cow<'a, [&'a EdgeRow]>> {
    edges
        .chunk_by(|a, b| (a.kind, a.target_type) == (b.kind, b.target_type))
        .flat_map(filled_parts)
}

/// Parts of `targets`, as [`edge_parts`].
pub(super) fn target_parts<'a>(
    targets: &'a [&'a TargetRow],
) -> impl Iterator<Item = Cow<'a, [&'a TargetRow]>> {
    targets
        .chunk_by(|a, b| (a.kind, a.target_type) == (b.kind, b.target_type))
        .flat_map(filled_parts)
}

/// A statement over edges of one kind and type by their keys; it yields the key, `active` and
/// `place`.
///
/// What the keys have in common is said once: a server takes a third less time to plan it than for
/// a list of whole keys. It is told which index, for many points it is not always the one it would
/// choose.
pub(super) fn edges_by_key(edges: &[&EdgeRow]) -> Sql {
    let mut sql = Sql::new(
        "SELECT kind, target_type, target, user_hash, user, active, place \
         FROM edges FORCE INDEX (PRIMARY) \
         WHERE kind = ? AND target_type = ? AND (target, user_hash, user) IN (",
    );
    sql.rows("(?,?,?)", edges.len()).push(")");
    if let Some(first) = edges.first() {
        sql.bind(first.kind.0).bind(first.target_type.0);
    }
    for edge in edges {
        sql.bind(edge.target.as_bytes())
            .bind(edge.user_hash)
            .bind(edge.user.as_bytes());
    }
    sql
}

/// Reads edges of a partition that is locked: nobody else writes them, so they need no locks of
/// their own.
pub(super) async fn read_edges(session: &mut Session, edges: &mut Edges) -> Result<(), Failure> {
    let keys: Vec<EdgeRow> = edges.keys().cloned().collect();
    let keys: Vec<&EdgeRow> = keys.iter().collect();
    for part in edge_parts(&keys) {
        for row in session.all(edges_by_key(&part)).await? {
            let active: bool = row.try_get(5)?;
            let value = EdgeValue {
                known: true,
                was_active: active,
                active,
                rev: rev_at(row.try_get(6)?),
                changed: false,
            };
            edges.insert(edge_row(&row)?, value);
        }
    }
    Ok(())
}

/// Reads whether edges back are active, as committed by now.
pub(super) async fn read_back(
    session: &mut Session,
    mut back: Vec<EdgeRow>,
) -> Result<BTreeMap<EdgeRow, bool>, Failure> {
    back.sort_unstable();
    let back: Vec<&EdgeRow> = back.iter().collect();
    let mut found = BTreeMap::new();
    for part in edge_parts(&back) {
        for row in session.all(edges_by_key(&part)).await? {
            found.insert(edge_row(&row)?, row.try_get(5)?);
        }
    }
    Ok(found)
}

/// Writes the edges that changed.
pub(super) async fn write_edges(session: &mut Session, edges: &Edges) -> Result<(), Failure> {
    let changed: Vec<_> = edges.iter().filter(|(_, value)| value.changed).collect();
    for part in filled_parts(&changed) {
        let mut sql = Sql::new(
            "INSERT INTO edges (kind, target_type, target, user_hash, user, active, place) VALUES ",
        );
        sql.rows("(?,?,?,?,?,?,?)", part.len());
        // A lower place is a newer rev.
        sql.push(
            " ON DUPLICATE KEY UPDATE active = IF(VALUES(place) < place, VALUES(active), active), \
             place = LEAST(VALUES(place), place)",
        );
        for (edge, value) in part.iter() {
            bind_edge(&mut sql, edge);
            sql.bind(value.active).bind(place(value.rev));
        }
        session.run(sql).await?;
    }
    Ok(())
}

/// Reads targets of a partition that is locked, as [`read_edges`].
pub(super) async fn read_targets(
    session: &mut Session,
    targets: &mut Targets,
) -> Result<(), Failure> {
    let keys: Vec<TargetRow> = targets.keys().cloned().collect();
    let keys: Vec<&TargetRow> = keys.iter().collect();
    for part in target_parts(&keys) {
        let mut sql = Sql::new(
            "SELECT kind, target_type, target, count_place, seq, edges, last_day, pulse \
             FROM targets FORCE INDEX (PRIMARY) WHERE ",
        );
        targets_in(&mut sql, &part);
        for row in session.all(sql).await? {
            let target = TargetRow {
                kind: KindNo(row.try_get(0)?),
                target_type: TypeNo(row.try_get(1)?),
                target: key(&row, 2)?,
            };
            let value = TargetValue {
                count: rev_at(row.try_get(3)?).0,
                seq: Rev(row.try_get(4)?),
                edges: row.try_get(5)?,
                last_day: row.try_get(6)?,
                pulse: read_pulse(row.try_get(7)?)?,
            };
            targets.insert(target, value);
        }
    }
    Ok(())
}

/// The condition that a row is one of these targets, which have one kind and type.
pub(super) fn targets_in(sql: &mut Sql, targets: &[&TargetRow]) {
    sql.push("kind = ? AND target_type = ? AND target IN (")
        .rows("?", targets.len())
        .push(")");
    if let Some(first) = targets.first() {
        sql.bind(first.kind.0).bind(first.target_type.0);
    }
    for target in targets {
        sql.bind(target.target.as_bytes());
    }
}

/// Writes targets.
pub(super) async fn write_targets(
    session: &mut Session,
    targets: &[(&TargetRow, &TargetValue)],
) -> Result<(), Failure> {
    for part in filled_parts(targets) {
        let mut sql = Sql::new(
            "INSERT INTO targets (kind, target_type, target, count_place, seq, edges, last_day, \
             pulse) VALUES ",
        );
        sql.rows("(?,?,?,?,?,?,?,?)", part.len());
        sql.push(
            " ON DUPLICATE KEY UPDATE count_place = VALUES(count_place), seq = VALUES(seq), \
             edges = VALUES(edges), last_day = VALUES(last_day), pulse = VALUES(pulse)",
        );
        for (target, value) in part.iter() {
            bind_target(&mut sql, target);
            // A count stands as a rev does: the highest first.
            sql.bind(place(Rev(value.count)))
                .bind(value.seq.0)
                .bind(value.edges)
                .bind(value.last_day)
                .bind(pack_pulse(&value.pulse));
        }
        session.run(sql).await?;
    }
    Ok(())
}

/// Locks the rows of users and reads them. Of those that have none, `must_lock` get one first,
/// since what is not there cannot be locked; the others are answered, for [`add_users`].
pub(super) async fn lock_users(
    session: &mut Session,
    users: &mut Users,
    must_lock: &BTreeSet<UserRow>,
) -> Result<BTreeSet<UserRow>, Failure> {
    let mut missing: BTreeSet<UserRow> = users.keys().cloned().collect();
    let wanted: Vec<UserRow> = missing.iter().cloned().collect();
    for (user, value) in select_users(session, &wanted).await? {
        missing.remove(&user);
        users.insert(user, value);
    }
    let now: Vec<UserRow> = missing.intersection(must_lock).cloned().collect();
    for part in parts(&now) {
        let mut sql =
            Sql::new("INSERT IGNORE INTO users (kind, user, given, mutual, types) VALUES ");
        sql.rows("(?,?,0,0,'')", part.len());
        for user in part {
            sql.bind(user.kind.0).bind(user.user.as_bytes());
            missing.remove(user);
        }
        // What another transaction added in between was not added by us, and is read again.
        if session.run(sql).await? != part.len() as u64 {
            users.extend(select_users(session, part).await?);
        }
    }
    Ok(missing)
}

/// Adds users who had no row when they were to be locked.
pub(super) async fn add_users(
    session: &mut Session,
    users: &[(&UserRow, &UserValue)],
) -> Result<(), Failure> {
    for part in parts(users) {
        let mut sql =
            Sql::new("INSERT IGNORE INTO users (kind, user, given, mutual, types) VALUES ");
        bind_users(&mut sql, part);
        if session.run(sql).await? != part.len() as u64 {
            let why = "a user who had no row got one meanwhile".to_owned();
            return Err(Failure::Again(Class::Overtaken, why));
        }
    }
    Ok(())
}

async fn select_users(
    session: &mut Session,
    wanted: &[UserRow],
) -> Result<Vec<(UserRow, UserValue)>, Failure> {
    let mut found = Vec::with_capacity(wanted.len());
    let wanted: Vec<&UserRow> = wanted.iter().collect();
    let of_kinds = wanted.chunk_by(|a, b| a.kind == b.kind);
    for part in of_kinds.flat_map(filled_parts) {
        let mut sql = Sql::new(
            "SELECT kind, user, given, mutual, types FROM users FORCE INDEX (PRIMARY) \
             WHERE kind = ? AND user IN (",
        );
        sql.rows("?", part.len()).push(") FOR UPDATE");
        if let Some(first) = part.first() {
            sql.bind(first.kind.0);
        }
        for user in part.iter() {
            sql.bind(user.user.as_bytes());
        }
        for row in session.all(sql).await? {
            let user = UserRow {
                kind: KindNo(row.try_get(0)?),
                user: key(&row, 1)?,
            };
            let value = UserValue {
                given: row.try_get(2)?,
                mutual: row.try_get(3)?,
                types: read_types(row.try_get(4)?)?,
            };
            found.push((user, value));
        }
    }
    Ok(found)
}

/// Writes users, whose rows are locked.
pub(super) async fn write_users(
    session: &mut Session,
    users: &[(&UserRow, &UserValue)],
) -> Result<(), Failure> {
    for part in filled_parts(users) {
        let mut sql = Sql::new("INSERT INTO users (kind, user, given, mutual, types) VALUES ");
        bind_users(&mut sql, &part);
        sql.push(
            " ON DUPLICATE KEY UPDATE given = VALUES(given), mutual = VALUES(mutual), \
             types = VALUES(types)",
        );
        session.run(sql).await?;
    }
    Ok(())
}

fn bind_users(sql: &mut Sql, users: &[(&UserRow, &UserValue)]) {
    sql.rows("(?,?,?,?,?)", users.len());
    for (user, value) in users {
        sql.bind(user.kind.0)
            .bind(user.user.as_bytes())
            .bind(value.given)
            .bind(value.mutual)
            .bind(pack_types(&value.types));
    }
}

/// Adds to the days.
pub(super) async fn add_days(
    session: &mut Session,
    days: &DaysTouched,
    partition: u16,
) -> Result<(), Failure> {
    let shard = partition % DAILY_SHARDS;
    let days: Vec<_> = days.iter().collect();
    for part in parts(&days) {
        let mut sql = Sql::new(
            "INSERT INTO daily (kind, target_type, day, shard, sets, unsets, users) VALUES ",
        );
        sql.rows("(?,?,?,?,?,?,?)", part.len());
        sql.push(
            " ON DUPLICATE KEY UPDATE sets = sets + VALUES(sets), \
             unsets = unsets + VALUES(unsets), users = users + VALUES(users)",
        );
        for ((kind, target_type, day), value) in part {
            sql.bind(kind.0).bind(target_type.0).bind(*day).bind(shard);
            sql.bind(value.sets).bind(value.unsets).bind(value.users);
        }
        session.run(sql).await?;
    }
    Ok(())
}
