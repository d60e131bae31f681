//! The sample consumers, as programs of their own on real buses.
#![cfg(all(
    feature = "kafka",
    feature = "pulsar",
    feature = "redis",
    feature = "rocketmq"
))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::process::Stdio;
use std::time::Duration;

use acclaim_bus::port::Outgoing;
use acclaim_bus::{BusUrl, Limits, open};
use acclaim_servers::{Kafka, Pulsar, Redis, RocketMq};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const GROUP: &str = "sample";
const EVENTS: [&str; 3] = [
    include_str!("../schema/examples/like.json"),
    "garbage",
    include_str!("../schema/examples/unfollow.json"),
];

/// Publishes three messages, and reads what the example prints.
async fn prints(example: &str, url: &str) -> Vec<String> {
    let bus = open(&BusUrl::parse(url).unwrap(), &Limits::default()).unwrap();
    let publisher = bus.publisher().await.unwrap();
    bus.keep_for(GROUP).await.unwrap();
    let message = |payload: &&'static str| Outgoing {
        partition: 17,
        id: "1-17".to_owned(),
        payload: payload.trim_end().into(),
    };
    let messages: Vec<_> = EVENTS.iter().map(message).collect();
    publisher.publish(&messages).await.unwrap();

    // Cargo puts examples beside the directory of the tests.
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().parent().unwrap().join("examples");
    let program = built.join(example);
    let mut child = Command::new(&program)
        .args([url, GROUP])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| {
            let program = program.display();
            panic!("{program}: {error}; `cargo test -p acclaim-bus` without --test builds it")
        });
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed = Vec::new();
    while printed.len() < EVENTS.len() {
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap();
        printed.push(line.unwrap().expect("it ended"));
    }
    printed
}

fn check(printed: &[String]) {
    assert_eq!(
        printed[0],
        "1795168800000000-17 likes/POST:123 user=42 active=true count=1004"
    );
    assert!(printed[1].starts_with("not an event: "), "{}", printed[1]);
    assert!(printed[2].contains("active=false"), "{}", printed[2]);
}

#[tokio::test]
async fn kafka() {
    let server = Kafka::shared().await;
    let url = format!("{}?topic={}", server.url(), server.topic());
    check(&prints("kafka", &url).await);
}

#[tokio::test]
async fn pulsar() {
    let server = Pulsar::shared().await;
    let admin = server.admin_url();
    let admin = admin.trim_start_matches("http://");
    let url = format!("{}?topic={}&admin={admin}", server.url(), server.topic());
    check(&prints("pulsar", &url).await);
}

#[tokio::test]
async fn rocketmq() {
    let server = RocketMq::shared().await;
    let url = format!("{}?topic={}", server.url(), server.topic());
    check(&prints("rocketmq", &url).await);
}

#[tokio::test]
async fn redis() {
    let server = Redis::start().await;
    check(&prints("redis", &server.url()).await);
}
