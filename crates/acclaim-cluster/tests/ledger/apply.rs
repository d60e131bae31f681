//! Batches of events against the reference model: however often, late and shuffled they come, the
//! tables are what the model says.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};

use acclaim_cluster::ledger::blob::{read_pulse, read_types};
use acclaim_cluster::ledger::codec::{IdKey, rev_at};
use acclaim_cluster::ledger::{Entry, LedgerError, MAX_BATCH_EVENTS};
use acclaim_core::model::Model;
use acclaim_core::port::{Event, Place};
use acclaim_core::pulse::Window;
use acclaim_core::{Action, EdgeKey, Id, Op, Rev, Target, TargetKey, TargetType, UserKey};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::Row;

use crate::server;
use crate::stage::{PARTITIONS, Stage, edge, kind, kinds};

/// 2026-11-20T00:00:00Z.
pub const BASE: u64 = 1_795_132_800_000_000;
const MINUTE: u64 = 60_000_000;
const USERS: [&str; 6] = ["1", "2", "300", "01", "u", "18446744073709551615"];
const TARGETS: [&str; 8] = [
    "POST:1", "POST:x", "TRACK:1", "USER:1", "USER:2", "USER:300", "USER:01", "USER:u",
];

#[derive(Clone, Debug)]
struct History {
    ops: Vec<(u8, usize, usize, u8, u64)>,
    /// Where batches begin and how long they are, how the journal is mixed.
    cuts: Vec<usize>,
    seed: u64,
    /// Whether the order inside an edge is lost too.
    lose_order: bool,
}

fn history() -> impl Strategy<Value = History> {
    let passes = prop_oneof![6 => 0..MINUTE, 2 => 0..120 * MINUTE, 1 => 0..30 * 1440 * MINUTE];
    let op = (0u8..3, 0..USERS.len(), 0..TARGETS.len(), 0u8..8, passes);
    let ops = prop::collection::vec(op, 1..90);
    let cuts = prop::collection::vec(1usize..30, 1..6);
    (ops, cuts, any::<u64>(), any::<bool>()).prop_map(|(ops, cuts, seed, lose_order)| History {
        ops,
        cuts,
        seed,
        lose_order,
    })
}

fn play(history: &History) -> (Model, Rev) {
    let mut model = Model::new(kinds());
    let mut now = BASE;
    for (kind, user, target, what, passes) in &history.ops {
        now += passes;
        let edge = edge(*kind, USERS[*user], TARGETS[*target]);
        let action = match what {
            0..3 => Action::Set,
            3..5 => Action::Unset,
            5..7 => Action::Toggle,
            _ => Action::Set,
        };
        let at = (*what == 7).then(|| Rev(now - 3 * 1440 * MINUTE - passes % 1000));
        model.apply(
            &Op {
                at,
                ..Op::new(action, edge)
            },
            Rev(now),
        );
    }
    (model, Rev(now + 1_000_000))
}

/// A small generator of numbers: the test must be the same for a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// Mixes events: across edges always, inside an edge only where the order may be lost.
fn mix(events: &[Event], dice: &mut Dice, lose_order: bool) -> Vec<Event> {
    if lose_order {
        let mut mixed = events.to_vec();
        for n in (1..mixed.len()).rev() {
            mixed.swap(n, dice.roll(n + 1));
        }
        return mixed;
    }
    let mut edges: BTreeMap<&EdgeKey, Vec<&Event>> = BTreeMap::new();
    for event in events.iter().rev() {
        edges.entry(&event.edge).or_default().push(event);
    }
    let mut queues: Vec<Vec<&Event>> = edges.into_values().collect();
    let mut mixed = Vec::new();
    while !queues.is_empty() {
        let n = dice.roll(queues.len());
        mixed.extend(queues[n].pop().cloned());
        queues.retain(|queue| !queue.is_empty());
    }
    mixed
}

async fn apply_all(stage: &Stage, model: &Model, history: &History) {
    let mut by_partition: HashMap<u16, Vec<Event>> = HashMap::new();
    for event in model.journal_after(Place::START) {
        by_partition
            .entry(stage.partition(&event.edge.target))
            .or_default()
            .push(event);
    }
    let mut dice = Dice(history.seed);
    // Twice: overlapping and mixed, then once more as it was.
    for partition in 0..PARTITIONS {
        let events = by_partition.remove(&partition).unwrap_or_default();
        let mixed = mix(&events, &mut dice, history.lose_order);
        let mut from = 0;
        for cut in history.cuts.iter().cycle() {
            let to = (from + cut).min(mixed.len());
            let back = from.saturating_sub(dice.roll(4));
            apply(stage, partition, &mixed[back..to]).await;
            from = to;
            if from == mixed.len() {
                break;
            }
        }
        apply(stage, partition, &events).await;
    }
}

async fn apply(stage: &Stage, partition: u16, events: &[Event]) {
    let mut entries = Vec::new();
    for event in events {
        entries.push(stage.entry(event).await);
    }
    stage
        .ledger
        .apply(&stage.batch(partition, entries))
        .await
        .unwrap();
}

/// Everything in the tables, by the names of the model.
async fn compare(stage: &Stage, model: &Model, now: Rev, in_order: bool) {
    let mut conn = server::connect(&stage.url).await;
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
        let found = (rev_at(row.get(3)).0, Rev(row.get(4)), row.get::<u64, _>(5));
        assert_eq!(found, (count.count, count.rev, rows_of[&key]), "{key:?}");
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

#[test]
fn any_history_comes_out_as_the_model_says() {
    let cases = std::env::var("ACCLAIM_LEDGER_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(25);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let done = AtomicU32::new(0);
    let outcome = runner.run(&history(), |history| {
        done.fetch_add(1, Ordering::Relaxed);
        let (model, now) = play(&history);
        let compared = std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                let stage = Stage::new().await;
                apply_all(&stage, &model, &history).await;
                compare(&stage, &model, now, !history.lose_order).await;
                stage.ledger.close().await;
            })
        });
        std::panic::catch_unwind(compared).map_err(|_| TestCaseError::fail("the tables differ"))
    });
    assert!(outcome.is_ok(), "{outcome:?}");
}

fn event(seq: u64, user: &str, to: &str, active: bool, count: u64) -> Event {
    Event {
        place: Place::unpartitioned(Rev(seq)),
        edge: edge(0, user, to),
        active,
        rev: Rev(seq),
        count,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_applied_becomes_a_dead_letter_and_the_rest_goes_on() {
    let stage = Stage::new().await;
    let mut entries = Vec::new();
    for (n, user) in (0..7).zip(["1", "2", "300", "01", "u", "9", "10"]) {
        entries.push(
            stage
                .entry(&event(BASE + n, user, "POST:1", true, n + 1))
                .await,
        );
    }
    let change = |entry: &mut Entry, f: &dyn Fn(&mut acclaim_cluster::ledger::LedgerEvent)| {
        f(entry.event.as_mut().unwrap());
    };
    change(&mut entries[1], &|event| event.count = Rev::MAX.0 + 1);
    change(&mut entries[2], &|event| event.kind.0 = 999);
    change(&mut entries[3], &|event| event.target_type.0 = 998);
    change(&mut entries[4], &|event| event.rev = Rev(Rev::MAX.0 + 1));
    entries[5].event = Err("no known version of an event".to_owned());
    entries[5].payload = Bytes::from_static(&[0xff, 0, 0xfe]);
    let batch = stage.batch(0, entries);
    for _ in 0..2 {
        let applied = stage.ledger.apply(&batch).await.unwrap();
        assert_eq!(applied.refused, 5);
        assert_eq!(applied.applied, Rev(BASE + 6));
    }
    let letters = stage.ledger.dead_letters(0, 100).await.unwrap();
    let reasons: Vec<&str> = letters
        .iter()
        .map(|letter| letter.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "count 9007199254740992 is over 9007199254740991",
            "kind number 999 was never given",
            "target type number 998 was never given",
            "rev 9007199254740992 is outside 1 to 9007199254740991",
            "no known version of an event",
        ]
    );
    assert_eq!(letters[4].payload, [0xff, 0, 0xfe]);
    assert_eq!(
        (letters[4].seq, letters[4].partition, letters[4].epoch),
        (Rev(BASE + 5), 0, 1)
    );
    assert_eq!(
        stage
            .ledger
            .dead_letter(letters[0].id)
            .await
            .unwrap()
            .as_ref(),
        Some(&letters[0])
    );
    assert!(
        stage
            .ledger
            .remove_dead_letter(letters[0].id)
            .await
            .unwrap()
    );
    assert!(
        !stage
            .ledger
            .remove_dead_letter(letters[0].id)
            .await
            .unwrap()
    );
    let left = stage.ledger.dead_letters(letters[1].id, 2).await.unwrap();
    assert_eq!(left, letters[2..4]);
    let mut conn = server::connect(&stage.url).await;
    let (edges,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM edges")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(edges, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_an_end() {
    let stage = Stage::new().await;
    let entry = stage.entry(&event(BASE, "1", "POST:1", true, 1)).await;
    let entries = vec![entry; MAX_BATCH_EVENTS + 1];
    let outcome = stage.ledger.apply(&stage.batch(0, entries.clone())).await;
    let Err(LedgerError::TooMany { given, limit, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((given, limit), (MAX_BATCH_EVENTS + 1, MAX_BATCH_EVENTS));
    let applied = stage
        .ledger
        .apply(&stage.batch(0, entries[1..].to_vec()))
        .await
        .unwrap();
    assert_eq!((applied.flips, applied.stale), (1, MAX_BATCH_EVENTS - 1));
    let _ = kind(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_of_an_older_epoch_is_applied_and_moves_nothing_on() {
    let stage = Stage::new().await;
    let mut conn = server::connect(&stage.url).await;
    sqlx::query("UPDATE partitions SET epoch = 2, applied = 7")
        .execute(&mut conn)
        .await
        .unwrap();
    let entry = stage.entry(&event(BASE, "1", "POST:1", true, 1)).await;
    let applied = stage
        .ledger
        .apply(&stage.batch(0, vec![entry.clone()]))
        .await
        .unwrap();
    assert_eq!((applied.flips, applied.applied), (1, Rev(7)));
    let mut ahead = stage.batch(0, vec![entry]);
    ahead.epoch = 3;
    let outcome = stage.ledger.apply(&ahead).await;
    assert!(
        matches!(
            outcome,
            Err(LedgerError::FutureEpoch {
                batch: 3,
                ledger: 2
            })
        ),
        "{outcome:?}"
    );
}
