//! `POST /import` with `Prefer: respond-async`.

use std::io::Write as _;
use std::time::Duration;

use acclaim_core::{JobError, WriteError};
use acclaim_http::Limits;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{Fault, FaultyEngine, Reply, Request, Server, json};
use serde_json::Value;

const NDJSON: &str = "application/x-ndjson";

fn import(content_type: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", "/api/v2/import").body(content_type, body)
}

fn import_job(content_type: &str, body: impl Into<Vec<u8>>) -> Request {
    import(content_type, body).header("prefer", "respond-async")
}

/// Good lines and bad ones, for a target of the test's own.
fn lines(target: u64) -> String {
    let line = |user: u64| match user % 5 {
        4 => format!("{{\"userId\":{user}}}\n"),
        _ => format!(
            "{{\"kind\":\"likes\",\"userId\":{},\"targetType\":\"JOB\",\"targetId\":{target},\"at\":\"2024-05-01T00:00:00Z\"}}\n",
            user % 30
        ),
    };
    (0..100).map(line).collect()
}

/// The job behind a 202, once it has ended.
async fn ended(server: &Server, reply: &Reply) -> Value {
    let id = reply.json(202)["id"].as_u64().unwrap();
    assert_eq!(reply.header("preference-applied"), Some("respond-async"));
    let place = reply.header("location").unwrap();
    assert_eq!(place, format!("/api/v2/jobs/{id}"));
    loop {
        let job = server.get(place).await.ok();
        match job["state"].as_str().unwrap() {
            "queued" | "running" => tokio::task::yield_now().await,
            _ => return job,
        }
    }
}

#[tokio::test]
async fn the_job_ends_with_the_summary_of_a_stream() {
    let server = Server::start().await;
    let text = lines(server.fresh_id());
    let reply = server.send(import_job(NDJSON, text.clone())).await;
    let job = ended(&server, &reply).await;
    assert_eq!(job["state"], "done");
    assert_eq!(job["job"], "import application/x-ndjson");
    assert_eq!(
        (&job["done"], &job["total"]),
        (&json!(text.len()), &json!(text.len()))
    );
    let reply = server.send(import(NDJSON, lines(server.fresh_id()))).await;
    assert_eq!(reply.header("preference-applied"), None);
    assert_eq!(job["import"], reply.ok());
    let again = server.send(import_job(NDJSON, text)).await;
    let again = ended(&server, &again).await;
    assert_eq!(again["import"]["set"], 0);
    assert_eq!(again["import"]["unchanged"], 80);
    let audit = server.get("/api/v2/audit").await.ok();
    let items = audit["items"].as_array().unwrap();
    assert!(
        items
            .iter()
            .any(|item| item["detail"] == "application/x-ndjson as a job")
    );
}

#[tokio::test]
async fn csv_and_gzip_and_defaults_are_as_in_a_stream() {
    let server = Server::start().await;
    let target = server.fresh_id();
    let text = format!("userId,targetId\n1,{target}\n2,{target}\n");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let request = Request::new("POST", "/api/v2/import?kind=likes&targetType=JOB")
        .header("prefer", "wait=5, Respond-Async")
        .header("content-encoding", "gzip");
    let whole = request
        .clone()
        .body("text/csv; charset=utf-8", packed.clone());
    let job = ended(&server, &server.send(whole).await).await;
    assert_eq!(job["import"]["set"], 2);
    assert_eq!(job["total"], text.len());
    let cut = request.body("text/csv", &packed[..packed.len() / 2]);
    server.send(cut).await.problem(400, "bad_request");
    let unusable = import_job("text/csv", "who,what\n1,2\n");
    let job = ended(&server, &server.send(unusable).await).await;
    assert_eq!(job["state"], "failed");
    assert!(job["error"].as_str().unwrap().contains("who"));
}

#[tokio::test]
async fn what_a_stream_refuses_a_job_refuses() {
    let server = Server::start().await;
    server
        .send(import_job("application/json", ""))
        .await
        .problem(415, "unsupported_media_type");
    let request = Request::new("POST", "/api/v2/import?kind=claps").body(NDJSON, "");
    let request = request.header("prefer", "respond-async");
    server.send(request).await.problem(404, "unknown_kind");
}

#[tokio::test]
async fn a_text_that_cannot_be_kept_is_no_job() {
    let full = WriteError::Unavailable {
        reason: "the disk is full".to_owned(),
        retry_after: Duration::from_secs(5),
    };
    let faults = [
        (JobError::Write(full), 503, "unavailable"),
        (JobError::TooLarge { limit: 9 }, 413, "payload_too_large"),
        (
            JobError::SpoolsFull { held: 9, limit: 9 },
            503,
            "overloaded",
        ),
        (JobError::Spool("secret/path".to_owned()), 500, "internal"),
    ];
    let (engine, clock) = FaultyEngine::at_now();
    let server = Server::over(engine.clone(), Limits::default(), clock).await;
    for (error, status, code) in faults {
        engine.fail(Fault::Spool(error));
        let reply = server.send(import_job(NDJSON, lines(1))).await;
        let (detail, _) = reply.problem(status, code);
        assert!(!detail.contains("secret"), "{detail}");
        assert_eq!(*engine.spools.borrow(), 0);
    }
    engine.fail(Fault::Jobs);
    let reply = server.send(import_job(NDJSON, lines(1))).await;
    reply.problem(503, "overloaded");
    server.get("/api/v2/jobs/1").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let (engine, clock) = FaultyEngine::at_now();
    let server = Server::over(engine.clone(), Limits::default(), clock).await;
    let mut spools = engine.spools.subscribe();
    let mut connection = server.connect().await;
    let bytes = import_job(NDJSON, lines(1)).bytes();
    connection.write(&bytes[..bytes.len() - 9]).await;
    spools.wait_for(|spools| *spools == 1).await.unwrap();
    drop(connection);
    spools.wait_for(|spools| *spools == 0).await.unwrap();
    server.get("/api/v2/jobs/1").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_body_that_stops_coming_leaves_nothing() {
    let limits = Limits {
        body_timeout_millis: 50,
        ..Limits::default()
    };
    let (engine, clock) = FaultyEngine::at_now();
    let server = Server::over(engine.clone(), limits, clock).await;
    let mut connection = server.connect().await;
    let bytes = import_job(NDJSON, lines(1)).bytes();
    connection.write(&bytes[..bytes.len() - 9]).await;
    connection.reply().await.problem(400, "bad_request");
    let mut spools = engine.spools.subscribe();
    spools.wait_for(|spools| *spools == 0).await.unwrap();
    server.get("/api/v2/jobs/1").await.problem(404, "not_found");
}
