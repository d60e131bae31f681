//! Nodes go without a word, believe in leases that are not theirs any more, and have wrong clocks.

use std::sync::Arc;

use acclaim_core::port::Clock;
use acclaim_servers::Database;
use acclaim_testkit::ManualClock;
use acclaim_testkit::conformance::{HOUR, START};
use sqlx::{Connection, Executor, MySqlConnection};

use super::load::Node;
use super::stage::{Stage, config};
use crate::servers::{RedisSide, database};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_goes_and_is_opened_again() {
    let (side, database) = tokio::join!(RedisSide::single(), database());
    let stage = Stage::begin(config(&side, database.url(), "one"), None).await;
    for _ in 0..4 {
        let gone = Arc::clone(&stage.seats.lock()[0]);
        gone.crash();
        let next = Node::open(stage.config().clone(), None).await;
        stage.seats.lock()[0] = next;
        stage.progress(50).await;
    }
    let (_, unknown) = stage.finish(&side).await;
    assert!(unknown <= 4 * 4, "{unknown} of 4 callers in 4 crashes");
}

async fn execute(database: &Database, sql: &'static str) -> u64 {
    let mut conn = MySqlConnection::connect(database.url()).await.unwrap();
    let done = conn.execute(sql).await.unwrap();
    conn.close().await.unwrap();
    done.rows_affected()
}

/// The leases of the first node end in the ledger, again and again, while it believes in them and
/// drains: the second takes them, and both have events in hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_believe_in_one_lease() {
    let (side, database) = tokio::join!(RedisSide::single(), database());
    let mut config = config(&side, database.url(), "one");
    if let Some(worker) = &mut config.worker {
        // It learns of it by its fence only.
        worker.lease_millis = 600_000;
        worker.lease_renew_millis = 200_000;
        worker.batch_max_events = 10;
    }
    let stage = Stage::begin(config.clone(), None).await;
    config.node = "two".to_owned();
    let second = Node::open(config, None).await;
    stage.seats.lock().push(second);
    for _ in 0..10 {
        execute(&database, "UPDATE partitions SET lease_until = 1").await;
        stage.progress(30).await;
    }
    let lost: u64 = {
        let seats = stage.seats.lock();
        let numbers = seats.iter().map(|node| node.engine.worker_numbers());
        numbers.map(|numbers| numbers.unwrap().leases_lost).sum()
    };
    assert!(lost > 0, "somebody met a fence");
    stage.finish(&side).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_is_set_back() {
    let (side, database) = tokio::join!(RedisSide::single(), database());
    let clock = ManualClock::at(START);
    let given = Arc::clone(&clock) as Arc<dyn Clock>;
    let config = config(&side, database.url(), "one");
    let stage = Stage::begin(config, Some(given)).await;
    for hours_back in [1, 24, 2, 48] {
        clock.set(acclaim_core::Rev(START.0 - hours_back * HOUR));
        stage.progress(30).await;
        clock.advance(HOUR);
        stage.progress(30).await;
    }
    stage.finish(&side).await;
}
