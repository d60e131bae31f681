//! `acclaim bench`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod program;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use program::{Server, run};

fn bench(url: &str, more: &[&str]) -> (i32, serde_json::Value) {
    let flags = [
        "--seconds",
        "1",
        "--connections",
        "4",
        "--users",
        "50",
        "--targets",
        "20",
    ];
    let ran = run(&[&["bench", url, "--json"], &flags[..], more].concat());
    let report = serde_json::from_str(&ran.out);
    (
        ran.code,
        report.unwrap_or_else(|_| panic!("{}{}", ran.out, ran.err)),
    )
}

#[test]
fn writes_ask_for_an_acknowledgement() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"), &[]);
    let (code, report) = bench(&server.url, &["--scenario", "batch", "--ack", "ledger"]);
    assert_eq!(
        (code, &report["errors"]),
        (0, &serde_json::json!({})),
        "{report}"
    );
    let refused = run(&["bench", &server.url, "--ack", "sure"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(
        refused.err.contains("none of redis, replica, ledger"),
        "{}",
        refused.err
    );
}

#[test]
fn every_scenario_runs_and_writes_are_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"), &[]);
    for (scenario, writes) in [
        ("toggle", true),
        ("set", true),
        ("hot", true),
        ("batch", true),
        ("status", false),
        ("count", false),
        ("feed", false),
    ] {
        let (code, report) = bench(&server.url, &["--scenario", scenario, "--skew", "1.1"]);
        assert_eq!(code, 0, "{report}");
        assert_eq!(report["scenario"], scenario);
        assert!(report["requests"].as_u64().unwrap() > 0, "{report}");
        assert_eq!(report["errors"], serde_json::json!({}));
        let latency = &report["latencyMicros"];
        assert!(
            latency["p50"].as_f64() > Some(0.0)
                && latency["p50"].as_f64() <= latency["max"].as_f64()
        );
        assert_eq!(report["verified"].is_object(), writes, "{report}");
        if writes {
            assert!(
                report["verified"]["edges"].as_u64().unwrap() > 0,
                "{report}"
            );
            assert_eq!(report["verified"]["wrong"], 0, "{report}");
        }
    }
}

#[test]
fn an_open_load_keeps_to_its_rate() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"), &[]);
    let (code, report) = bench(&server.url, &["--scenario", "count", "--rate", "100"]);
    assert_eq!(code, 0, "{report}");
    let requests = report["requests"].as_u64().unwrap();
    assert_eq!(
        requests + report["unsent"].as_u64().unwrap(),
        100,
        "{report}"
    );
    assert_eq!(report["rateDue"], 100);
}

/// A server that says of every write that it is done, and of every edge that it is not there.
fn forgetful() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer_all(stream));
        }
    });
    url
}

fn answer_all(mut stream: std::net::TcpStream) {
    let mut buffer = [0; 65_536];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        let request = String::from_utf8_lossy(&buffer[..read]);
        let body = if request.contains("/batch/status") {
            let items = vec![r#"{"active":false,"count":0}"#; request.matches("targetId").count()];
            format!("{{\"items\":[{}]}}", items.join(","))
        } else {
            r#"{"active":true,"changed":true,"count":1,"rev":1}"#.to_owned()
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_write_that_is_not_there_is_found() {
    let (code, report) = bench(&forgetful(), &["--scenario", "set"]);
    assert_eq!(code, 1);
    assert!(report["verified"]["edges"].as_u64().unwrap() > 0);
    assert_eq!(report["verified"]["wrong"], report["verified"]["edges"]);
}

#[test]
fn errors_are_counted_by_kind() {
    let dir = tempfile::tempdir().unwrap();
    let config = program::file(
        dir.path(),
        "c.toml",
        "[kinds.likes]\ntarget_types = [\"POST\"]\n",
    );
    let server = Server::start(&dir.path().join("data"), &["--config", &config]);
    let (code, report) = bench(&server.url, &["--scenario", "count"]);
    assert_eq!(code, 1);
    assert!(
        report["errors"]["422 target_type_not_allowed"]
            .as_u64()
            .unwrap()
            > 0,
        "{report}"
    );
    assert_eq!(report["requests"], 0);
}

#[test]
fn what_cannot_run_says_why() {
    for (args, word) in [
        (&["bench", "http://127.0.0.1:1"][..], "127.0.0.1:1"),
        (&["bench", "https://127.0.0.1:1"], "http://"),
        (&["bench", "http://127.0.0.1:1", "--skew", "-1"], "0 to 10"),
        (
            &[
                "bench",
                "http://127.0.0.1:1",
                "--threads",
                "2",
                "--connections",
                "1",
            ],
            "2 threads",
        ),
    ] {
        let ran = run(args);
        assert_eq!(ran.code, 2, "{args:?}");
        assert!(ran.err.contains(word), "{args:?}: {}", ran.err);
    }
}
