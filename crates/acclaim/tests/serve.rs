//! `acclaim serve`.

mod program;

use std::time::Duration;

use program::{Server, acclaim, file, finish, path, run};

#[test]
fn the_line_on_standard_output_says_where_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"), &[]);
    assert!(
        server
            .line
            .starts_with("acclaim listening on http://127.0.0.1:")
    );
    assert!(!server.url.ends_with(":0"));
    assert!(server.get("/health").starts_with("HTTP/1.1 200"));
    assert!(server.get("/ready").contains("\"engine\":\"embedded\""));
    assert!(server.get("/metrics").contains("acclaim_"));
}

#[test]
fn signals_end_it_well() {
    for signal in ["-TERM", "-INT"] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(&dir.path().join("data"), &[]);
        let (status, took, err) = server.stop(signal);
        assert_eq!(status.code(), Some(0), "{err}");
        assert!(took < Duration::from_secs(10));
        assert!(!dir.path().join("data/control.sock").exists());
    }
}

#[test]
fn logs_are_json_or_text() {
    let dir = tempfile::tempdir().unwrap();
    let (_, _, err) = Server::start(&dir.path().join("a"), &[]).stop("-TERM");
    assert!(!err.is_empty());
    for line in err.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["message"].is_string());
    }
    let text = ["--log-format", "text"];
    let (_, _, err) = Server::start(&dir.path().join("b"), &text).stop("-TERM");
    assert!(err.contains(" INFO ") && err.contains("stopping"), "{err}");
    let quiet = ["--log-level", "error"];
    let (_, _, err) = Server::start(&dir.path().join("c"), &quiet).stop("-TERM");
    assert_eq!(err, "");
}

#[test]
fn other_than_loopback_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(dir.path(), "data");
    let ran = run(&["serve", "--listen", "0.0.0.0:0", "--data", &data]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("0.0.0.0:0"), "{}", ran.err);
    assert!(!dir.path().join("data").exists());
}

#[test]
fn a_port_in_use_is_named_before_the_store_is_touched() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let data = path(dir.path(), "data");
    let ran = run(&["serve", "--listen", &listen, "--data", &data]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains(&listen), "{}", ran.err);
    assert!(!dir.path().join("data").exists());
}

#[test]
fn a_directory_has_one_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data, &[]);
    let ran = run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data",
        data.to_str().unwrap(),
    ]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("in use"), "{}", ran.err);
    assert!(server.get("/health").starts_with("HTTP/1.1 200"));
}

#[test]
fn the_configuration_file_makes_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(
        dir.path(),
        "acclaim.toml",
        "[kinds.claps]\ntarget_types = [\"POST\"]\n",
    );
    let server = Server::start(&dir.path().join("data"), &["--config", &config]);
    let answer = server.get("/api/v2/claps/count?targetType=POST&targetId=1");
    assert!(answer.contains("\"count\":0"), "{answer}");
    assert!(
        server
            .get("/api/v2/boos/count?targetType=POST&targetId=1")
            .contains("unknown_kind")
    );
}

#[test]
fn a_configuration_that_cannot_be_used_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(
        dir.path(),
        "acclaim.toml",
        "[server]\nlistne = \"127.0.0.1:0\"\n",
    );
    let ran = run(&["serve", "--config", &config]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("did you mean server.listen?"),
        "{}",
        ran.err
    );
    let ran = finish(acclaim(&["serve"]).env("ACCLAIM_HTTP__MAX_CONNECTIONS", "none"));
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("ACCLAIM_HTTP__MAX_CONNECTIONS"),
        "{}",
        ran.err
    );
}

#[test]
fn a_loss_is_refused_until_it_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data_text = data.to_str().unwrap();
    // The first import fills an empty store past the log; the second one is in the log.
    for user in [1, 2] {
        let edge = format!(
            "{{\"kind\":\"likes\",\"userId\":{user},\"targetType\":\"POST\",\"targetId\":1}}\n"
        );
        let lines = file(dir.path(), "one.ndjson", &edge);
        let imported = run(&["import", &lines, "--data", data_text]);
        assert_eq!(imported.code, 0, "{}", imported.err);
    }
    for segment in std::fs::read_dir(data.join("log")).unwrap() {
        std::fs::remove_file(segment.unwrap().path()).unwrap();
    }
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data_text];
    let refused = run(&serve);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("was acknowledged"), "{}", refused.err);
    assert!(refused.err.contains("--accept-loss"), "{}", refused.err);
    let server = Server::start(&data, &["--accept-loss"]);
    assert!(server.get("/ready").contains("\"ready\":true"));
}
