//! `GET /dead-letters`, `POST /dead-letters/{id}/retry`.

use acclaim_core::ReadError;
use acclaim_core::Rev;
use acclaim_core::port::DeadLetter;
use acclaim_http::Limits;

use crate::support::{Fault, FaultyEngine, Request, Server, json};

fn letter(id: u64, reason: &str) -> DeadLetter {
    DeadLetter {
        id,
        partition: 3,
        seq: Rev(1_795_132_800_000_000 + id),
        at: Rev(1_795_132_800_000_000),
        reason: reason.to_owned(),
        event: "1:1:9 7 + 1".to_owned(),
    }
}

fn retry(id: &str) -> Request {
    Request::new("POST", &format!("/api/v2/dead-letters/{id}/retry"))
}

#[tokio::test]
async fn there_are_none_where_all_is_recorded() {
    let server = Server::start().await;
    assert_eq!(
        server.get("/api/v2/dead-letters").await.ok(),
        json!({"items": []})
    );
    server.send(retry("1")).await.problem(404, "not_found");
}

#[tokio::test]
async fn they_are_listed_in_pages() {
    let (engine, clock) = FaultyEngine::at_now();
    engine
        .letters
        .send_replace((1..=25).map(|id| letter(id * 2, "no such kind")).collect());
    let server = Server::over(engine.clone(), Limits::default(), clock).await;
    let first = server.get("/api/v2/dead-letters").await.ok();
    assert_eq!(first["items"].as_array().unwrap().len(), 20);
    assert_eq!(first["nextAfter"], 40);
    assert_eq!(
        first["items"][0],
        json!({"id": 2, "partition": 3, "seq": 1_795_132_800_000_002_u64,
            "at": "2026-11-20T00:00:00.000000Z", "reason": "no such kind", "event": "1:1:9 7 + 1"})
    );
    let rest = server.get("/api/v2/dead-letters?after=40").await.ok();
    assert_eq!(rest["items"].as_array().unwrap().len(), 5);
    assert!(rest.get("nextAfter").is_none());
    let whole = server.get("/api/v2/dead-letters?size=25").await.ok();
    assert!(
        whole.get("nextAfter").is_none(),
        "a full page may be the last"
    );
    assert_eq!(
        server.get("/api/v2/dead-letters?size=100").await.ok()["items"][24]["id"],
        50
    );
    for size in ["0", "101", "x"] {
        server
            .get(&format!("/api/v2/dead-letters?size={size}"))
            .await
            .bad("size");
    }
    server
        .get("/api/v2/dead-letters?after=-1")
        .await
        .bad("after");
    server.get("/api/v2/dead-letters?page=1").await.bad("page");
    engine.fail(Fault::Read(ReadError::Store("broken".to_owned())));
    server
        .get("/api/v2/dead-letters")
        .await
        .problem(500, "internal");
}

#[tokio::test]
async fn one_is_sent_again() {
    let (engine, clock) = FaultyEngine::at_now();
    engine
        .letters
        .send_replace(vec![letter(1, "no such kind"), letter(2, "")]);
    let server = Server::over(engine.clone(), Limits::default(), clock).await;
    let refused = server.send(retry("1")).await.ok();
    assert_eq!(
        refused,
        json!({"id": 1, "outcome": "refused", "reason": "no such kind"})
    );
    let applied = server.send(retry("2")).await.ok();
    assert_eq!(applied, json!({"id": 2, "outcome": "applied"}));
    server.send(retry("2")).await.problem(404, "not_found");
    server.send(retry("two")).await.bad("id");
    let audit = server.get("/api/v2/audit").await.ok();
    let written = audit["items"].as_array().unwrap();
    assert!(
        written.iter().any(|item| item["detail"] == "dead letter 2"),
        "{audit}"
    );
    engine.fail(Fault::Read(ReadError::Store("broken".to_owned())));
    server.send(retry("1")).await.problem(500, "internal");
    server
        .send(Request::new("DELETE", "/api/v2/dead-letters"))
        .await
        .problem(405, "method_not_allowed");
}
