//! What Redis keeps of what the ledger has.

use std::sync::Arc;

use acclaim_cluster::redis::journal::Marks;
use acclaim_cluster::worker::{Worker, WorkerLimits};
use acclaim_core::Rev;
use acclaim_core::port::Clock;
use acclaim_servers::until;
use parking_lot::Mutex;

use crate::stage::{Stage, limits, watch};
use crate::{LIMIT, holds};

async fn ttl_of_records(stage: &Stage) -> Vec<i64> {
    let keys: Vec<String> = stage.server.query(redis::cmd("KEYS").arg("*:[tb]:*")).await;
    let mut ttl = Vec::new();
    for key in keys {
        ttl.push(stage.server.query(redis::cmd("TTL").arg(key)).await);
    }
    ttl
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_has_lives_seven_days_more_or_less() {
    let mut stage = Stage::with(2).await;
    let worker = stage.start("one", limits());
    stage.toggle(1..=60, 1..=2).await;
    stage.toggle(1..=1, 3..=400).await;
    stage.drained().await;
    let worker_done = worker.stop().await;
    assert!(worker_done.drained);
    let ttl = ttl_of_records(&stage).await;
    let week = 7 * 24 * 3_600;
    assert!(ttl.len() > 60);
    let bounds = week * 9 / 10 - 60..=week * 11 / 10;
    assert!(ttl.iter().all(|ttl| bounds.contains(ttl)), "{ttl:?}");
    let (least, most) = (ttl.iter().min().unwrap(), ttl.iter().max().unwrap());
    assert!(
        most - least > week / 20,
        "they do not all go at once: {ttl:?}"
    );

    // Without a worker, what is new stays for ever.
    stage.toggle(1..=60, 1..=1).await;
    let ttl = ttl_of_records(&stage).await;
    assert!(
        ttl.iter().filter(|ttl| **ttl == -1).count() >= 60,
        "{ttl:?}"
    );
}

async fn journal_length(stage: &Stage) -> u64 {
    stage.server.query(redis::cmd("XLEN").arg("{p1.0}:j")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_keeps_so_many_events() {
    let mut stage = Stage::with(1).await;
    let few = WorkerLimits {
        journal_max_events: 300,
        batch_max_events: 100,
        ..limits()
    };
    stage.toggle(1..=10, 1..=50).await;
    assert_eq!(
        journal_length(&stage).await,
        500,
        "nothing is trimmed before the ledger has it"
    );
    let worker = stage.start("one", few);
    stage.drained().await;
    stage.toggle(1..=10, 1..=50).await;
    stage.drained().await;
    let length = journal_length(&stage).await;
    assert!((300..=400).contains(&length), "{length}");
    let Marks::Known {
        kept,
        removed,
        durable,
        ..
    } = stage.redis.marks(stage.journal(0)).await.unwrap()
    else {
        panic!("it is there");
    };
    assert_eq!(kept, length);
    assert!(removed > Rev::ZERO && removed < durable);
    let left = stage
        .redis
        .journal_after(stage.journal(0), removed, 1_000)
        .await
        .unwrap();
    assert_eq!(left.len() as u64, length, "everything after it is there");
    stage.compare().await;
    worker.stop().await;
}

struct ManualClock(Mutex<Rev>);

impl Clock for ManualClock {
    fn now(&self) -> Rev {
        *self.0.lock()
    }
}

/// Also where nothing is written any more. Kept answers of two days ago go too.
#[tokio::test(flavor = "multi_thread")]
async fn the_journal_keeps_events_so_long() {
    let mut stage = Stage::with(1).await;
    let base = stage.redis.time(stage.journal(0)).await.unwrap();
    let clock = Arc::new(ManualClock(Mutex::new(base)));
    stage.now = Some(base);
    let sweeping = WorkerLimits {
        sweep_seconds: 1,
        ..limits()
    };
    let worker = Worker::start(
        Arc::clone(&stage.redis),
        stage.ledger.clone(),
        "one",
        sweeping,
        Some(Arc::clone(&clock) as Arc<dyn Clock>),
    )
    .unwrap();
    stage.toggle(1..=10, 1..=50).await;
    for shelf in ["00", "7f", "ff"] {
        let key = format!("{{p1.0}}:i:{}:{shelf}", base.day());
        stage
            .server
            .query::<()>(redis::cmd("HSET").arg(key).arg("field").arg("answer"))
            .await;
    }
    stage.drained().await;
    assert_eq!(journal_length(&stage).await, 500);
    *clock.0.lock() = Rev(base.0 + 3_700_000_000);
    until(LIMIT, "the journal to be trimmed", || async {
        let length = journal_length(&stage).await;
        holds(length <= 100, || format!("{length} entries"))
    })
    .await;
    assert_eq!(worker.watched().numbers().shelves_removed, 0);
    *clock.0.lock() = Rev(base.0 + 2 * 24 * 3_600_000_000);
    watch(&worker, "the old answers to go", |n| n.shelves_removed == 3).await;
    worker.stop().await;
}
