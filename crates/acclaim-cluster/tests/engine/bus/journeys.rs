//! Events travel: from the decision to the row and to whoever subscribes.

use std::collections::BTreeMap;

use acclaim_cluster::worker::BusConfig;
use acclaim_core::Engine;
use acclaim_core::port::Place;
use acclaim_servers::{Kafka, Pulsar, RedisSentinel, RocketMq};
use acclaim_testkit::conformance::compare;

use super::stage::{
    Subscriber, bus, pulsar_bus, redis_bus, rocketmq_bus, subscribe, watch, with_bus,
};
use crate::faults::load::{Habits, Node};
use crate::faults::stage::Stage;
use crate::faults::went_back::progress_without;
use crate::servers::{RedisSide, database};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_like_comes_to_the_ledger_and_to_others() {
    let side = RedisSide::single().await;
    every_transition_travels(&side, &bus(Kafka::shared().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_like_comes_to_the_ledger_and_to_others_over_pulsar() {
    let side = RedisSide::single().await;
    every_transition_travels(&side, &pulsar_bus(Pulsar::shared().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_like_comes_to_the_ledger_and_to_others_over_redis_streams() {
    let side = RedisSide::single().await;
    let RedisSide::Single(server) = &side else {
        panic!("it is one server");
    };
    every_transition_travels(&side, &redis_bus(server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_like_comes_to_the_ledger_and_to_others_over_rocketmq() {
    let side = RedisSide::single().await;
    every_transition_travels(&side, &rocketmq_bus(RocketMq::shared().await)).await;
}

/// Every transition of the journal is an event of the topic, and the other way round.
async fn every_transition_travels(side: &RedisSide, bus: &BusConfig) {
    subscribe(bus).await;
    let database = database().await;
    let mut stage = Stage::begin(with_bus(side, database.url(), bus), None).await;
    stage.progress(200).await;
    stage.rest().await;
    let numbers = stage.engine().worker_numbers().unwrap();
    assert_eq!(numbers.published, numbers.events, "each once: {numbers:?}");
    assert_eq!((numbers.stale, numbers.gaps, numbers.late), (0, 0, 0));
    let subscriber = Subscriber::read(bus).await;
    let engine = stage.engine();
    let journal = compare::journal_from(engine.as_ref(), Place::START).await;
    assert_eq!(journal.len(), subscriber.events.len());
    assert_eq!((subscriber.repeated, subscriber.barriers), (0, 0));
    for event in journal {
        let told = &subscriber.events[&(event.place.partition, event.place.seq)];
        assert_eq!(
            (told.active, told.rev, told.count),
            (event.active, event.rev, event.count)
        );
        assert_eq!(told.user, event.edge.user);
    }
    assert!(
        engine
            .health()
            .dependencies
            .iter()
            .any(|one| one.name == "bus" && one.up)
    );
    stage.go_on();
    stage.finish(side).await;
}

/// Partitions and bus partitions go from one process to another while events are under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_come_and_die_in_the_middle() {
    let (kafka, side, database) = tokio::join!(Kafka::shared(), RedisSide::single(), database());
    let bus = bus(kafka);
    let stage = Stage::begin(with_bus(&side, database.url(), &bus), None).await;
    for round in 0..3 {
        let mut config = stage.config().clone();
        config.node = format!("other {round}");
        let other = Node::open(config, None).await;
        stage.seats.lock().push(other);
        stage.progress(150).await;
        // The one that was there first dies.
        let gone = stage.seats.lock().remove(0);
        gone.crash();
        stage.progress(150).await;
    }
    stage.finish(&side).await;
    let subscriber = Subscriber::read(&bus).await;
    assert!(!subscriber.events.is_empty());
}

/// A replica that was cut off takes over; what the bus carried is in the ledger before anything is
/// decided there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_over_that_lacks_what_the_bus_carries() {
    let (kafka, sentinel, database) =
        tokio::join!(Kafka::shared(), RedisSentinel::start(), database());
    let side = RedisSide::Sentinel(Box::new(sentinel));
    let RedisSide::Sentinel(servers) = &side else {
        panic!("they are Sentinels");
    };
    let bus = bus(kafka);
    let mut config = with_bus(&side, database.url(), &bus);
    config.redis.call_timeout_millis = 4_000;
    let habits = Habits {
        posts: 10,
        ack: acclaim_core::port::Ack::Bus,
        keyed: false,
    };
    let mut stage = Stage::with(config, None, habits).await;
    stage.keeps_journal = false;
    for _ in 0..2 {
        servers.await_health().await;
        let master = servers.master().await;
        stage.progress(50).await;
        // All of these are on the bus, and not with the replica.
        progress_without(&stage, servers).await;
        let address = master.address();
        master.kill();
        servers.await_master_other_than(address).await;
        stage.progress(50).await;
        master.restart().await;
        stage.progress(50).await;
    }
    let lives: u32 = stage.engine().partitions().iter().map(|one| one.life).sum();
    assert!(lives > 0, "the replica had everything");
    watch(&stage, "barriers", |numbers| numbers.barriers > 0).await;
    stage.finish(&side).await;
}

/// The only server starts with an older copy of its data, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_starts_with_an_older_copy() {
    let (kafka, side, database) = tokio::join!(Kafka::shared(), RedisSide::single(), database());
    let RedisSide::Single(server) = &side else {
        panic!("it is one server");
    };
    let bus = bus(kafka);
    let habits = Habits {
        posts: 10,
        ack: acclaim_core::port::Ack::Bus,
        keyed: false,
    };
    let mut stage = Stage::with(with_bus(&side, database.url(), &bus), None, habits).await;
    stage.keeps_journal = false;
    for _ in 0..3 {
        stage.progress(30).await;
        server.query::<()>(&redis::cmd("SAVE")).await;
        let (copy, data) = (
            server.directory().join("older"),
            server.directory().join("dump.rdb"),
        );
        std::fs::copy(&data, &copy).unwrap();
        stage.progress(100).await;
        server.kill();
        std::fs::copy(&copy, &data).unwrap();
        server.restart().await;
        stage.progress(50).await;
    }
    stage.finish(&side).await;
}

/// The mark of what was published says more than is on the bus: the ledger notices what is missing
/// and has it published again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_came_is_published_again() {
    let (kafka, side, database) = tokio::join!(Kafka::shared(), RedisSide::single(), database());
    let RedisSide::Single(server) = &side else {
        panic!("it is one server");
    };
    let bus = bus(kafka);
    let mut stage = Stage::begin(with_bus(&side, database.url(), &bus), None).await;
    stage.rest().await;
    // Everybody who might publish goes, and a node without a worker decides more.
    let last = stage.seats.lock().remove(0);
    last.engine.stop().await;
    last.crash();
    let mut config = stage.config().clone();
    config.node = "without".to_owned();
    config.worker = None;
    let without = Node::open(config, None).await;
    stage.seats.lock().push(without);
    stage.go_on();
    stage.progress(60).await;
    let mut marks = BTreeMap::new();
    for partition in stage.engine().partitions() {
        let mut get = redis::cmd("GET");
        let published: String = server.query(get.arg(format!("{partition}:p"))).await;
        let turn = published.split_once(' ').unwrap().0.to_owned();
        let mut newest = redis::cmd("XREVRANGE");
        newest.arg(format!("{partition}:j")).arg("+").arg("-");
        let newest: Vec<(String, Vec<String>)> = server.query(newest.arg("COUNT").arg(1)).await;
        let seq = newest[0].0.split_once('-').unwrap().0.to_owned();
        marks.insert(format!("{partition}:p"), format!("{turn} {seq}"));
    }
    for (key, mark) in marks {
        let mut set = redis::cmd("SET");
        server.query::<()>(set.arg(key).arg(mark)).await;
    }
    stage.progress(60).await;
    let mut config = stage.config().clone();
    config.node = "two".to_owned();
    let node = Node::open(config, None).await;
    stage.seats.lock().insert(0, node);
    stage.progress(60).await;
    watch(&stage, "a gap", |numbers| numbers.gaps > 0).await;
    stage.finish(&side).await;
}
