//! Random histories on other servers than those of all cases.

use acclaim_cluster::worker::BusConfig;
use acclaim_core::Kinds;
use acclaim_servers::Kafka;
use acclaim_testkit::ManualClock;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, TestRunner};

use super::cases::{NOW, World, agrees, limits, moves};
use super::engines::open_on;
use crate::bus::stage::bus;
use crate::servers::{ClusterAndMariaDb, Pair, Servers, SingleAndMariaDb, SingleAndTiDb};

/// A history in a store of its own.
async fn history(servers: Servers, bus: Option<BusConfig>) {
    let mut runner = TestRunner::new(Config::default());
    let strategy = (moves(), 1usize..20, 1u32..12, 0usize..150);
    let (moves, batch, cap, rewind) = strategy.new_tree(&mut runner).unwrap().current();
    let clock = ManualClock::at(NOW);
    let kinds = Kinds::new([]).unwrap();
    let opened = open_on(servers, bus, kinds, clock.clone()).await;
    let world = World::over(opened, clock, limits(batch, cap)).await;
    let told = format!("{moves:?}, batch {batch}, cap {cap}, rewind {rewind}");
    let agreed = agrees(world, moves, cap, rewind).await;
    agreed.unwrap_or_else(|error| panic!("{error} after {told}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fold_agrees_with_a_plain_model_on_tidb() {
    for _ in 0..2 {
        history(SingleAndTiDb::servers().await, None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fold_agrees_with_a_plain_model_on_redis_cluster() {
    for _ in 0..2 {
        history(ClusterAndMariaDb::servers().await, None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fold_agrees_with_a_plain_model_over_kafka() {
    let kafka = Kafka::shared().await;
    for _ in 0..2 {
        history(SingleAndMariaDb::servers().await, Some(bus(kafka))).await;
    }
}
