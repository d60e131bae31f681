//! Events go from the journals into the ledger.

use acclaim_cluster::redis::journal::Marks;
use acclaim_cluster::worker::{Stopped, WorkerLimits};
use acclaim_core::Rev;
use acclaim_servers::until;

use crate::stage::{PARTITIONS, Stage, limits, watch};
use crate::{LIMIT, holds};

#[tokio::test(flavor = "multi_thread")]
async fn everything_decided_comes_into_the_ledger() {
    let mut stage = Stage::new().await;
    let worker = stage.start("one", limits());
    stage.drained().await;
    stage.toggle(1..=40, 1..=20).await;
    // One target with buckets, and a second transition of some.
    stage.toggle(1..=1, 21..=300).await;
    stage.toggle(2..=5, 1..=10).await;
    stage.drained().await;
    stage.compare().await;
    let numbers = watch(&worker, "the backlog to be seen empty", |n| {
        n.backlog_events == 0
    })
    .await;
    assert_eq!(numbers.events, 40 * 20 + 280 + 4 * 10);
    assert_eq!(
        (numbers.flips, numbers.stale, numbers.buried),
        (numbers.events, 0, 0)
    );
    assert_eq!(numbers.opened, u64::from(PARTITIONS));
    let stopped = Stopped {
        drained: true,
        given_back: true,
    };
    assert_eq!(worker.stop().await, stopped);
}

/// A batch has at most so many events, and a turn goes on until there are no more.
#[tokio::test(flavor = "multi_thread")]
async fn batches_are_bounded() {
    let mut stage = Stage::with(1).await;
    stage.toggle(1..=1, 1..=95).await;
    let limits = WorkerLimits {
        batch_max_events: 10,
        ..limits()
    };
    let worker = stage.start("one", limits);
    stage.drained().await;
    stage.compare().await;
    let numbers = watch(&worker, "all batches", |n| n.events == 95).await;
    assert_eq!(numbers.batches, 10);
    worker.stop().await;
}

/// Events wait for others for so long that a test would see it.
fn slow() -> WorkerLimits {
    WorkerLimits {
        batch_max_millis: 10_000,
        poll_max_millis: 50,
        ..limits()
    }
}

/// What waits for others waits no longer when somebody asks.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_not_kept_waiting() {
    let mut stage = Stage::with(2).await;
    let worker = stage.start("one", slow());
    stage.drained().await;
    stage.toggle(1..=1, 1..=1).await;
    let number = stage.post(1).partition(2);
    assert!(worker.hurry().ask(number), "it is its own");
    assert!(!worker.hurry().ask(7), "there is no such partition");
    let began = std::time::Instant::now();
    stage.drained().await;
    // Another process asks through Redis.
    stage.toggle(1..=1, 2..=2).await;
    let journal = stage.journal(number);
    let Marks::Known { last, .. } = stage.redis.marks(journal).await.unwrap() else {
        panic!("it was just written to");
    };
    stage.redis.want_durable(journal, last).await.unwrap();
    stage.drained().await;
    assert!(began.elapsed().as_secs() < 9, "neither waited for others");
    assert_eq!(worker.watched().numbers().batches, 2);
    worker.stop().await;
}

/// Those of the worker's process are told when the ledger has an event, without asking Redis.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_the_same_process_is_told() {
    let mut stage = Stage::with(2).await;
    let worker = stage.start("one", slow());
    stage.drained().await;
    stage.toggle(1..=1, 1..=1).await;
    let journal = stage.journal(stage.post(1).partition(2));
    let Marks::Known { last, .. } = stage.redis.marks(journal).await.unwrap() else {
        panic!("it was just written to");
    };
    let hurry = worker.hurry();
    assert!(hurry.ask(journal.number));
    assert!(hurry.applied(journal, last).await);
    assert_eq!(
        stage.ledger.partitions().await.unwrap()[usize::from(journal.number)].applied,
        last
    );
    // Who asks again later is told too.
    assert!(hurry.applied(journal, last).await);
    worker.stop().await;
    assert!(
        !hurry.applied(journal, last).await,
        "nobody owns it any more"
    );
}

/// Events that come together are one transaction: nobody waits, so the first waits for the others.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_so_events_gather() {
    let mut stage = Stage::with(1).await;
    let patient = WorkerLimits {
        batch_max_millis: 3_000,
        poll_max_millis: 20,
        ..limits()
    };
    let worker = stage.start("one", patient);
    stage.drained().await;
    for user in 1..=50 {
        stage.toggle(1..=1, user..=user).await;
    }
    let backlog = watch(&worker, "the backlog to be measured", |n| {
        n.backlog_events == 50
    })
    .await;
    assert!(backlog.backlog_millis < 60_000, "{backlog:?}");
    let journals: Vec<_> = vec![stage.journal(0)];
    let measured = acclaim_cluster::worker::backlog::measure(&stage.redis, &journals, None).await;
    assert_eq!(measured.unwrap().events, 50);
    // One who stops does not wait for others either.
    let stopped = worker.stop().await;
    assert!(stopped.drained);
    stage.drained().await;
    stage.compare().await;
    let measured = acclaim_cluster::worker::backlog::measure(&stage.redis, &journals, None).await;
    assert_eq!(measured, Ok(Default::default()));
}

/// A place that was passed without an event is passed in `:d` too, so that who waits for it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn places_without_events_are_passed() {
    let mut stage = Stage::with(1).await;
    let worker = stage.start("one", limits());
    stage.toggle(1..=1, 1..=3).await;
    stage.drained().await;
    let lifted = Rev(9_000_000_000_000_000 - 10);
    let mut set = redis::cmd("SET");
    set.arg("{p1.0}:l").arg(lifted.0);
    stage.server.query::<()>(&set).await;
    stage.drained().await;
    let events = worker.watched().numbers().events;
    stage.toggle(1..=1, 1..=3).await;
    stage.drained().await;
    stage.compare().await;
    watch(&worker, "the three more", |n| n.events == events + 3).await;
    worker.stop().await;
}

/// A worker ended between its commit and telling Redis: the next one does it again, harmlessly.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_redis_was_not_told_of_is_told_later() {
    let mut stage = Stage::with(1).await;
    let worker = stage.start("one", limits());
    stage.drained().await;
    let mut get = redis::cmd("GET");
    let before: u64 = stage.server.query(get.arg("{p1.0}:d")).await;
    stage.toggle(1..=3, 1..=10).await;
    stage.drained().await;
    worker.stop().await;
    let mut set = redis::cmd("SET");
    stage
        .server
        .query::<()>(set.arg("{p1.0}:d").arg(before))
        .await;
    let count = stage
        .number("SELECT CAST(SUM(sets) AS SIGNED) FROM daily WHERE target_type = 0")
        .await;

    let worker = stage.start("two", limits());
    stage.drained().await;
    let numbers = watch(&worker, "the events again", |n| n.events == 30).await;
    assert_eq!((numbers.flips, numbers.stale), (0, 30));
    stage.compare().await;
    let again = stage
        .number("SELECT CAST(SUM(sets) AS SIGNED) FROM daily WHERE target_type = 0")
        .await;
    assert_eq!(count, again);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_partitions_drain_side_by_side() {
    let mut stage = Stage::with(64).await;
    let few = WorkerLimits {
        drains_at_once: 3,
        ..limits()
    };
    let worker = stage.start("one", few);
    stage.toggle(1..=300, 1..=2).await;
    stage.drained().await;
    stage.compare().await;
    until(LIMIT, "the turns to end", || async {
        let running = worker.watched().numbers().drains_running;
        holds(running == 0, || format!("{running} run"))
    })
    .await;
    worker.stop().await;
}
