//! `acclaim backup`, `acclaim restore` and `acclaim check`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod program;

use std::os::unix::fs::PermissionsExt as _;

use program::{Server, file, path, run, sorted};

const LINES: &str = "userId,targetId\n1,2\n1,3\n2,2\n";

fn import(dir: &std::path::Path, place: [&str; 2]) {
    let csv = file(dir, "a.csv", LINES);
    let defaults = ["--kind", "likes", "--target-type", "POST"];
    let ran = run(&[&["import", &csv], &place[..], &defaults[..]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
}

fn export(place: [&str; 2]) -> String {
    let ran = run(&[&["export", "--kind", "likes"], &place[..]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.out
}

#[test]
fn a_backup_of_a_running_server_restores_to_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(dir.path(), "data");
    let server = Server::start(&dir.path().join("data"), &[]);
    import(dir.path(), ["--server", &server.url]);
    let socket = std::fs::metadata(dir.path().join("data/control.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);

    let backup = path(dir.path(), "backup");
    let ran = run(&["backup", &backup, "--data", &data]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains(&backup), "{}", ran.out);
    let ran = run(&["backup", &backup, "--data", &data]);
    assert_eq!(ran.code, 2, "the directory is not empty");
    assert!(ran.err.contains(&backup), "{}", ran.err);

    let restored = path(dir.path(), "restored");
    let ran = run(&["restore", &backup, "--data", &restored]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let (before, after) = (
        export(["--server", &server.url]),
        export(["--data", &restored]),
    );
    assert_eq!(sorted(&before), sorted(&after));
    assert_eq!(after.lines().count(), 3);
    assert_eq!(run(&["check", "--data", &restored]).code, 0);
    let ran = run(&["restore", &backup, "--data", &restored]);
    assert_eq!(ran.code, 2, "the directory is not empty");
}

#[test]
fn a_store_without_a_server_is_copied_too() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(dir.path(), "data");
    import(dir.path(), ["--data", &data]);
    let backup = path(dir.path(), "backup");
    assert_eq!(run(&["backup", &backup, "--data", &data]).code, 0);
    let restored = path(dir.path(), "restored");
    assert_eq!(run(&["restore", &backup, "--data", &restored]).code, 0);
    assert_eq!(export(["--data", &data]), export(["--data", &restored]));
}

#[test]
fn a_server_that_was_killed_leaves_a_socket_that_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(dir.path(), "data");
    let server = Server::start(&dir.path().join("data"), &[]);
    import(dir.path(), ["--server", &server.url]);
    let (status, _, _) = server.stop("-KILL");
    assert_eq!(status.code(), None);
    assert!(dir.path().join("data/control.sock").exists());
    let backup = path(dir.path(), "backup");
    let ran = run(&["backup", &backup, "--data", &data]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let server = Server::start(&dir.path().join("data"), &[]);
    assert_eq!(export(["--server", &server.url]).lines().count(), 3);
    assert_eq!(
        run(&["backup", &path(dir.path(), "b2"), "--data", &data]).code,
        0
    );
}

#[test]
fn a_clean_store_has_no_findings() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(dir.path(), "data");
    import(dir.path(), ["--data", &data]);
    for more in [&[][..], &["--repair"][..]] {
        let ran = run(&[&["check", "--data", &data], more].concat());
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
        assert!(ran.err.contains("mismatches 0"), "{}", ran.err);
    }
}

#[test]
fn what_is_not_there_or_in_use_cannot_be_checked() {
    let dir = tempfile::tempdir().unwrap();
    let missing = path(dir.path(), "missing");
    for command in [&["check"][..], &["backup", &path(dir.path(), "b")]] {
        let ran = run(&[command, &["--data", &missing]].concat());
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("missing"), "{}", ran.err);
    }
    let ran = run(&["restore", &missing, "--data", &path(dir.path(), "new")]);
    assert_eq!(ran.code, 2);
    let data = path(dir.path(), "data");
    let _server = Server::start(&dir.path().join("data"), &[]);
    let ran = run(&["check", "--data", &data]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("in use"), "{}", ran.err);
}
