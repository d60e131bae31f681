//! What an engine can fail with, as the caller sees it.

use std::time::Duration;

use acclaim_core::{ReadError, WriteError};
use acclaim_http::Limits;

use crate::support::{Fault, FaultyEngine, Request, Server, json};

fn put() -> Request {
    let body = json!({"userId": 1, "targetType": "POST", "targetId": 1});
    Request::new("PUT", "/api/v2/likes").json(&body)
}

#[tokio::test]
async fn write_errors_have_their_codes() {
    let (engine, clock) = FaultyEngine::at_now();
    let server = Server::over(engine.clone(), Limits::default(), clock).await;
    let overloaded = WriteError::Overloaded {
        queued: 9,
        limit: 9,
    };
    engine.fail(Fault::Write(overloaded));
    let reply = server.send(put()).await;
    reply.problem(503, "overloaded");
    assert_eq!(reply.header("retry-after"), Some("1"));
    engine.fail(Fault::Write(WriteError::Unavailable {
        reason: "the disk is full".to_owned(),
        retry_after: Duration::from_millis(2_500),
    }));
    let reply = server.send(put()).await;
    let (detail, _) = reply.problem(503, "unavailable");
    assert!(detail.contains("the disk is full"), "{detail}");
    assert_eq!(reply.header("retry-after"), Some("3"));
    engine.fail(Fault::Write(WriteError::Unknown {
        reason: "the connection to Redis was lost".to_owned(),
    }));
    let (detail, _) = server.send(put()).await.problem(504, "timeout");
    for part in ["unknown", "connection to Redis", "Idempotency-Key is safe"] {
        assert!(detail.contains(part), "{detail}");
    }
    engine.fail(Fault::Write(WriteError::Stopping));
    server.send(put()).await.problem(503, "unavailable");
    engine.fail(Fault::Write(WriteError::TooManyTargetTypes {
        limit: 4_096,
        given: "POST".to_owned(),
    }));
    server
        .send(put())
        .await
        .problem(422, "target_type_not_allowed");
    server
        .delete("/api/v2/users/1")
        .await
        .problem(422, "target_type_not_allowed");
    engine.fail(Fault::None);
    server.send(put()).await.ok();
}

#[tokio::test]
async fn read_errors_tell_the_caller_nothing() {
    let (engine, clock) = FaultyEngine::at_now();
    engine.fail(Fault::Read(ReadError::Store(
        "secret/path is broken".to_owned(),
    )));
    let server = Server::over(engine.clone(), Limits::default(), clock).await;
    let paths = [
        "/api/v2/likes/status?userId=1&targetType=POST&targetId=1",
        "/api/v2/likes/count?targetType=POST&targetId=1",
        "/api/v2/likes/users?targetType=POST&targetId=1",
        "/api/v2/export?kind=likes",
        "/consistency/report",
        "/api/v2/jobs/1",
    ];
    for path in paths {
        let (detail, field) = server.get(path).await.problem(500, "internal");
        assert!(!detail.contains("secret"), "{detail}");
        assert_eq!(field, None);
    }
    engine.fail(Fault::Read(ReadError::Unavailable {
        reason: "the ledger does not answer".to_owned(),
        retry_after: Duration::from_millis(1_500),
    }));
    for path in paths {
        let reply = server.get(path).await;
        let (detail, _) = reply.problem(503, "unavailable");
        assert!(detail.contains("ledger does not answer"), "{detail}");
        assert_eq!(reply.header("retry-after"), Some("2"));
    }
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_connection_goes_on() {
    let (engine, clock) = FaultyEngine::at_now();
    engine.fail(Fault::Panic);
    let server = Server::over(engine.clone(), Limits::default(), clock).await;
    let mut connection = server.connect().await;
    connection.send(put()).await.problem(500, "internal");
    engine.fail(Fault::None);
    connection.send(put()).await.ok();
}

#[tokio::test]
async fn an_engine_that_hangs_is_a_timeout() {
    let (engine, clock) = FaultyEngine::at_now();
    engine.fail(Fault::Hang);
    let limits = Limits {
        request_timeout_millis: 50,
        ..Limits::default()
    };
    let server = Server::over(engine, limits, clock).await;
    let (detail, _) = server.send(put()).await.problem(504, "timeout");
    assert!(
        detail.contains("unknown") && detail.contains("Idempotency-Key"),
        "{detail}"
    );
}

#[tokio::test]
async fn requests_beyond_the_limit_are_shed_and_health_is_not() {
    let (engine, clock) = FaultyEngine::at_now();
    engine.fail(Fault::Hang);
    let limits = Limits {
        max_requests_in_flight: 2,
        ..Limits::default()
    };
    let server = Server::over(engine.clone(), limits, clock).await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut connection = server.connect().await;
        connection.write(&put().bytes()).await;
        waiting.push(connection);
    }
    let mut begun = engine.begun.subscribe();
    begun.wait_for(|begun| *begun == 2).await.unwrap();
    // A body that was never sent: the answer comes before it is read.
    let mut third = server.connect().await;
    third
        .write(b"PUT /api/v2/likes HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n")
        .await;
    let reply = third.reply().await;
    reply.problem(503, "overloaded");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(reply.header("connection"), Some("close"));
    for path in ["/health", "/ready"] {
        server.get(path).await.ok();
    }
    let metrics = server.get("/metrics").await.text();
    assert!(
        metrics.contains("acclaim_http_requests_shed_total 1"),
        "{metrics}"
    );
    engine.fail(Fault::None);
    for mut connection in waiting {
        connection.reply().await.ok();
    }
    server.send(put()).await.ok();
}
