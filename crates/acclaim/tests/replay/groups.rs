//! Groups of consumers that are moved back.

use std::time::{Duration, Instant};

use acclaim_bus::port::Received;
use acclaim_bus::{BusUrl, Consumer, Limits};

use crate::stage::{SOON, Stage, database, ended, load, refused};

async fn join(bus: &str, group: &str) -> Box<dyn Consumer> {
    let bus = acclaim_bus::open(&BusUrl::parse(bus).unwrap(), &Limits::default()).unwrap();
    bus.consumer(group).await.unwrap()
}

/// Takes so many messages and acknowledges them.
async fn take(consumer: &mut dyn Consumer, most: usize) -> Vec<Received> {
    let mut all = Vec::new();
    let end = Instant::now() + SOON;
    while all.len() < most {
        assert!(Instant::now() < end, "only {}", all.len());
        let received = consumer.receive(100, Duration::from_millis(200)).await;
        let received = received.unwrap();
        consumer.acknowledge(&received).await.unwrap();
        all.extend(received);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_sees_its_events_once_more() {
    let stage = Stage::on_kafka().await;
    let ledger = database().await;
    let config = stage.configure("acclaim.toml", &ledger);
    let server = stage.serve(&config);
    assert_eq!(load(&server, 0..120), 120);
    server.stop("-TERM");
    // What was not published when the server stopped is now.
    stage.is_clean(&config);
    let mut feed = join(&stage.bus, "feed").await;
    let first = take(feed.as_mut(), 120).await;
    let into = ["--into", "consumer", "--group", "feed"];
    let moved = |more: &[&str]| stage.replay(&config, &[&into, more].concat());
    refused(&moved(&[]), "others are in it");
    drop(feed);
    ended(
        &moved(&["--from", "-1h", "--dry-run"]),
        0,
        "the group feed would have 120 events before it",
    );
    ended(
        &moved(&["--from", "-1h"]),
        0,
        "120 events before it, 120 of them once more",
    );
    ended(
        &moved(&[]),
        0,
        "goes on at the oldest event of the bus: 120 events before it, 0 of them once more",
    );
    let mut feed = join(&stage.bus, "feed").await;
    let again = take(feed.as_mut(), 120).await;
    let places = |messages: &[Received]| {
        let mut places: Vec<(u32, u64)> = messages
            .iter()
            .map(|message| (message.bus_partition, message.position))
            .collect();
        places.sort_unstable();
        places
    };
    assert_eq!(places(&first), places(&again));
    drop(feed);
    // Later than everything.
    ended(
        &moved(&["--from", "2200-01-01T00:00:00Z"]),
        0,
        ": 0 events before it",
    );
}
