//! The statements of [`super::apply`], each over many rows, in the order of the tables' keys.

use std::collections::BTreeMap;

use acclaim_core::Rev;
use sqlx::Row;
use sqlx::mysql::MySqlRow;

use super::blob::{pack_pulse, pack_types, read_pulse, read_types};
use super::codec::{IdKey, place, rev_at};
use super::dictionary::{KindNo, TypeNo};
use super::error::Failure;
use super::event::{EdgeRow, TargetRow, UserRow};
use super::fold::{DaysTouched, EdgeValue, Edges, TargetValue, Targets, UserValue, Users};
use super::schema::DAILY_SHARDS;
use super::session::{Session, Sql, parts};

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

// The server is told which index: for many points it is not always the one it would choose.
const EDGE_KEY_IN: &str =
    " FROM edges FORCE INDEX (PRIMARY) WHERE (kind, target_type, target, user_hash, user) IN (";

/// A statement over edges by their keys; it yields the key, `active` and `place`.
pub(super) fn edges_by_key(edges: &[&EdgeRow]) -> Sql {
    let mut sql = Sql::new("SELECT kind, target_type, target, user_hash, user, active, place");
    sql.push(EDGE_KEY_IN)
        .rows("(?,?,?,?,?)", edges.len())
        .push(")");
    for edge in edges {
        bind_edge(&mut sql, edge);
    }
    sql
}

/// Locks the rows of edges and reads them.
pub(super) async fn lock_edges(session: &mut Session, edges: &mut Edges) -> Result<(), Failure> {
    let keys: Vec<EdgeRow> = edges.keys().cloned().collect();
    for part in parts(&keys) {
        let mut sql = edges_by_key(&part.iter().collect::<Vec<_>>());
        sql.push(" FOR UPDATE");
        for row in session.all(sql).await? {
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
    let mut found = BTreeMap::new();
    for part in parts(&back) {
        let sql = edges_by_key(&part.iter().collect::<Vec<_>>());
        for row in session.all(sql).await? {
            found.insert(edge_row(&row)?, row.try_get(5)?);
        }
    }
    Ok(found)
}

/// Writes the edges that changed.
pub(super) async fn write_edges(session: &mut Session, edges: &Edges) -> Result<(), Failure> {
    let changed: Vec<_> = edges.iter().filter(|(_, value)| value.changed).collect();
    for part in parts(&changed) {
        let mut sql = Sql::new(
            "INSERT INTO edges (kind, target_type, target, user_hash, user, active, place) VALUES ",
        );
        sql.rows("(?,?,?,?,?,?,?)", part.len());
        // A lower place is a newer rev.
        sql.push(
            " ON DUPLICATE KEY UPDATE active = IF(VALUES(place) < place, VALUES(active), active), \
             place = LEAST(VALUES(place), place)",
        );
        for (edge, value) in part {
            bind_edge(&mut sql, edge);
            sql.bind(value.active).bind(place(value.rev));
        }
        session.run(sql).await?;
    }
    Ok(())
}

/// Locks the rows of targets and reads them.
pub(super) async fn lock_targets(
    session: &mut Session,
    targets: &mut Targets,
) -> Result<(), Failure> {
    let keys: Vec<TargetRow> = targets.keys().cloned().collect();
    for part in parts(&keys) {
        let mut sql = Sql::new(
            "SELECT kind, target_type, target, count_place, seq, edges, last_day, pulse \
             FROM targets FORCE INDEX (PRIMARY) WHERE (kind, target_type, target) IN (",
        );
        sql.rows("(?,?,?)", part.len()).push(") FOR UPDATE");
        for target in part {
            bind_target(&mut sql, target);
        }
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

/// Writes targets.
pub(super) async fn write_targets(
    session: &mut Session,
    targets: &[(&TargetRow, &TargetValue)],
) -> Result<(), Failure> {
    for part in parts(targets) {
        let mut sql = Sql::new(
            "INSERT INTO targets (kind, target_type, target, count_place, seq, edges, last_day, \
             pulse) VALUES ",
        );
        sql.rows("(?,?,?,?,?,?,?,?)", part.len());
        sql.push(
            " ON DUPLICATE KEY UPDATE count_place = VALUES(count_place), seq = VALUES(seq), \
             edges = VALUES(edges), last_day = VALUES(last_day), pulse = VALUES(pulse)",
        );
        for (target, value) in part {
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

/// Locks the rows of users and reads them; those that have none get one first, since what is not
/// there cannot be locked.
pub(super) async fn lock_users(session: &mut Session, users: &mut Users) -> Result<(), Failure> {
    let wanted: Vec<UserRow> = users.keys().cloned().collect();
    let mut missing: BTreeMap<UserRow, ()> = wanted.iter().map(|user| (user.clone(), ())).collect();
    for (user, value) in select_users(session, &wanted).await? {
        missing.remove(&user);
        users.insert(user, value);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<UserRow> = missing.into_keys().collect();
    for part in parts(&missing) {
        let mut sql =
            Sql::new("INSERT IGNORE INTO users (kind, user, given, mutual, types) VALUES ");
        sql.rows("(?,?,0,0,'')", part.len());
        for user in part {
            sql.bind(user.kind.0).bind(user.user.as_bytes());
        }
        // What another transaction added in between was not added by us, and is read again.
        if session.run(sql).await? != part.len() as u64 {
            users.extend(select_users(session, part).await?);
        }
    }
    Ok(())
}

async fn select_users(
    session: &mut Session,
    wanted: &[UserRow],
) -> Result<Vec<(UserRow, UserValue)>, Failure> {
    let mut found = Vec::with_capacity(wanted.len());
    for part in parts(wanted) {
        let mut sql =
            Sql::new("SELECT kind, user, given, mutual, types FROM users WHERE (kind, user) IN (");
        sql.rows("(?,?)", part.len()).push(") FOR UPDATE");
        for user in part {
            sql.bind(user.kind.0).bind(user.user.as_bytes());
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
    for part in parts(users) {
        let mut sql = Sql::new("INSERT INTO users (kind, user, given, mutual, types) VALUES ");
        sql.rows("(?,?,?,?,?)", part.len());
        sql.push(
            " ON DUPLICATE KEY UPDATE given = VALUES(given), mutual = VALUES(mutual), \
             types = VALUES(types)",
        );
        for (user, value) in part {
            sql.bind(user.kind.0)
                .bind(user.user.as_bytes())
                .bind(value.given)
                .bind(value.mutual)
                .bind(pack_types(&value.types));
        }
        session.run(sql).await?;
    }
    Ok(())
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
