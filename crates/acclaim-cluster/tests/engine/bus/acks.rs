//! The acknowledgements `bus` and `ledger`.

use std::time::Duration;

use acclaim_core::WriteError;
use acclaim_core::port::{Ack, Reads, Write, Writes};
use acclaim_servers::Kafka;
use acclaim_testkit::conformance::{LIKES, edge, toggle};
use tokio::time::timeout;

use super::stage::{Subscriber, bus, with_bus};
use crate::faults::load::Node;
use crate::faults::stage::Stage;
use crate::servers::{RedisSide, database};

fn write(ack: Ack, post: u64) -> Write {
    Write {
        ack,
        ..Write::plain(vec![toggle(edge(LIKES, "77", &format!("POST:{post}")))])
    }
}

/// `bus` is answered after the broker acknowledged, by a node with a worker and by one without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bus_is_answered_after_the_broker() {
    let (kafka, side, database) = tokio::join!(Kafka::start(), RedisSide::single(), database());
    let bus = bus(&kafka);
    let config = with_bus(&side, database.url(), &bus);
    let mut stage = Stage::begin(config.clone(), None).await;
    stage.rest().await;
    let engine = stage.engine();
    let other = {
        let mut config = config.clone();
        config.node = "other".to_owned();
        config.worker = None;
        Node::open(config, None).await
    };
    engine.apply(write(Ack::Bus, 1)).await.unwrap();
    other.engine.apply(write(Ack::Bus, 2)).await.unwrap();
    other.engine.apply(write(Ack::Ledger, 3)).await.unwrap();

    // While the broker does not answer, neither does anybody who asked for it; others go on.
    kafka.pause().await;
    for node in [&engine, &other.engine] {
        let waits = node.apply(write(Ack::Bus, 4));
        assert!(timeout(Duration::from_millis(700), waits).await.is_err());
    }
    let outcome = engine.apply(write(Ack::Bus, 5)).await;
    assert!(
        matches!(outcome, Err(WriteError::Unknown { .. })),
        "{outcome:?}"
    );
    let began = tokio::time::Instant::now();
    engine.apply(write(Ack::Default, 6)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    kafka.resume();
    engine.apply(write(Ack::Bus, 7)).await.unwrap();
    other.engine.apply(write(Ack::Bus, 8)).await.unwrap();
    let subscriber = Subscriber::read(&bus).await;
    for post in [1, 2, 7, 8] {
        let target = format!("POST:{post}");
        let is_it = |event: &&acclaim_bus::event::Event| {
            event.target.to_string() == target && event.user.to_string() == "77"
        };
        assert!(
            subscriber.events.values().any(|event| is_it(&event)),
            "{target}"
        );
    }
    let statuses = engine
        .statuses(vec![edge(LIKES, "77", "POST:7")])
        .await
        .unwrap();
    assert!(statuses[0].edge.active);
    other.engine.stop().await;
    // Those writes were nobody's of the load.
    for post in [1, 2, 3, 6, 7, 8] {
        engine.apply(write(Ack::Ledger, post)).await.unwrap();
    }
}
