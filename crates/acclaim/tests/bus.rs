//! The program on a cluster with a bus: from a toggle over HTTP to the row in SQL and to whoever
//! else subscribes, and what is refused at start.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod program;

use std::time::Duration;

use acclaim_bus::event::Event;
use acclaim_bus::{BusUrl, Limits};
use acclaim_core::{Kind, Kinds};
use acclaim_servers::{Kafka, MariaDb, Redis, until};
use program::{Server, file, run};
use sqlx::{Connection as _, MySqlConnection};

/// Long enough for anything that must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn configuration(redis: &str, ledger: &str, bus: &str) -> String {
    format!(
        r#"[server]
engine = "cluster"
[cluster]
redis = "{redis}"
ledger = "{ledger}"
partitions = 4
start_wait_seconds = 1
[bus]
url = "{bus}"
[kinds.claps]
ack = "bus"
"#
    )
}

/// The first events that somebody else gets.
async fn subscribe(url: &str, most: usize) -> Vec<Event> {
    let kinds = Kinds::new([Kind::open("claps")]).unwrap();
    let bus = acclaim_bus::open(&BusUrl::parse(url).unwrap(), &Limits::default()).unwrap();
    let mut consumer = bus.consumer("somebody-else").await.unwrap();
    let mut events = Vec::new();
    let end = std::time::Instant::now() + SOON;
    while events.len() < most {
        assert!(std::time::Instant::now() < end, "only {events:?}");
        let wait = Duration::from_millis(200);
        let received = consumer.receive(100, wait).await.unwrap();
        consumer.acknowledge(&received).await.unwrap();
        let read = received.iter();
        events.extend(read.map(|message| Event::read(&message.payload, &kinds).unwrap()));
    }
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_toggle_comes_to_the_ledger_and_to_others() {
    let shared = async { MariaDb::shared().await.database().await };
    let (kafka, redis, database) = tokio::join!(Kafka::shared(), Redis::start(), shared);
    let bus = format!("{}?topic={}&partitions=2", kafka.url(), kafka.topic());
    let dir = tempfile::tempdir().unwrap();
    let text = configuration(&redis.url(), database.url(), &bus);
    let without = text.replacen("[cluster]\n", "[cluster]\nworker = false\n", 1);
    let config = file(dir.path(), "acclaim.toml", text);
    let without = file(dir.path(), "serve.toml", without);
    // A node that moves nothing itself asks Redis whether the bus has it.
    let worker = Server::launch(&["worker", "--listen", "127.0.0.1:0", "--config", &config]);
    let server = Server::launch(&["serve", "--listen", "127.0.0.1:0", "--config", &without]);
    let likes = r#"{"userId":1,"targetType":"POST","targetId":7,"deviceType":"ios"}"#;
    let claps = r#"{"userId":"ann","targetType":"POST","targetId":7}"#;
    for (path, body) in [("likes", likes), ("claps", claps)] {
        let answer = server.send("POST", &format!("/api/v2/{path}/toggle"), body);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    until(SOON, "the rows in the ledger", || async {
        let mut sql = MySqlConnection::connect(database.url()).await.unwrap();
        let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM edges WHERE active = 1")
            .fetch_one(&mut sql)
            .await
            .unwrap();
        (rows == 2).then_some(()).ok_or(rows.to_string())
    })
    .await;
    let mut told: Vec<String> = subscribe(&bus, 2)
        .await
        .iter()
        .map(|event| {
            format!(
                "{} {} {} {}",
                event.kind, event.user, event.target, event.count
            )
        })
        .collect();
    told.sort();
    assert_eq!(told, ["claps ann POST:7 1", "likes 1 POST:7 1"]);

    for process in [&server, &worker] {
        let ready = process.get("/ready");
        assert!(ready.contains(r#""name":"bus","state":"up""#), "{ready}");
    }
    until(SOON, "the numbers of the bus", || {
        let metrics = worker.get("/metrics");
        let lines = [
            "acclaim_bus_up 1",
            "acclaim_bus_published_events_total 2\n",
            "acclaim_bus_received_messages_total 2\n",
            "acclaim_bus_dead_letters_total 0\n",
            "acclaim_bus_relay_backlog_events 0",
            // Measured now and then.
            "acclaim_bus_lag_events{bus_partition=\"0\"} 0",
        ];
        let missing = lines.into_iter().find(|line| !metrics.contains(line));
        let outcome = missing.map_or(Ok(()), |line| Err(format!("{line} in {metrics}")));
        async { outcome }
    })
    .await;
    let (status, _, err) = worker.stop("-TERM");
    assert_eq!(status.code(), Some(0), "{err}");
    let (status, _, err) = server.stop("-TERM");
    assert_eq!(status.code(), Some(0), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_will_not_do_is_refused_at_start() {
    let shared = async { MariaDb::shared().await.database().await };
    let (kafka, redis, database) = tokio::join!(Kafka::shared(), Redis::start(), shared);
    let (url, topic) = (kafka.url(), kafka.topic());
    let host = url.trim_start_matches("kafka://");
    let dir = tempfile::tempdir().unwrap();
    for (bus, expected) in [
        (format!("{url}?topic={topic}&create=no"), "no such topic"),
        (
            format!("{url}?topic={topic}&replicas=9"),
            "could not be made",
        ),
    ] {
        let text = configuration(&redis.url(), database.url(), &bus);
        let config = file(dir.path(), "acclaim.toml", text);
        for command in ["serve", "worker"] {
            let ran = run(&[command, "--listen", "127.0.0.1:0", "--config", &config]);
            assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
            for part in [expected, "Kafka", host, topic.as_str()] {
                assert!(ran.err.contains(part), "{part}: {}", ran.err);
            }
        }
    }
    let text = configuration(&redis.url(), database.url(), "kafka://me:geheim@h:no");
    let config = file(dir.path(), "acclaim.toml", text);
    let ran = run(&["serve", "--listen", "127.0.0.1:0", "--config", &config]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err.contains("bus.url") && !ran.err.contains("geheim"),
        "{}",
        ran.err
    );
    // One engine has no bus.
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let ran = run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data",
        data,
        "--bus",
        &url,
    ]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("--engine cluster"), "{}", ran.err);
}
