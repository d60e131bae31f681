//! `GET /events`.

use std::sync::Arc;
use std::time::Duration;

use acclaim_core::port::{Write, Writes};
use acclaim_core::{Action, EdgeKey, Id, KindId, Op, Target};
use acclaim_http::Limits;
use acclaim_testkit::{ManualClock, ModelEngine};

use crate::nodes::PARTITIONS;
use crate::support::{Connection, Fault, FaultyEngine, NOW, Request, Server, json, kinds};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);

/// A stream of events, read one by one.
struct Events {
    connection: Connection,
    text: String,
}

#[derive(Debug, Default)]
struct Event {
    name: String,
    id: String,
    data: String,
}

impl Event {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

impl Events {
    async fn open(server: &Server, request: Request) -> Self {
        Self::over(server.connect().await, request).await
    }

    async fn over(mut connection: Connection, request: Request) -> Self {
        connection.write(&request.bytes()).await;
        let head = connection.head().await.unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(head.header("cache-control"), Some("no-store"));
        Self {
            connection,
            text: String::new(),
        }
    }

    /// The next block, comments and resume points included; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let chunk = tokio::time::timeout(SOON, self.connection.chunk())
                .await
                .unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event with data.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            let mut event = Event::default();
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("event", name)) => name.clone_into(&mut event.name),
                    Some(("id", id)) => id.clone_into(&mut event.id),
                    Some(("data", data)) => data.clone_into(&mut event.data),
                    _ => {}
                }
            }
            if !event.name.is_empty() {
                return Some(event);
            }
        }
    }
}

/// The seq of an event's id: all of it, but for the number of a partition that is not the first.
fn seq(id: &str) -> u64 {
    let Some((seq, partition)) = id.split_once('-') else {
        return id.parse().unwrap();
    };
    let partition: u16 = partition.parse().unwrap();
    assert!((1..PARTITIONS).contains(&partition), "{id}");
    seq.parse().unwrap()
}

#[tokio::test]
async fn transitions_arrive_as_they_happen() {
    let server = Server::start().await;
    let id = server.fresh_id();
    let path = format!("/api/v2/events?targets=SEEN:{id}");
    let mut events = Events::open(&server, Request::new("GET", &path)).await;
    let set = server.set("likes", id, "SEEN", id).await.ok();
    let event = events.next().await.unwrap();
    assert_eq!(event.name, "transition");
    assert_eq!(seq(&event.id), set["rev"]);
    assert_eq!(
        event.json(),
        json!({
            "kind": "likes", "userId": id, "targetType": "SEEN", "targetId": id.to_string(),
            "active": true, "count": 1, "rev": set["rev"],
        })
    );
    // What changes nothing is no event: the next one is the unset.
    server.set("likes", id, "SEEN", id).await;
    server
        .delete(&format!(
            "/api/v2/likes?userId={id}&targetType=SEEN&targetId={id}"
        ))
        .await
        .ok();
    let event = events.next().await.unwrap().json();
    assert_eq!(event["active"], false);
    assert_eq!(event["count"], 0);
}

#[tokio::test]
async fn filters_are_joined() {
    let server = Server::start().await;
    let (me, post) = (server.fresh_id(), server.fresh_id());
    let path =
        format!("/api/v2/events?kinds=likes,follows&targets=FILTERED:{post},USER:{me}&userId={me}");
    let mut events = Events::open(&server, Request::new("GET", &path)).await;
    server.set("dislikes", me, "FILTERED", post).await;
    server.set("likes", me, "OTHER", post).await;
    server.set("likes", me + 99, "FILTERED", post).await;
    server.set("likes", me, "FILTERED", post).await;
    let event = events.next().await.unwrap().json();
    assert_eq!(event["kind"], "likes");
    assert_eq!(event["userId"], me);
    assert_eq!(event["targetType"], "FILTERED");
    assert_eq!(event["count"], 2);
}

#[tokio::test]
async fn a_client_that_comes_back_misses_nothing() {
    let server = Server::start().await;
    let user = server.fresh_id();
    let path = format!("/api/v2/events?userId={user}");
    let mut events = Events::open(&server, Request::new("GET", &path)).await;
    for target in 0..3 {
        server.set("likes", user, "RESUMED", target).await;
    }
    let first = events.next().await.unwrap();
    drop(events);
    for target in 3..200 {
        server.set("likes", user, "RESUMED", target).await;
    }
    let header = Request::new("GET", &path).header("Last-Event-ID", &first.id);
    let query = Request::new("GET", &format!("{path}&lastEventId={}", first.id));
    for request in [header, query] {
        let mut events = Events::open(&server, request).await;
        for target in 1..200 {
            let event = events.next().await.unwrap().json();
            assert_eq!(event["targetId"], target.to_string());
        }
    }
}

#[tokio::test]
async fn a_new_stream_has_a_place_to_resume_from() {
    let server = Server::start().await;
    let set = server
        .set("likes", server.fresh_id(), "HELLO", 1)
        .await
        .ok();
    let mut events = Events::open(&server, Request::new("GET", "/api/v2/events")).await;
    let hello = events.block().await.unwrap();
    let id = hello
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .unwrap();
    assert!(seq(id) >= set["rev"].as_u64().unwrap());
    assert!(hello.starts_with("retry: "), "{hello}");
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let server = Server::start().await;
    let get = async |query: &str| server.get(&format!("/api/v2/events?{query}")).await;
    let (_, field) = get("kinds=likes,claps").await.problem(404, "unknown_kind");
    assert_eq!(field.as_deref(), Some("kinds"));
    get("targets=POST").await.bad("targets");
    get("targets=post:1").await.bad("targets");
    get("targets=POST:").await.bad("targets");
    get("userId=").await.bad("userId");
    for id in ["x", "-1", "+1", "01", "1-0", "9007199254740992"] {
        get(&format!("lastEventId={id}")).await.bad("lastEventId");
    }
    get("other=1").await.bad("other");
    let many = vec!["POST:1"; 101].join(",");
    get(&format!("targets={many}")).await.bad("targets");
    let request = Request::new("GET", "/api/v2/events").header("last-event-id", "abc");
    server.send(request).await.bad("Last-Event-ID");
}

#[tokio::test]
async fn what_is_no_longer_kept_cannot_be_resumed_from() {
    let (engine, clock) = FaultyEngine::at_now();
    engine.fail(Fault::Trimmed);
    let server = Server::over(engine, Limits::default(), clock).await;
    server.set("likes", 1, "POST", 1).await;
    let ahead = server
        .get("/api/v2/events?lastEventId=9007199254740991")
        .await;
    ahead.problem(400, "bad_cursor");
    let request = Request::new("GET", "/api/v2/events").header("Last-Event-ID", "5");
    let (detail, field) = server.send(request).await.problem(400, "bad_cursor");
    assert!(detail.contains("77"), "{detail}");
    assert_eq!(field.as_deref(), Some("Last-Event-ID"));
}

#[tokio::test]
async fn a_silent_stream_gets_comments() {
    let limits = Limits {
        event_keep_alive_millis: 20,
        ..Limits::default()
    };
    let server = Server::with_limits(limits).await;
    let mut events = Events::open(&server, Request::new("GET", "/api/v2/events")).await;
    events.block().await.unwrap();
    for _ in 0..3 {
        assert_eq!(events.block().await.as_deref(), Some(": keep-alive"));
    }
}

#[tokio::test]
async fn subscribers_have_a_limit() {
    let limits = Limits {
        max_event_subscribers: 1,
        event_keep_alive_millis: 10,
        ..Limits::default()
    };
    let server = Server::with_limits(limits).await.alone();
    let first = Events::open(&server, Request::new("GET", "/api/v2/events")).await;
    let second = server.get("/api/v2/events").await;
    second.problem(503, "overloaded");
    drop(first);
    let again = async {
        loop {
            let mut connection = server.connect().await;
            connection
                .write(&Request::new("GET", "/api/v2/events").bytes())
                .await;
            if connection
                .head()
                .await
                .is_some_and(|head| head.status == 200)
            {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, again)
        .await
        .expect("the place became free");
}

#[tokio::test]
async fn a_stop_ends_streams_with_a_reason() {
    let mut server = Server::with_limits(Limits::default()).await;
    let mut events = Events::open(&server, Request::new("GET", "/api/v2/events")).await;
    let set = server.set("likes", 1, "POST", 1).await.ok();
    let seen = events.next().await.unwrap();
    assert_eq!(seq(&seen.id), set["rev"]);
    let stopped = server.stop();
    let last = events.next().await.unwrap();
    assert_eq!(last.name, "dropped");
    assert_eq!(
        last.json(),
        json!({"reason": "stopping", "lastEventId": seen.id})
    );
    assert!(events.next().await.is_none());
    tokio::time::timeout(SOON, stopped).await.unwrap().unwrap();
}

/// Events that do not fit into a socket: some 7 MB.
const FLOOD: usize = 30_000;

/// Toggles one edge often, past the server.
async fn flood(engine: &ModelEngine, clock: &ManualClock, events: usize) {
    let edge = EdgeKey {
        kind: KindId(0),
        user: Id::Number(1),
        target: Target::user(Id::parse(&"long-id-".repeat(8)).unwrap()),
    };
    let mut left = events;
    while left > 0 {
        let size = left.min(1_000);
        let ops = vec![Op::new(Action::Toggle, edge.clone()); size];
        engine.apply(Write::plain(ops)).await.unwrap();
        clock.advance(1_000_000);
        left -= size;
    }
}

#[tokio::test]
async fn a_slow_reader_is_dropped_with_its_last_event() {
    let clock = ManualClock::at(NOW);
    let engine = Arc::new(ModelEngine::new(kinds(), clock.clone()));
    let limits = Limits {
        max_event_lag_millis: 300,
        ..Limits::default()
    };
    let server = Server::over(engine.clone(), limits, clock.clone()).await;
    let narrow = Connection::narrow(server.address).await;
    let mut slow = Events::over(narrow, Request::new("GET", "/api/v2/events")).await;
    let mut quick = Events::open(&server, Request::new("GET", "/api/v2/events")).await;
    let reading = tokio::spawn(async move {
        let mut seen = 0;
        while seen < FLOOD {
            let event = quick.next().await.unwrap();
            assert_eq!(event.name, "transition", "{event:?}");
            seen += 1;
        }
    });
    // More than the server's side of the socket holds.
    flood(&engine, &clock, FLOOD).await;
    let dropped = async {
        while !server
            .get("/metrics")
            .await
            .text()
            .contains("acclaim_event_subscribers_dropped_total 1")
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, dropped)
        .await
        .expect("the slow reader was dropped");
    let (mut seen, mut last_id) = (0, String::new());
    let last = loop {
        let event = slow.next().await.unwrap();
        if event.name == "dropped" {
            break event;
        }
        seen += 1;
        last_id = event.id;
    };
    assert!(seen < FLOOD, "{seen}");
    assert_eq!(
        last.json(),
        json!({"reason": "slow", "lastEventId": last_id})
    );
    assert!(slow.next().await.is_none());
    tokio::time::timeout(SOON, reading).await.unwrap().unwrap();
    // It can go on from there.
    let request = Request::new("GET", "/api/v2/events").header("last-event-id", &last_id);
    let mut again = Events::open(&server, request).await;
    let next = again.next().await.unwrap();
    assert!(next.id.parse::<u64>().unwrap() > last_id.parse::<u64>().unwrap());
}
