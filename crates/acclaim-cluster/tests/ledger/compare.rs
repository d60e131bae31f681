//! What stands in the tables against what the reference model says.

use std::collections::HashMap;

use acclaim_cluster::ledger::blob::{read_pulse, read_types};
use acclaim_cluster::ledger::codec::{IdKey, rev_at};
use acclaim_core::model::Model;
use acclaim_core::port::Place;
use acclaim_core::pulse::Window;
use acclaim_core::{EdgeKey, Id, Rev, Target, TargetKey, TargetType, UserKey};
use sqlx::Row;

use crate::sql::connect;
use crate::stage::Stage;

/// Whoever acts in a history that is compared.
pub const USERS: [&str; 6] = ["1", "2", "300", "01", "u", "18446744073709551615"];

/// Everything in the tables, by the names of the model. All of it came as events, in order inside
/// each edge or not.
pub async fn compare(stage: &Stage, model: &Model, now: Rev, in_order: bool) {
    compare_all(stage, model, now, in_order, true).await;
}

/// As [`compare`], where some of it was imported past the journal: a target's place is not that of
/// an event then.
pub async fn compare_imported(stage: &Stage, model: &Model, now: Rev) {
    compare_all(stage, model, now, true, false).await;
}

async fn compare_all(stage: &Stage, model: &Model, now: Rev, in_order: bool, all_by_events: bool) {
    let mut conn = connect(&stage.url).await;
    let mut kind_of = HashMap::new();
    for (id, kind) in stage.kinds.iter() {
        kind_of.insert(stage.ledger.kind_no(&kind.name).await.unwrap().0, id);
    }
    let mut type_of = HashMap::new();
    for row in sqlx::query("SELECT no, name FROM target_types")
        .fetch_all(&mut conn)
        .await
        .unwrap()
    {
        let name: Vec<u8> = row.get(1);
        type_of.insert(
            row.get::<u16, _>(0),
            TargetType::parse(std::str::from_utf8(&name).unwrap()).unwrap(),
        );
    }
    let id = |bytes: Vec<u8>| IdKey::from_column(&bytes).id().unwrap();
    let mut rows_of: HashMap<TargetKey, u64> = HashMap::new();
    let rows =
        sqlx::query("SELECT kind, target_type, target, user, active, place, user_hash FROM edges");
    let mut seen = 0;
    for row in rows.fetch_all(&mut conn).await.unwrap() {
        let target = Target {
            target_type: type_of[&row.get::<u16, _>(1)].clone(),
            id: id(row.get(2)),
        };
        let user = id(row.get(3));
        assert_eq!(IdKey::new(&user).user_hash(), row.get::<u32, _>(6));
        let edge = EdgeKey {
            kind: kind_of[&row.get::<u16, _>(0)],
            user,
            target,
        };
        *rows_of.entry(edge.target_key()).or_default() += 1;
        let state = model.edge(&edge);
        assert_eq!(
            (row.get::<bool, _>(4), rev_at(row.get(5))),
            (state.active, state.rev),
            "{edge:?}"
        );
        seen += 1;
    }
    let mut edges: Vec<EdgeKey> = model
        .journal_after(Place::START)
        .into_iter()
        .map(|e| e.edge)
        .collect();
    edges.sort();
    edges.dedup();
    assert_eq!(seen, edges.len());

    let rows = sqlx::query(
        "SELECT kind, target_type, target, count_place, seq, edges, pulse, last_day FROM targets",
    );
    let rows = rows.fetch_all(&mut conn).await.unwrap();
    assert_eq!(rows.len(), rows_of.len());
    for row in rows {
        let target = Target {
            target_type: type_of[&row.get::<u16, _>(1)].clone(),
            id: id(row.get(2)),
        };
        let key = TargetKey {
            kind: kind_of[&row.get::<u16, _>(0)],
            target,
        };
        let count = model.count(&key);
        let found = (rev_at(row.get(3)).0, row.get::<u64, _>(5));
        assert_eq!(found, (count.count, rows_of[&key]), "{key:?}");
        let seq = Rev(row.get(4));
        assert!(seq <= count.rev, "{key:?}");
        assert!(seq == count.rev || !all_by_events, "{key:?}");
        let pulse = read_pulse(row.get(6)).unwrap();
        if in_order {
            for window in [Window::Hour, Window::Day, Window::Week, Window::Month] {
                let events = model.journal_after(Place::START).into_iter();
                let inside = events.filter(|e| {
                    e.edge.target_key() == key && e.rev.minute() >= window.first_minute(now)
                });
                let score: i64 = inside.map(|e| if e.active { 1 } else { -1 }).sum();
                assert_eq!(pulse.score(window, now), score, "{key:?} {window:?}");
            }
        }
    }
    compare_users(stage, model, &mut conn).await;
    compare_days(stage, model, now, in_order, &mut conn).await;
}

async fn compare_users(stage: &Stage, model: &Model, conn: &mut sqlx::MySqlConnection) {
    for (kind_id, kind) in stage.kinds.iter() {
        let no = stage.ledger.kind_no(&kind.name).await.unwrap();
        for user in USERS {
            let user = Id::parse(user).unwrap();
            let sql = "SELECT given, mutual, types FROM users WHERE kind = ? AND user = ?";
            let row = sqlx::query(sql)
                .bind(no.0)
                .bind(IdKey::new(&user).as_bytes())
                .fetch_optional(&mut *conn);
            let row = row.await.unwrap();
            let (given, mutual, types) = row.map_or((0, 0, Vec::new()), |row| {
                (
                    row.get::<u64, _>(0),
                    row.get::<u64, _>(1),
                    read_types(row.get(2)).unwrap(),
                )
            });
            let key = UserKey {
                kind: kind_id,
                user,
            };
            assert_eq!(given, model.numbers(&key).given, "{key:?}");
            assert_eq!(
                types.iter().map(|of_type| of_type.given).sum::<u64>(),
                given
            );
            let top = acclaim_core::Start::top();
            assert_eq!(
                mutual,
                model.mutual(&key, &top, usize::MAX).entries.len() as u64,
                "{key:?}"
            );
            for of_type in types {
                let name = stage
                    .ledger
                    .type_name(of_type.type_no)
                    .await
                    .unwrap()
                    .unwrap();
                assert_eq!(
                    of_type.given,
                    model
                        .targets(&key, Some(&name), &acclaim_core::Start::top(), 1)
                        .total
                );
            }
        }
    }
}

async fn compare_days(
    stage: &Stage,
    model: &Model,
    now: Rev,
    in_order: bool,
    conn: &mut sqlx::MySqlConnection,
) {
    for (kind_id, kind) in stage.kinds.iter() {
        let no = stage.ledger.kind_no(&kind.name).await.unwrap();
        for type_no in 0..5u16 {
            let name = stage
                .ledger
                .type_name(acclaim_cluster::ledger::TypeNo(type_no))
                .await
                .unwrap();
            if type_no > 0 && name.is_none() {
                continue;
            }
            let expected = model.daily(kind_id, name.as_ref(), 300, now);
            let sql = "SELECT CAST(SUM(sets) AS SIGNED), CAST(SUM(unsets) AS SIGNED), CAST(SUM(users) AS SIGNED) \
                       FROM daily WHERE kind = ? AND target_type = ? AND day = ?";
            let mut net = 0;
            for day in &expected {
                let query = sqlx::query(sql).bind(no.0).bind(type_no).bind(day.day);
                let row = query.fetch_one(&mut *conn).await.unwrap();
                let number = |n: usize| row.get::<Option<i64>, _>(n).unwrap_or(0);
                let found = [number(0), number(1), number(2)];
                net += found[0] - found[1];
                if in_order {
                    assert_eq!(
                        found,
                        [day.set as i64, day.unset as i64, day.users as i64],
                        "{day:?} {name:?}"
                    );
                }
            }
            // Sets less unsets are the edges that are there, whatever the order.
            assert_eq!(
                net,
                expected
                    .iter()
                    .map(|day| day.set as i64 - day.unset as i64)
                    .sum::<i64>()
            );
        }
    }
}
