//! `GET /health`, `GET /ready`.

use acclaim_http::Limits;

use crate::support::{Fault, FaultyEngine, Request, Server, json};

#[tokio::test]
async fn the_process_lives() {
    let server = Server::start().await;
    assert_eq!(server.get("/health").await.ok(), json!({"status": "alive"}));
    let head = server.send(Request::new("HEAD", "/health")).await;
    assert_eq!(head.status, 200);
}

#[tokio::test]
async fn ready_says_what_an_acknowledgement_survives() {
    let server = Server::start().await;
    let ready = server.get("/ready").await.ok();
    assert_eq!(ready["ready"], true);
    for field in ["engine", "version", "guarantee"] {
        assert!(!ready[field].as_str().unwrap().is_empty(), "{field}");
    }
    assert!(ready["dependencies"].is_array());
    assert_eq!(ready["backlogEvents"], 0);
    assert_eq!(ready["backlogSeconds"], 0.0);
}

#[tokio::test]
async fn an_engine_that_is_not_ready_is_a_503() {
    let (engine, clock) = FaultyEngine::at_now();
    engine.fail(Fault::NotReady);
    let server = Server::over(engine, Limits::default(), clock).await;
    assert_eq!(server.get("/ready").await.json(503)["ready"], false);
    server.get("/health").await.ok();
}
