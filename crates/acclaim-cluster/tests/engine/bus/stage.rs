//! A store with a bus, and somebody else who subscribes to it.

use std::collections::BTreeMap;
use std::time::Duration;

use acclaim_bus::event::{Barrier, Event};
use acclaim_bus::port::Outgoing;
use acclaim_bus::{BusUrl, Limits};
use acclaim_cluster::engine::ClusterConfig;
use acclaim_cluster::worker::{BusConfig, WorkerNumbers};
use acclaim_core::Rev;
use acclaim_servers::{Kafka, Pulsar, Redis, RocketMq, until};
use acclaim_testkit::conformance::kinds;

use crate::faults::load::LIMIT;
use crate::faults::stage::{Stage, config};
use crate::servers::RedisSide;

/// The group of whoever is not the store.
const SOMEBODY_ELSE: &str = "somebody-else";
/// The bus partitions: fewer than the store has.
const BUS_PARTITIONS: u16 = 3;

/// Bounds with which failures are noticed soon.
fn limits() -> Limits {
    Limits {
        publish_timeout_millis: 3_000,
        call_timeout_millis: 3_000,
        session_timeout_millis: 6_000,
        backoff_min_millis: 50,
        ..Limits::default()
    }
}

/// A bus of its own on a server.
pub fn bus(server: &Kafka) -> BusConfig {
    bus_at(&server.url(), &server.topic(), "")
}

/// The same on the other sort of server.
pub fn pulsar_bus(server: &Pulsar) -> BusConfig {
    let admin = server.admin_url();
    let admin = admin.trim_start_matches("http://");
    bus_at(&server.url(), &server.topic(), &format!("&admin={admin}"))
}

/// And on the third.
pub fn rocketmq_bus(server: &RocketMq) -> BusConfig {
    bus_at(&server.url(), &server.topic(), "")
}

/// Streams on the Redis that decides, which is the least that a cluster needs.
pub fn redis_bus(server: &Redis) -> BusConfig {
    bus_at(&server.url(), "streams", "")
}

fn bus_at(server: &str, topic: &str, more: &str) -> BusConfig {
    let url = format!("{server}?topic={topic}&partitions={BUS_PARTITIONS}{more}");
    BusConfig {
        limits: limits(),
        ..BusConfig::new(BusUrl::parse(&url).unwrap())
    }
}

/// Has the bus keep everything for whoever reads it with [`Subscriber::read`].
pub async fn subscribe(bus: &BusConfig) {
    let opened = acclaim_bus::open(&bus.url, &bus.limits).unwrap();
    opened.check().await.unwrap();
    opened.keep_for(SOMEBODY_ELSE).await.unwrap();
}

/// A store whose events travel over such a bus.
pub fn with_bus(redis: &RedisSide, ledger_url: &str, bus: &BusConfig) -> ClusterConfig {
    ClusterConfig {
        bus: Some(bus.clone()),
        ..config(redis, ledger_url, "one")
    }
}

/// Everything that is on a topic.
pub async fn messages(bus: &BusConfig, topic: &str) -> Vec<Outgoing> {
    let mut url = bus.url.clone();
    url.topic = topic.to_owned();
    let opened = acclaim_bus::open(&url, &bus.limits).unwrap();
    let mut consumer = opened.consumer(SOMEBODY_ELSE).await.unwrap();
    let mut all = Vec::new();
    until(LIMIT, "the messages of the topic", || {
        let (consumer, all) = (&mut consumer, &mut all);
        // One call after the other; the closure is not called while it waits.
        let received = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current()
                .block_on(async { consumer.receive(1_000, Duration::from_millis(1_500)).await })
        });
        let outcome = match received {
            Ok(received) if received.is_empty() && !all.is_empty() => Ok(()),
            Ok(received) => {
                tokio::task::block_in_place(|| {
                    tokio::runtime::Handle::current()
                        .block_on(async { consumer.acknowledge(&received).await })
                })
                .unwrap();
                all.extend(received.into_iter().map(|message| {
                    Outgoing {
                        partition: std::str::from_utf8(&message.key)
                            .ok()
                            .and_then(|key| key.parse().ok())
                            .unwrap_or(0),
                        id: message.position.to_string(),
                        payload: message.payload,
                    }
                }));
                Err(format!("{} so far", all.len()))
            }
            Err(error) => Err(error.to_string()),
        };
        async { outcome }
    })
    .await;
    all
}

/// Puts messages on the topic, past the relay.
pub async fn slip_in(bus: &BusConfig, messages: &[Outgoing]) {
    let opened = acclaim_bus::open(&bus.url, &bus.limits).unwrap();
    opened
        .publisher()
        .await
        .unwrap()
        .publish(messages)
        .await
        .unwrap();
}

/// What the numbers of the worker's bus say when they say enough.
pub async fn watch(
    stage: &Stage,
    what: &str,
    enough: impl Fn(WorkerNumbers) -> bool,
) -> WorkerNumbers {
    let engine = stage.engine();
    until(LIMIT, what, || {
        let numbers = engine.worker_numbers().unwrap();
        let outcome = match enough(numbers) {
            true => Ok(numbers),
            false => Err(format!("{numbers:?}")),
        };
        async { outcome }
    })
    .await
}

/// What somebody else learnt from the topic.
#[derive(Debug, Default)]
pub struct Subscriber {
    /// The newest of each place of each partition.
    pub events: BTreeMap<(u16, Rev), Event>,
    /// Events that came more than once.
    pub repeated: usize,
    pub barriers: usize,
}

impl Subscriber {
    /// Reads what is on the topic, and holds it against what `docs/events.md` promises.
    pub async fn read(bus: &BusConfig) -> Self {
        let mut subscriber = Self::default();
        let mut last: BTreeMap<u16, Rev> = BTreeMap::new();
        for message in messages(bus, &bus.url.topic).await {
            if Barrier::read(&message.payload).is_some() {
                subscriber.barriers += 1;
                continue;
            }
            let event = Event::read(&message.payload, &kinds()).unwrap();
            let partition = event.place.partition;
            assert_eq!(message.partition, partition, "the key says whose it is");
            let seen = last.entry(partition).or_default();
            let is_new = event.place.seq > *seen;
            if is_new && *seen > Rev::ZERO {
                let previous = event.previous.unwrap_or(Rev::ZERO);
                assert!(previous <= *seen, "nothing is missing before {event:?}");
            }
            *seen = event.place.seq.max(*seen);
            let key = (partition, event.place.seq);
            if let Some(before) = subscriber.events.insert(key, event.clone()) {
                subscriber.repeated += 1;
                assert_eq!((before.edge(), before.rev), (event.edge(), event.rev));
            }
        }
        subscriber
    }
}

trait Edge {
    fn edge(&self) -> String;
}

impl Edge for Event {
    fn edge(&self) -> String {
        let (kind, user, target) = (&self.kind, &self.user, &self.target);
        format!("{kind} {user} {target} {}", self.active)
    }
}
