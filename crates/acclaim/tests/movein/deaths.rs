//! Commands die at named places and are run again.

use std::time::Duration;

use acclaim_servers::until;

use crate::program::{self, acclaim, file};
use crate::stage::{Stage, body, database, line, ok, toggle};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a command that dies at a place.
fn dies(stage: &Stage, args: &[&str], failpoint: &str) {
    program::dies(acclaim(args).current_dir(stage.dir.path()), failpoint);
}

/// An import that died in the middle of a batch, before and after its commit, while others write to
/// its targets. Run again it takes the rest, and nothing doubles.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_dies_and_is_run_again() {
    const TARGETS: u64 = 7;
    const LINES: u64 = 45_000;
    let stage = Stage::open().await;
    let node = stage.serve("acclaim.toml");
    let lines: Vec<String> = (0..LINES).map(|n| line(n / TARGETS, n % TARGETS)).collect();
    file(stage.dir.path(), "likes.ndjson", lines.join("\n"));
    let import = ["import", "likes.ndjson", "--config", "acclaim.toml"];
    let mut liked = 0;
    for failpoint in ["bulk.before-commit:2", "bulk.committed:3"] {
        dies(&stage, &import, failpoint);
        // Its targets answer again when what it held in Redis has run out. Until then writes are
        // refused, and not done.
        for target in 0..TARGETS {
            let user = 1_000_000 + liked;
            let body = format!(r#"{{"userId":{user},"targetType":"POST","targetId":{target}}}"#);
            until(LIMIT, "a like", || {
                let answer = node.send("POST", "/api/v2/likes/toggle", &body);
                let is_done = answer.starts_with("HTTP/1.1 200");
                async move { is_done.then_some(()).ok_or(answer) }
            })
            .await;
            liked += 1;
        }
    }
    ok(&stage.run(&import), &format!("{LINES} lines"));
    for target in 0..TARGETS {
        let path = format!("/api/v2/likes/count?targetType=POST&targetId={target}");
        let of = |edges: u64| (0..edges).filter(|n| n % TARGETS == target).count() as u64;
        let count = body(&node, &path)["count"].as_u64();
        assert_eq!(count, Some(of(LINES) + of(liked)), "POST:{target}");
    }
    node.stop("-TERM");
    assert_eq!(stage.export().len() as u64, LINES + liked);
    stage.is_clean("acclaim.toml");
}

/// A change-over that died while the workers rest, and one that died between closing the old ledger
/// and opening the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_over_dies_and_is_run_again() {
    let (stage, new) = tokio::join!(Stage::open(), database());
    let node = stage.serve("acclaim.toml");
    for user in 1..=100 {
        toggle(&node, user, user % 5);
    }
    let step = |step| ["migrate", "ledger", step, "--to", new.url()];
    let more = ["--config", "acclaim.toml"];
    let switch = [&step("switch")[..], &more, &["--max-pause-seconds", "3"]].concat();
    ok(&stage.run(&[&step("copy")[..], &more].concat()), "edges: ");
    dies(&stage, &switch, "move.paused");
    // The pause ends by itself; then everything goes on with the old ledger.
    toggle(&node, 1_000, 77);
    stage.is_clean("acclaim.toml");
    dies(&stage, &switch, "move.closed");
    // Neither can be opened, and the node goes on.
    toggle(&node, 1_001, 77);
    stage.configure("new.toml", new.url());
    for config in ["acclaim.toml", "new.toml"] {
        let early = stage.run(&["check", "--config", config]);
        assert_eq!(early.code, 2, "{config}: {}", early.err);
    }
    ok(&stage.run(&switch), "the ledger is moved");
    toggle(&node, 1_002, 77);
    node.stop("-TERM");
    let node = stage.serve("new.toml");
    let count = body(&node, "/api/v2/likes/count?targetType=POST&targetId=77");
    assert_eq!(count["count"], 3);
    let listed = body(&node, "/api/v2/likes/users?targetType=POST&targetId=77");
    assert_eq!(listed["total"], 3);
    node.stop("-TERM");
    stage.is_clean("new.toml");
}
