//! Whatever is away, comes back or ends: the worker goes on by itself, and nothing is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use acclaim_cluster::ledger::Ledger;
use acclaim_cluster::redis::connection::Redis;
use acclaim_cluster::worker::WorkerLimits;
use acclaim_core::Rev;
use acclaim_servers::{AppendFsync, MariaDb, Proxy, Redis as Server, RedisOptions};
use futures::FutureExt;
use sqlx::{Connection, Executor, MySqlConnection};

use crate::stage::{Stage, limits, quick_ledger, quick_redis, watch};

/// A worker whose ledger is behind a proxy.
async fn ledger_by_proxy(stage: &Stage) -> (Proxy, Ledger) {
    let proxy = Proxy::start(MariaDb::shared().await.address()).await;
    let port = format!(":{}/", MariaDb::shared().await.address().port());
    let by = stage
        .url
        .replace(&port, &format!(":{}/", proxy.address().port()));
    (proxy, Ledger::new(&by, quick_ledger()).unwrap())
}

async fn redis_by_proxy(stage: &Stage) -> (Proxy, Arc<Redis>) {
    let proxy = Proxy::start(stage.server.address()).await;
    let url = format!("redis://{}", proxy.address());
    let redis = Redis::open(&url, quick_redis()).await.unwrap();
    (proxy, Arc::new(redis))
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_emptied_while_the_worker_runs() {
    let mut stage = Stage::new().await;
    let worker = stage.start("one", limits());
    for round in 0..5 {
        stage.toggle(1..=20, 1..=5).await;
        stage.drained().await;
        stage.server.flush_all().await;
        // Some are written to before the worker opens them again, some after.
        stage.toggle(round..=20, 3..=8).await;
    }
    stage.drained().await;
    stage.compare().await;
    assert_eq!(worker.watched().numbers().went_back, 0);
    worker.stop().await;
}

/// Redis is emptied while a batch of its journal is in hand: whoever opens the partition again knows
/// how far it is, and the batch does not come after that.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_a_lost_journal_does_not_come_late() {
    let mut stage = Stage::with(1).await;
    let worker = stage.start("one", limits());
    stage.drained().await;
    let mut holder = MySqlConnection::connect(&stage.url).await.unwrap();
    holder.execute("BEGIN").await.unwrap();
    holder
        .execute("SELECT * FROM partitions FOR UPDATE")
        .await
        .unwrap();
    stage.toggle(1..=1, 1..=5).await;
    watch(&worker, "the batch to be in hand", |n| {
        n.drains_running == 1
    })
    .await;
    stage.server.flush_all().await;
    let ledger = stage.ledger.clone();
    let opening = tokio::spawn(async move { ledger.fence_off(0).boxed().await });
    holder.execute("ROLLBACK").await.unwrap();
    let opened_at = opening.await.unwrap().unwrap();
    watch(&worker, "the lease to be taken again", |n| {
        n.leases_taken == 2
    })
    .await;
    stage.drained().await;
    let partitions = stage.ledger.partitions().await.unwrap();
    assert_eq!(partitions[0].applied, opened_at, "nothing came behind it");
    // What Redis lost before the ledger had it is lost; from here on all is there.
    stage.acknowledged.clear();
    stage.toggle(2..=9, 1..=5).await;
    stage.drained().await;
    stage.compare().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_killed_and_comes_back() {
    let options = RedisOptions::default().append_only(AppendFsync::Always);
    let database = MariaDb::shared().await.database().boxed().await;
    let server = Server::start_with(options).boxed().await;
    let mut stage = Stage::at(server, database.url(), 4).boxed().await;
    let worker = stage.start("one", limits());
    for _ in 0..3 {
        stage.toggle(1..=20, 1..=10).await;
        stage.server.kill();
        let failures = worker.watched().numbers().redis_failures;
        watch(&worker, "Redis to be missed", |n| {
            n.redis_failures > failures
        })
        .await;
        stage.server.restart().boxed().await;
        stage.drained().await;
    }
    stage.compare().await;
    assert_eq!(
        worker.watched().numbers().went_back,
        0,
        "it kept everything"
    );
    worker.stop().await;
}

/// Redis hangs and comes back; meanwhile the worker does not spin.
#[tokio::test(flavor = "multi_thread")]
async fn redis_is_away_for_a_while() {
    let mut stage = Stage::new().await;
    let (proxy, redis) = redis_by_proxy(&stage).await;
    let worker = stage.start_over(&redis, &stage.ledger, "one", limits());
    stage.drained().await;
    proxy.refuse().await;
    proxy.reset();
    stage.toggle(1..=20, 1..=5).await;
    let before = watch(&worker, "Redis to be missed", |n| n.redis_failures > 0).await;
    let began = Instant::now();
    let later = watch(&worker, "it to be missed again and again", |n| {
        n.redis_failures >= before.redis_failures + 20
    })
    .await;
    let looks = later.polls - before.polls;
    // A look is at most every 20 ms, and far fewer when everything rests.
    assert!(
        u128::from(looks) <= began.elapsed().as_millis() / 20 + 2,
        "{looks} looks"
    );
    proxy.heal().await;
    stage.drained().await;
    stage.compare().await;
    worker.stop().await;
}

/// The ledger is away: the journals hold, one turn at a time tries, and it goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_away_for_a_while() {
    let mut stage = Stage::new().await;
    let (proxy, ledger) = ledger_by_proxy(&stage).await;
    let worker = stage.start_over(&stage.redis, &ledger, "one", limits());
    stage.drained().await;
    proxy.refuse().await;
    proxy.reset();
    stage.toggle(1..=20, 1..=5).await;
    // All of the first turns meet the failure, and then one at a time.
    let owned = worker.watched().numbers().partitions_owned;
    let numbers = watch(&worker, "the backlog to be seen", |n| {
        n.backlog_events == 100 && n.ledger_failures >= owned + 5
    })
    .await;
    assert!(worker.watched().ledger_is_away());
    assert!(numbers.drains_running <= 1, "{numbers:?}");
    assert_eq!(worker.watched().backlog().events, 100);
    proxy.heal().await;
    stage.drained().await;
    stage.compare().await;
    watch(&worker, "the backlog to be gone", |n| n.backlog_events == 0).await;
    assert!(!worker.watched().ledger_is_away());
    worker.stop().await;
}

/// The answers to commits are lost: nothing is counted twice.
#[tokio::test(flavor = "multi_thread")]
async fn answers_to_commits_are_lost() {
    let mut stage = Stage::with(2).await;
    let (proxy, ledger) = ledger_by_proxy(&stage).await;
    let worker = stage.start_over(&stage.redis, &ledger, "one", limits());
    stage.drained().await;
    for round in 1..=5_u64 {
        proxy.lose_reply_to(b"COMMIT");
        stage.toggle(round..=round + 5, 1..=5).await;
        stage.drained().await;
        assert_eq!(proxy.sprung(), round);
    }
    stage.compare().await;
    let sql = "SELECT CAST(SUM(sets) + SUM(unsets) AS SIGNED) FROM daily WHERE target_type = 0";
    assert_eq!(stage.number(sql).await, 5 * 6 * 5);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_killed_and_comes_back() {
    let database = MariaDb::start().boxed().await;
    let url = database.database().boxed().await.url().to_owned();
    let server = Server::start().boxed().await;
    let mut stage = Stage::at(server, &url, 4).boxed().await;
    let worker = stage.start("one", limits());
    // What writes need is loaded while the ledger is there.
    stage.toggle(1..=20, 1..=5).await;
    for _ in 0..2 {
        database.kill();
        stage.toggle(1..=20, 1..=5).await;
        let failures = worker.watched().numbers().ledger_failures;
        watch(&worker, "the ledger to be missed", |n| {
            n.ledger_failures > failures
        })
        .await;
        database.restart().boxed().await;
        stage.drained().await;
        stage.compare().await;
    }
    worker.stop().await;
}

/// Workers die in the middle of their work, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn workers_die_under_load() {
    let mut stage = Stage::with(4).await;
    let brief = WorkerLimits {
        lease_millis: 300,
        lease_renew_millis: 50,
        batch_max_events: 20,
        ..limits()
    };
    for round in 0..10 {
        let worker = stage.start(&format!("w{round}"), brief.clone());
        stage.toggle(1..=30, 1..=5).await;
        watch(&worker, "it to work", |n| n.batches > 2).await;
        drop(worker);
    }
    let last = stage.start("last", brief);
    stage.drained().await;
    stage.compare().await;
    last.stop().await;
}

/// A worker that is to stop while the ledger hangs ends in time, and leaves what it could not do.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_bounded() {
    let mut stage = Stage::with(2).await;
    let (proxy, ledger) = ledger_by_proxy(&stage).await;
    let hasty = WorkerLimits {
        stop_max_millis: 300,
        ..limits()
    };
    let worker = stage.start_over(&stage.redis, &ledger, "one", hasty);
    stage.drained().await;
    proxy.stall(acclaim_servers::Direction::ToClient);
    stage.toggle(1..=5, 1..=5).await;
    watch(&worker, "a batch to be in hand", |n| n.drains_running > 0).await;
    let began = Instant::now();
    let stopped = worker.stop().await;
    assert!(!stopped.drained && !stopped.given_back, "{stopped:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
    let next = stage.start("two", limits());
    stage.drained().await;
    stage.compare().await;
    next.stop().await;
}

/// The clock goes back: places rise all the same, and nothing is passed over.
#[tokio::test(flavor = "multi_thread")]
async fn the_clock_is_set_back() {
    let mut stage = Stage::with(2).await;
    let worker = stage.start("one", limits());
    stage.drained().await;
    let base = stage.redis.time(stage.journal(0)).await.unwrap();
    for hours_back in [0, 24, 1, 48] {
        stage.now = Some(Rev(base.0 - hours_back * 3_600_000_000));
        stage.toggle(1..=10, 1..=5).await;
        stage.drained().await;
    }
    stage.compare().await;
    assert_eq!(worker.watched().numbers().went_back, 0);
    worker.stop().await;
}

/// What the ledger has is not known any more, though the partition is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_mark_is_made_again() {
    let mut stage = Stage::with(1).await;
    let worker = stage.start("one", limits());
    stage.toggle(1..=5, 1..=5).await;
    stage.drained().await;
    stage
        .server
        .query::<()>(redis::cmd("DEL").arg("{p1.0}:d"))
        .await;
    stage.drained().await;
    stage.toggle(1..=5, 3..=8).await;
    stage.drained().await;
    stage.compare().await;
    worker.stop().await;
}

/// Redis comes back with less than the ledger has: it is said, and what is decided from then on is
/// not passed over, whatever its place.
#[tokio::test(flavor = "multi_thread")]
async fn redis_that_went_back_is_noticed() {
    let mut stage = Stage::with(1).await;
    let worker = stage.start("one", limits());
    stage.toggle(1..=1, 1..=5).await;
    stage.drained().await;
    let mut get = redis::cmd("GET");
    let (before,): (u64,) = (stage.server.query(get.arg("{p1.0}:d")).await,);
    // What it has not seen it cannot miss.
    let polls = worker.watched().numbers().polls;
    watch(&worker, "two looks", |n| n.polls >= polls + 2).await;
    let mut set = redis::cmd("MSET");
    let back = before - 1_000;
    set.arg("{p1.0}:l")
        .arg(back)
        .arg("{p1.0}:d")
        .arg(back)
        .arg("{p1.0}:h")
        .arg("0 0");
    stage
        .server
        .query::<()>(redis::cmd("DEL").arg("{p1.0}:j"))
        .await;
    stage.server.query::<()>(&set).await;
    stage
        .server
        .query::<()>(redis::cmd("DEL").arg(format!("{{p1.0}}:t:{}", stage.post(2))))
        .await;
    stage.now = Some(Rev(back + 10));
    watch(&worker, "it to be noticed", |n| n.went_back > 0).await;
    stage.toggle(2..=2, 1..=5).await;
    stage.drained().await;
    stage.compare().await;
    worker.stop().await;
}
