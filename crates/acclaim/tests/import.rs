//! `acclaim import` and `acclaim export`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod program;

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use program::{Server, acclaim, file, path, run, run_with_input, sorted};

/// Where a test imports to and exports from: a directory or a server.
enum Place {
    Data(String),
    Server(Server),
}

impl Place {
    fn both(dir: &Path) -> [Self; 2] {
        let data = path(dir, "data");
        [
            Self::Data(data),
            Self::Server(Server::start(&dir.join("served"), &[])),
        ]
    }

    fn flags(&self) -> [&str; 2] {
        match self {
            Self::Data(data) => ["--data", data],
            Self::Server(server) => ["--server", &server.url],
        }
    }

    fn import(&self, more: &[&str]) -> program::Ran {
        run(&[&["import"], more, &self.flags()].concat())
    }

    fn export(&self, kind: &str, more: &[&str]) -> String {
        let ran = run(&[&["export", "--kind", kind], more, &self.flags()].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.out
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn csv_and_ndjson_are_taken_once() {
    let dir = tempfile::tempdir().unwrap();
    let csv = file(
        dir.path(),
        "a.csv.gz",
        gzip("userId,targetId\n1,2\n1,3\nx:1,2\n1,2\n"),
    );
    let line = r#"{"kind":"follows","userId":1,"targetType":"USER","targetId":2,"at":"2026-01-02T03:04:05Z"}"#;
    let ndjson = file(dir.path(), "b", line);
    for place in Place::both(dir.path()) {
        let defaults = ["--kind", "likes", "--target-type", "POST"];
        let ran = place.import(&[&[csv.as_str(), &ndjson], &defaults[..]].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let lines: Vec<&str> = ran.out.lines().collect();
        let expected = format!("{csv}: 4 lines, 3 new, 1 already there, 0 rejected");
        assert_eq!(lines[0], expected);
        assert_eq!(
            lines[2],
            "all files: 5 lines, 4 new, 1 already there, 0 rejected"
        );

        let again = place.import(&[&[csv.as_str(), &ndjson], &defaults[..]].concat());
        assert!(
            again
                .out
                .contains("all files: 5 lines, 0 new, 5 already there, 0 rejected")
        );
        let follows = place.export("follows", &["--format", "csv"]);
        let expected = "kind,userId,targetType,targetId,at\n\
                        follows,1,USER,2,2026-01-02T03:04:05.000000Z\n";
        assert_eq!(follows, expected);
        assert_eq!(place.export("likes", &[]).lines().count(), 3);
    }
}

#[test]
fn rejected_lines_are_written_down_with_number_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = "userId,targetType,targetId,kind\n1,POST,2,likes\n".to_owned();
    // More than an answer of the server names.
    for n in 0..250 {
        text.push_str(&format!("{n},POST,{n},boos\n"));
    }
    text.push_str("1,USER,1,follows\n1,POST,1,follows\n1,post,1,likes\n1\n2,POST,2,likes\n");
    let csv = file(dir.path(), "a.csv", text);
    let rejects = format!("{csv}.rejected.ndjson");
    let mut written = Vec::new();
    for place in Place::both(dir.path()) {
        let ran = place.import(&[&csv]);
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(
            ran.out
                .contains("256 lines, 2 new, 0 already there, 254 rejected"),
            "{}",
            ran.out
        );
        assert!(ran.err.contains(&rejects), "{}", ran.err);
        let text = std::fs::read_to_string(&rejects).unwrap();
        let lines: Vec<(u64, String)> = text
            .lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(!line["detail"].as_str().unwrap().is_empty());
                (
                    line["line"].as_u64().unwrap(),
                    line["code"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        assert_eq!(lines.len(), 254);
        assert_eq!(lines[0], (3, "unknown_kind".to_owned()));
        let last: Vec<(u64, &str)> = lines[250..].iter().map(|(n, c)| (*n, c.as_str())).collect();
        let expected = [
            (253, "self_not_allowed"),
            (254, "target_type_not_allowed"),
            (255, "bad_request"),
            (256, "bad_request"),
        ];
        assert_eq!(last, expected);
        written.push(lines);
    }
    assert_eq!(written[0], written[1]);

    let place = Place::Data(path(dir.path(), "data"));
    std::fs::write(&csv, "userId,targetType,targetId,kind\n1,POST,2,likes\n").unwrap();
    assert_eq!(place.import(&[&csv]).code, 0);
    assert!(
        !Path::new(&rejects).exists(),
        "what an earlier run left is not this one's"
    );
}

#[test]
fn an_empty_store_takes_all_files_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(dir.path(), "data");
    let first = file(dir.path(), "first.csv", "userId,targetId\n1,1\n1,2\n1,1\n");
    let second = file(dir.path(), "second.csv", "userId,targetId\n1,2\n1,3\n");
    let bad = file(dir.path(), "bad.csv", "userId,color\n");
    let import = |files: &[&str]| {
        let flags = ["--data", &data, "--kind", "likes", "--target-type", "POST"];
        run(&[&["import"], files, &flags[..]].concat())
    };
    for more in [&bad, &path(dir.path(), "missing.csv")] {
        let ran = import(&[&first, more]);
        assert_eq!((ran.code, &*ran.out), (2, ""));
        assert!(ran.err.contains("nothing is imported"), "{}", ran.err);
        assert!(ran.err.contains(more), "{}", ran.err);
        let exported = run(&["export", "--kind", "likes", "--data", &data]);
        assert_eq!((exported.code, &*exported.out), (0, ""));
    }
    let ran = import(&[&first, &second]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let expected = format!(
        "{first}: 3 lines, 2 new, 1 already there, 0 rejected\n\
         {second}: 2 lines, 1 new, 1 already there, 0 rejected\n\
         all files: 5 lines, 3 new, 2 already there, 0 rejected\n"
    );
    assert_eq!(ran.out, expected);
    // Not empty any more: the files before one that fails are kept.
    let third = file(dir.path(), "third.csv", "userId,targetId\n1,3\n1,4\n");
    let ran = import(&[&third, &bad]);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("1 new, 1 already there"), "{}", ran.out);
    let exported = run(&["export", "--kind", "likes", "--data", &data]);
    assert_eq!(exported.out.lines().count(), 4);
    let checked = run(&["check", "--data", &data]);
    assert_eq!(checked.code, 0, "{}", checked.out);
}

#[test]
fn an_empty_store_stays_empty_when_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(dir.path(), "data");
    for signal in ["-INT", "-TERM"] {
        let mut child = acclaim(&["import", "-", "--data", &data])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all("{}\n".repeat(6_000).as_bytes()).unwrap();
        let rejects = dir.path().join("stdin.rejected.ndjson");
        // The first lines are taken, so it listens to signals; and it waits for more.
        while !rejects.exists() {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::yield_now();
        }
        let pid = child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([signal, &pid])
            .status();
        assert!(sent.unwrap().success());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains("nothing is imported"), "{err}");
        assert!(err.contains("interrupted"), "{err}");
        assert!(!Path::new(&data).join("base").exists());
        std::fs::remove_file(rejects).unwrap();
    }
    let good = file(dir.path(), "good.csv", "userId,targetId\n1,1\n");
    let flags = ["--data", &data, "--kind", "likes", "--target-type", "POST"];
    assert_eq!(run(&[&["import", &good], &flags[..]].concat()).code, 0);
}

#[test]
fn events_begin_after_what_an_empty_store_was_filled_with() {
    let dir = tempfile::tempdir().unwrap();
    let likes = file(dir.path(), "likes.csv", "userId,targetId\n1,1\n");
    let flags = ["--kind", "likes", "--target-type", "POST"];
    let data = path(dir.path(), "data");
    let ran = run(&[&["import", &likes, "--data", &data], &flags[..]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let server = Server::start(Path::new(&data), &[]);
    let answer = server.get("/api/v2/events?lastEventId=1");
    assert!(answer.contains("bad_cursor"), "{answer}");
    let count = server.get("/api/v2/likes/count?targetType=POST&targetId=1");
    assert!(count.contains("\"count\":1"), "{count}");
}

#[test]
fn standard_input_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(dir.path(), "data");
    let line = "{\"kind\":\"likes\",\"userId\":1,\"targetType\":\"POST\",\"targetId\":2}\n{}\n";
    let ran = run_with_input(&["import", "-", "--data", &data], dir.path(), line);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.out
            .starts_with("standard input: 2 lines, 1 new, 0 already there, 1 rejected")
    );
    assert!(dir.path().join("stdin.rejected.ndjson").exists());
}

#[test]
fn an_export_imported_into_an_empty_store_gives_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for n in 0..12_000_u64 {
        let (user, target) = (n % 700, n % 1_201);
        let id = if n % 3 == 0 {
            format!("u-{target}")
        } else {
            target.to_string()
        };
        text.push_str(&format!(
            "{{\"kind\":\"likes\",\"userId\":{user},\"targetType\":\"POST\",\"targetId\":\"{id}\",\
             \"at\":\"2026-01-01T00:00:{:02}.{:06}Z\"}}\n",
            n % 60,
            n
        ));
    }
    let source = file(dir.path(), "source.ndjson", text);
    let [data, served] = Place::both(dir.path());
    assert_eq!(data.import(&[&source]).code, 0);
    let first = data.export("likes", &[]);
    for (place, format, name) in [
        (&served, "ndjson", "first.ndjson"),
        (&Place::Data(path(dir.path(), "third")), "csv", "first.csv"),
    ] {
        let exported = data.export("likes", &["--format", format]);
        let exported = file(dir.path(), name, exported);
        let ran = place.import(&[&exported]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let second = place.export("likes", &[]);
        assert!(sorted(&first) == sorted(&second), "{format}");
        let csv = place.export("likes", &["--format", "csv"]);
        assert_eq!(csv.lines().count(), first.lines().count() + 1);
    }
}

#[test]
fn what_cannot_run_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(dir.path(), "data");
    let missing = path(dir.path(), "missing.csv");
    let ran = run(&["import", &missing, "--data", &data]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("missing.csv"), "{}", ran.err);
    let header = file(dir.path(), "header.csv", "userId,color\n1,2\n");
    let ran = run(&["import", &header, "--data", &data]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("\"color\""), "{}", ran.err);
    assert_eq!(run(&["import", &header]).code, 2, "no place was given");
    let ran = run(&["import", &header, "--data", &data, "--kind", "boos"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("likes, follows"), "{}", ran.err);
    let ran = run(&["import", &header, "--server", "http://127.0.0.1:1"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("127.0.0.1:1"), "{}", ran.err);

    let server = Server::start(&dir.path().join("served"), &[]);
    let served = path(dir.path(), "served");
    let good = file(dir.path(), "good.csv", "userId,targetId\n");
    let ran = run(&[
        "import",
        &good,
        "--data",
        &served,
        "--kind",
        "likes",
        "--target-type",
        "POST",
    ]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--server"), "{}", ran.err);
    let ran = run(&["export", "--kind", "boos", "--server", &server.url]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("unknown_kind"), "{}", ran.err);
    let ran = run(&["export", "--kind", "likes", "--data", &missing]);
    assert_eq!(ran.code, 2);
    assert!(!Path::new(&missing).exists());
}

#[test]
fn a_reader_of_an_export_may_go_away() {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..20_000).map(|n| format!("{n},{n}\n")).collect();
    let csv = file(dir.path(), "a.csv", format!("userId,targetId\n{lines}"));
    let data = path(dir.path(), "data");
    let defaults = ["--kind", "likes", "--target-type", "POST"];
    assert_eq!(
        run(&[&["import", &csv, "--data", &data], &defaults[..]].concat()).code,
        0
    );
    let mut child = acclaim(&["export", "--kind", "likes", "--data", &data])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
