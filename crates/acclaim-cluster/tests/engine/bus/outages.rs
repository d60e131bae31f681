//! The bus dies, hangs and stays away; the ledger does behind it.

use acclaim_core::Engine;
use acclaim_core::port::Ack;
use acclaim_servers::{Kafka, MariaDb, until};

use super::stage::{bus, watch, with_bus};
use crate::faults::load::{Habits, LIMIT};
use crate::faults::stage::Stage;
use crate::servers::{RedisSide, database};

const WARM: Habits = Habits {
    posts: 5,
    ack: Ack::Default,
    keyed: true,
};

async fn bus_is(stage: &Stage, up: bool) {
    let engine = stage.engine();
    until(LIMIT, "the state of the bus to be known", || async {
        let health = engine.health();
        let bus = health.dependencies.iter().find(|one| one.name == "bus");
        match bus.unwrap().up == up && health.ready {
            true => Ok(()),
            false => Err(format!("{health:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_is_killed_and_comes_back() {
    let (kafka, side, database) = tokio::join!(Kafka::start(), RedisSide::single(), database());
    let bus = bus(&kafka);
    let stage = Stage::with(with_bus(&side, database.url(), &bus), None, WARM).await;
    for _ in 0..2 {
        kafka.kill();
        // Likes go on all the while; the journals hold them.
        stage.progress(200).await;
        bus_is(&stage, false).await;
        stage.progress(200).await;
        let engine = stage.engine();
        until(LIMIT, "a backlog", || async {
            match engine.worker_numbers().unwrap().relay_backlog_events {
                0 => Err("none".to_owned()),
                _ => Ok(()),
            }
        })
        .await;
        kafka.restart().await;
        bus_is(&stage, true).await;
        stage.progress(100).await;
    }
    stage.finish(&side).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_hangs_and_goes_on() {
    let (kafka, side, database) = tokio::join!(Kafka::start(), RedisSide::single(), database());
    let bus = bus(&kafka);
    let stage = Stage::with(with_bus(&side, database.url(), &bus), None, WARM).await;
    for _ in 0..2 {
        kafka.pause().await;
        stage.progress(200).await;
        bus_is(&stage, false).await;
        kafka.resume();
        bus_is(&stage, true).await;
        stage.progress(100).await;
    }
    stage.finish(&side).await;
}

/// A node starts while the bus is away, and publishes when it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_without_the_bus() {
    let (kafka, side, database) = tokio::join!(Kafka::start(), RedisSide::single(), database());
    let bus = bus(&kafka);
    kafka.kill();
    let stage = Stage::with(with_bus(&side, database.url(), &bus), None, WARM).await;
    stage.progress(100).await;
    kafka.restart().await;
    watch(&stage, "events", |numbers| numbers.events > 0).await;
    stage.finish(&side).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_is_away_and_the_bus_goes_on() {
    let (kafka, side, mariadb) =
        tokio::join!(Kafka::shared(), RedisSide::single(), MariaDb::start());
    let database = mariadb.database().await;
    let bus = bus(kafka);
    let stage = Stage::with(with_bus(&side, database.url(), &bus), None, WARM).await;
    for round in 0..2 {
        if round == 0 {
            mariadb.kill();
        } else {
            mariadb.pause().await;
        }
        stage.progress(50).await;
        let before = stage.engine().worker_numbers().unwrap();
        stage.progress(100).await;
        watch(&stage, "events on the bus", |numbers| {
            numbers.published > before.published
        })
        .await;
        watch(&stage, "a recorder to find no ledger twice", |numbers| {
            numbers.ledger_failures > before.ledger_failures + 1
        })
        .await;
        if round == 0 {
            mariadb.restart().await;
        } else {
            mariadb.resume();
        }
        stage.progress(100).await;
    }
    let numbers = stage.engine().worker_numbers().unwrap();
    assert_eq!(numbers.dead_on_bus, 0, "nothing is buried for it");
    stage.finish(&side).await;
}
