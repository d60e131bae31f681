//! `POST /import`.

use std::io::Write as _;

use acclaim_http::Limits;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{Fault, FaultyEngine, Request, Server, json};
use serde_json::Value;

const NDJSON: &str = "application/x-ndjson";

fn import(content_type: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", "/api/v2/import").body(content_type, body)
}

fn line(user: u64, target: &str) -> String {
    format!(
        "{{\"kind\":\"likes\",\"userId\":{user},\"targetType\":\"IMPORTED\",\"targetId\":\"{target}\",\"at\":\"2024-05-01T00:00:{:02}.000000Z\"}}\n",
        user % 60
    )
}

#[tokio::test]
async fn times_become_places_and_nothing_doubles() {
    let server = Server::start().await;
    let target = server.fresh_id().to_string();
    let body: String = (1..=3).map(|user| line(user, &target)).collect();
    let first = server.send(import(NDJSON, body.clone())).await.ok();
    assert_eq!(
        first,
        json!({"lines": 3, "set": 3, "unchanged": 0, "rejected": 0, "rejections": []})
    );
    let again = server.send(import(NDJSON, body)).await.ok();
    assert_eq!(
        again,
        json!({"lines": 3, "set": 0, "unchanged": 3, "rejected": 0, "rejections": []})
    );
    let path = format!("/api/v2/likes/users?targetType=IMPORTED&targetId={target}");
    let users = server.get(&path).await.ok();
    assert_eq!(
        users["items"],
        json!([
            {"userId": 3, "at": "2024-05-01T00:00:03.000000Z"},
            {"userId": 2, "at": "2024-05-01T00:00:02.000000Z"},
            {"userId": 1, "at": "2024-05-01T00:00:01.000000Z"},
        ])
    );
}

#[tokio::test]
async fn bad_lines_are_told_and_harm_no_other() {
    let server = Server::start().await;
    let target = server.fresh_id().to_string();
    let future = line(1, &target).replace("2024", "2254");
    let body = [
        line(1, &target),
        "nonsense\n".to_owned(),
        line(2, &target).replace("likes", "claps"),
        future,
        line(7, "7")
            .replace("likes", "follows")
            .replace("IMPORTED", "USER"),
        line(8, "x").replace("likes", "follows"),
        "\n".to_owned(),
        line(3, &target),
    ]
    .concat();
    let reply = server.send(import(NDJSON, body)).await.ok();
    assert_eq!(reply["lines"], 7);
    assert_eq!(reply["set"], 2);
    assert_eq!(reply["rejected"], 5);
    let shown: Vec<_> = reply["rejections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["line"].as_u64().unwrap(), r["code"].as_str().unwrap()))
        .collect();
    let expected = [
        (2, "bad_request"),
        (3, "unknown_kind"),
        (4, "bad_request"),
        (5, "self_not_allowed"),
        (6, "target_type_not_allowed"),
    ];
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn only_the_first_hundred_rejections_are_shown() {
    let server = Server::start().await;
    let reply = server.send(import(NDJSON, "x\n".repeat(250))).await.ok();
    assert_eq!(reply["rejected"], 250);
    assert_eq!(reply["rejections"].as_array().unwrap().len(), 100);
    assert_eq!(reply["rejections"][99]["line"], 100);
}

#[tokio::test]
async fn csv_is_read_by_its_header_with_defaults() {
    let server = Server::start().await;
    let target = server.fresh_id();
    let body = format!("targetId,userId\n{target},1\n{target},2\n");
    let request = Request::new("POST", "/api/v2/import?kind=likes&targetType=IMPORTED");
    let reply = server
        .send(request.body("text/csv; charset=utf-8", body))
        .await
        .ok();
    assert_eq!(reply["set"], 2);
    let bad = import("text/csv", "who,what\n1,2\n");
    server.send(bad).await.problem(400, "bad_request");
    let request = Request::new("POST", "/api/v2/import?kind=claps").body("text/csv", "");
    server.send(request).await.problem(404, "unknown_kind");
    let request = Request::new("POST", "/api/v2/import?targetType=x").body("text/csv", "");
    server.send(request).await.bad("targetType");
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn gzip_is_unpacked() {
    let server = Server::start().await;
    let target = server.fresh_id().to_string();
    let body: String = (1..=500).map(|user| line(user, &target)).collect();
    let whole = packed(&body);
    let request = import(NDJSON, whole.clone()).header("content-encoding", "gzip");
    assert_eq!(server.send(request).await.ok()["set"], 500);
    let cut = import(NDJSON, &whole[..whole.len() / 2]).header("content-encoding", "gzip");
    server.send(cut).await.problem(400, "bad_request");
    let other = import(NDJSON, whole).header("content-encoding", "br");
    let (_, field) = server
        .send(other)
        .await
        .problem(415, "unsupported_media_type");
    assert_eq!(field.as_deref(), Some("content-encoding"));
}

#[tokio::test]
async fn the_body_has_no_limit_and_batches_are_cut() {
    let limits = Limits {
        max_body_bytes: 1_000,
        import_batch_ops: 7,
        max_import_batches_in_flight: 2,
        ..Limits::default()
    };
    let server = Server::with_limits(limits).await.alone();
    let body: String = (1..=300).map(|user| line(user, "t")).collect();
    assert!(body.len() > 1_000);
    // In chunks that end in the middle of lines.
    let mut connection = server.connect().await;
    connection
        .write(b"POST /api/v2/import HTTP/1.1\r\nhost: t\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    for piece in body.as_bytes().chunks(333) {
        connection
            .write(format!("{:x}\r\n", piece.len()).as_bytes())
            .await;
        connection.write(piece).await;
        connection.write(b"\r\n").await;
    }
    connection.write(b"0\r\n\r\n").await;
    let reply = connection.reply().await.ok();
    assert_eq!(reply["set"], 300);
    let metrics = server.get("/metrics").await.text();
    assert!(
        metrics.contains("acclaim_import_lines_total 300"),
        "{metrics}"
    );
}

#[tokio::test]
async fn other_media_types_are_refused() {
    let server = Server::start().await;
    for name in ["application/json", "text/plain", "multipart/form-data"] {
        server
            .send(import(name, ""))
            .await
            .problem(415, "unsupported_media_type");
    }
    server
        .send(Request::new("POST", "/api/v2/import"))
        .await
        .problem(415, "unsupported_media_type");
    let empty: Value = server.send(import(NDJSON, "")).await.ok();
    assert_eq!(empty["lines"], 0);
}

#[tokio::test]
async fn an_engine_that_stops_ends_the_import() {
    let (engine, clock) = FaultyEngine::at_now();
    engine.fail(Fault::Write(acclaim_core::WriteError::Stopping));
    let server = Server::over(engine, Limits::default(), clock).await;
    server
        .send(import(NDJSON, line(1, "t")))
        .await
        .problem(503, "unavailable");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let limits = Limits {
        body_timeout_millis: 50,
        ..Limits::default()
    };
    let server = Server::with_limits(limits).await;
    let mut connection = server.connect().await;
    let bytes = import(NDJSON, line(1, "t")).bytes();
    connection.write(&bytes[..bytes.len() - 9]).await;
    connection.reply().await.problem(400, "bad_request");
}
