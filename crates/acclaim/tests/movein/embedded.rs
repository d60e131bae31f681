//! From an embedded store.

use crate::program::{Server, run, sorted};
use crate::stage::{Stage, body, ok, toggle};

/// What must be the same on both sides of a move.
fn same(a: &Server, b: &Server) {
    for path in [
        "users?targetType=POST&targetId=1",
        "users?targetType=POST&targetId=2",
        "targets?userId=1",
        "statistics?userId=2",
        "ranking?targetType=POST&window=hour",
        "ranking?targetType=POST&window=month",
        "ranking?targetType=POST&window=all",
        "daily?days=3",
        "daily?days=3&targetType=POST",
    ] {
        let path = format!("/api/v2/likes/{path}");
        assert_eq!(body(a, &path), body(b, &path), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_store_moves_in_whole() {
    let stage = Stage::open().await;
    let data = stage.dir.path().join("acclaim-data");
    let import = "acclaim import --from-embedded ./acclaim-data --config acclaim.toml";
    let old = Server::start(&data, &[]);
    for user in 1..=20 {
        toggle(&old, user, 1);
        if user % 3 == 0 {
            // Taken back, and for some given again: more transitions than edges.
            toggle(&old, user, 1);
            toggle(&old, user, 2);
        }
        if user % 6 == 0 {
            toggle(&old, user, 1);
        }
    }
    let ran = stage.documented(import, &[]);
    assert_eq!(ran.code, 2, "a server runs on it: {}", ran.out);
    let (status, _, err) = old.stop("-TERM");
    assert_eq!(status.code(), Some(0), "{err}");
    ok(
        &stage.documented(import, &[]),
        "23 lines, 23 new, 0 already there",
    );
    let old = Server::start(&data, &[]);
    let new = stage.serve("acclaim.toml");
    same(&old, &new);
    // The old one goes on for a while: a new edge, one that is gone, one that came again.
    toggle(&old, 100, 2);
    toggle(&old, 1, 1);
    toggle(&old, 3, 1);
    old.stop("-TERM");
    ok(&stage.documented(import, &[]), "2 new");
    let old = Server::start(&data, &[]);
    new.stop("-TERM");
    let new = stage.serve("acclaim.toml");
    same(&old, &new);
    drop((old, new));
    stage.is_clean("acclaim.toml");
    let other = Server::start(&stage.dir.path().join("other"), &[]);
    let to = ["--server", &other.url];
    let ran = stage.run(&[&["import", "--from-embedded", "acclaim-data"], &to[..]].concat());
    ok(&ran, "24 new");
    let exported = run(&[&["export", "--kind", "likes"], &to[..]].concat());
    assert_eq!(sorted(&exported.out), stage.export());
}
