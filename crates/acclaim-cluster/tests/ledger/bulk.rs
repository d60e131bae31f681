//! Imports straight into the ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use acclaim_cluster::ledger::bulk::{Bulk, BulkEdge, Excludes, Imported, MAX_BULK_EDGES};
use acclaim_cluster::ledger::check::CheckSpec;
use acclaim_cluster::ledger::{Bounds, KindNo, Ledger, LedgerError, TypeNo};
use acclaim_core::model::Model;
use acclaim_core::port::{Event, Place};
use acclaim_core::{Action, Op, Rev};

use crate::check::findings;
use crate::compare::{USERS, compare_imported};
use crate::histories::{Dice, MINUTE, TARGETS};
use crate::sql::{Sql, connect, on_each_server};
use crate::stage::{BASE, PARTITIONS, Stage, edge};

const LIMIT: Duration = Duration::from_secs(60);

async fn excludes(stage: &Stage) -> Excludes {
    let mut excludes = Excludes::new();
    for (id, kind) in stage.kinds.iter() {
        let no = stage.ledger.kind_no(&kind.name).await.unwrap();
        for other in stage.kinds.excluded_by(id) {
            let name = &stage.kinds.get(*other).name;
            let other = stage.ledger.kind_no(name).await.unwrap();
            excludes.entry(no).or_default().push(other);
        }
    }
    excludes
}

async fn bulk_edge(stage: &Stage, op: &Op) -> BulkEdge {
    let name = &stage.kinds.get(op.edge.kind).name;
    let target_type = &op.edge.target.target_type;
    BulkEdge {
        kind: stage.ledger.kind_no(name).await.unwrap(),
        target_type: stage.ledger.type_no(target_type).await.unwrap(),
        target: op.edge.target.id.clone(),
        user: op.edge.user.clone(),
        at: op.at.unwrap(),
    }
}

/// Users do what they do, then comes an import, and so on.
async fn imports_are_decided_as_the_model_decides(sql: Sql) {
    for seed in 0..12 {
        let stage = Stage::new(sql).await;
        let excludes = excludes(&stage).await;
        let mut model = Model::new(stage.kinds.clone());
        let mut dice = Dice(seed);
        let mut now = BASE;
        let mut told = Place::START;
        for _ in 0..3 {
            for _ in 0..25 {
                now += 1 + dice.roll(3) as u64 * MINUTE;
                let action = [Action::Set, Action::Unset, Action::Toggle][dice.roll(3)];
                model.apply(&Op::new(action, any_edge(&mut dice)), Rev(now));
            }
            let events = model.journal_after(told);
            for partition in 0..PARTITIONS {
                let ours = |event: &&Event| stage.partition(&event.edge.target) == partition;
                let mut entries = Vec::new();
                for event in events.iter().filter(ours) {
                    entries.push(stage.entry(event).await);
                }
                let batch = stage.batch(partition, entries);
                stage.ledger.apply(&batch).await.unwrap();
            }
            let mut bulks: BTreeMap<u16, (Vec<BulkEdge>, Vec<Op>)> = BTreeMap::new();
            let mut expected = Imported::default();
            for _ in 0..25 {
                let at = now - [0, 1, MINUTE, 5 * MINUTE, 3 * 1440 * MINUTE][dice.roll(5)];
                let op = Op {
                    at: Some(Rev(at)),
                    ..Op::new(Action::Set, any_edge(&mut dice))
                };
                let changed = model.apply(&op, Rev(now)).changed;
                expected.set += u64::from(changed);
                expected.unchanged += u64::from(!changed);
                let partition = stage.partition(&op.edge.target);
                let bulk = bulks.entry(partition).or_default();
                bulk.0.push(bulk_edge(&stage, &op).await);
                bulk.1.push(op);
            }
            let mut imported = Imported::default();
            for (partition, (edges, ops)) in bulks {
                let bulk = Bulk {
                    partition,
                    epoch: 1,
                    edges: &edges,
                    excludes: &excludes,
                    now: Rev(now),
                    limit: LIMIT,
                };
                let done = stage.ledger.import_bulk(&bulk).await.unwrap();
                imported.set += done.set;
                imported.unchanged += done.unchanged;
                let again = stage.ledger.import_bulk(&bulk).await.unwrap();
                // Where kinds exclude each other, a repetition may still have something to say.
                let repeated = ops.iter().map(|op| model.apply(op, Rev(now)).changed);
                assert_eq!(
                    again.set,
                    repeated.filter(|changed| *changed).count() as u64
                );
            }
            assert_eq!(imported, expected);
            told = model.journal_after(Place::START).last().unwrap().place;
            now = now.max(told.seq.0);
        }
        compare_imported(&stage, &model, Rev(now + 1_000_000)).await;
        stage.ledger.close().await;
    }
}

fn any_edge(dice: &mut Dice) -> acclaim_core::EdgeKey {
    let (kind, user) = (dice.roll(3) as u8, USERS[dice.roll(USERS.len())]);
    edge(kind, user, TARGETS[dice.roll(TARGETS.len())])
}

fn post(kind: KindNo, target_type: TypeNo, target: u64, user: u64) -> BulkEdge {
    BulkEdge {
        kind,
        target_type,
        target: acclaim_core::Id::Number(target),
        user: acclaim_core::Id::Number(user),
        at: Rev(BASE + target),
    }
}

async fn numbers_of(stage: &Stage) -> (KindNo, TypeNo) {
    let target_type = acclaim_core::TargetType::parse("POST").unwrap();
    (
        stage.ledger.kind_no("likes").await.unwrap(),
        stage.ledger.type_no(&target_type).await.unwrap(),
    )
}

async fn count(url: &str, table: &'static str) -> i64 {
    let mut conn = connect(url).await;
    let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    let (rows,): (i64,) = sqlx::query_as(sql).fetch_one(&mut conn).await.unwrap();
    rows
}

async fn a_bulk_that_cannot_be_is_refused_whole(sql: Sql) {
    let stage = Stage::new(sql).await;
    let (kind, target_type) = numbers_of(&stage).await;
    let good = post(kind, target_type, 1, 1);
    let excludes = Excludes::new();
    let try_with = async |edges: &[BulkEdge], epoch, limit| {
        let bulk = Bulk {
            partition: 0,
            epoch,
            edges,
            excludes: &excludes,
            now: Rev(BASE),
            limit,
        };
        stage.ledger.import_bulk(&bulk).await
    };
    let bad = |change: &dyn Fn(&mut BulkEdge)| {
        let mut edge = good.clone();
        change(&mut edge);
        [good.clone(), edge]
    };
    for edges in [
        bad(&|edge| edge.kind = KindNo(999)),
        bad(&|edge| edge.target_type = TypeNo(999)),
        bad(&|edge| edge.at = Rev::ZERO),
        bad(&|edge| edge.at = Rev(Rev::MAX.0 + 1)),
    ] {
        let outcome = try_with(&edges, 1, LIMIT).await;
        assert!(
            matches!(outcome, Err(LedgerError::Refused(_))),
            "{outcome:?}"
        );
    }
    let one = std::slice::from_ref(&good);
    let outcome = try_with(one, 2, LIMIT).await;
    assert!(
        matches!(
            outcome,
            Err(LedgerError::FutureEpoch {
                batch: 2,
                ledger: 1
            })
        ),
        "{outcome:?}"
    );
    let outcome = try_with(one, 1, Duration::ZERO).await;
    assert!(
        matches!(outcome, Err(LedgerError::TooLate(_))),
        "{outcome:?}"
    );
    let many = vec![good.clone(); MAX_BULK_EDGES + 1];
    let outcome = try_with(&many, 1, LIMIT).await;
    assert!(
        matches!(outcome, Err(LedgerError::TooMany { .. })),
        "{outcome:?}"
    );
    assert_eq!(count(&stage.url, "edges").await, 0);
    let done = try_with(&many[1..], 1, LIMIT).await.unwrap();
    assert_eq!((done.set, done.unchanged), (1, MAX_BULK_EDGES as u64 - 1));
    assert_eq!(count(&stage.url, "edges").await, 1);
}

async fn an_import_whose_answer_is_lost_is_told_as_it_was(sql: Sql) {
    let stage = Stage::new(sql).await;
    let (kind, target_type) = numbers_of(&stage).await;
    let (proxy, by) = sql.proxy(&stage.url).await;
    let ledger = Ledger::new(&by, Bounds::default()).unwrap();
    let edges: Vec<BulkEdge> = (0..5).map(|n| post(kind, target_type, n, n)).collect();
    let bulk = Bulk {
        partition: 0,
        epoch: 1,
        edges: &edges,
        excludes: &Excludes::new(),
        now: Rev(BASE),
        limit: LIMIT,
    };
    proxy.lose_reply_to(b"\x03COMMIT");
    let done = ledger.import_bulk(&bulk).await.unwrap();
    assert_eq!(proxy.sprung(), 1);
    assert_eq!((done.set, done.unchanged), (5, 0));
    let again = ledger.import_bulk(&bulk).await.unwrap();
    assert_eq!((again.set, again.unchanged), (0, 5));
    assert_eq!(count(&stage.url, "targets").await, 5);
}

/// The same users, other targets, the same partitions: nothing is lost or counted twice.
async fn an_import_beside_a_worker_is_right(sql: Sql) {
    let stage = Stage::new(sql).await;
    let (kind, target_type) = numbers_of(&stage).await;
    let mut batches = Vec::new();
    for n in 0..30u64 {
        let mut entries = Vec::new();
        for user in 0..20u64 {
            let seq = Rev(BASE + n * 100 + user);
            let to = format!("USER:{}", 50 + n % 3);
            let event = Event {
                place: Place::unpartitioned(seq),
                edge: edge(1, &(n / 3 * 20 + user).to_string(), &to),
                active: true,
                rev: seq,
                count: n / 3 * 20 + user + 1,
            };
            entries.push(stage.entry(&event).await);
        }
        batches.push(stage.batch((n % 3) as u16, entries));
    }
    let (worker, ledger) = (stage.ledger.clone(), stage.ledger.clone());
    let working = tokio::spawn(async move {
        for batch in batches {
            worker.apply(&batch).await.unwrap();
        }
    });
    let excludes = Excludes::new();
    for n in 0..20u64 {
        let of = |user| post(kind, target_type, n % 5, n * 40 + user);
        let edges: Vec<BulkEdge> = (0..40).map(of).collect();
        let bulk = Bulk {
            partition: (n % 3) as u16,
            epoch: 1,
            edges: &edges,
            excludes: &excludes,
            now: Rev(BASE),
            limit: LIMIT,
        };
        assert_eq!(ledger.import_bulk(&bulk).await.unwrap().set, 40);
    }
    working.await.unwrap();
    assert_eq!(count(&stage.url, "edges").await, 20 * 40 + 30 * 20);
    assert_eq!(findings(&stage, &CheckSpec::default()).await, []);
    for partition in stage.ledger.partitions().await.unwrap() {
        let mut conn = connect(&stage.url).await;
        let sql = "SELECT COUNT(*) FROM targets WHERE seq > (SELECT MAX(applied) FROM partitions)";
        let (beyond,): (i64,) = sqlx::query_as(sql).fetch_one(&mut conn).await.unwrap();
        assert_eq!(beyond, 0, "{partition:?}");
    }
}

on_each_server!(
    imports_are_decided_as_the_model_decides,
    a_bulk_that_cannot_be_is_refused_whole,
    an_import_whose_answer_is_lost_is_told_as_it_was,
    an_import_beside_a_worker_is_right,
);
