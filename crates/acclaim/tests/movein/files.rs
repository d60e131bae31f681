//! From files, and back into them.

use crate::program::file;
use crate::stage::{Stage, body, line, ok, toggle};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_straight_into_the_configured_cluster() {
    let stage = Stage::open().await;
    let import = "acclaim import likes.ndjson --config acclaim.toml";
    let lines: Vec<String> = (0..2_500).map(|n| line(n % 500, n % 7)).collect();
    file(stage.dir.path(), "likes.ndjson", lines.join("\n"));
    let mut expected: Vec<String> = lines;
    expected.sort_unstable();
    expected.dedup();
    let ran = stage.documented(import, &[]);
    ok(&ran, &format!("{} new", expected.len()));
    ok(&stage.documented(import, &[]), " 0 new, 2500 already there");
    assert_eq!(stage.export(), expected);
    let bad = format!("{}\nnonsense\n", line(9_999, 1));
    file(stage.dir.path(), "likes.ndjson", bad);
    let ran = stage.documented(import, &[]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.out.contains("1 new, 0 already there, 1 rejected"));
    assert!(
        stage
            .dir
            .path()
            .join("likes.ndjson.rejected.ndjson")
            .exists()
    );
    stage.is_clean("acclaim.toml");
    let ran = stage.run(&["import", "likes.ndjson"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("server.engine"), "{}", ran.err);
}

/// Most of an import goes past Redis, into targets that users write and read meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_go_on_while_much_is_imported() {
    const TARGETS: u64 = 11;
    let stage = Stage::open().await;
    let node = stage.serve("acclaim.toml");
    let lines: Vec<String> = (0..30_000)
        .map(|n| line(n / TARGETS, n % TARGETS))
        .collect();
    file(stage.dir.path(), "likes.ndjson", lines.join("\n"));
    let done = std::sync::atomic::AtomicBool::new(false);
    let liked = std::thread::scope(|scope| {
        let users = scope.spawn(|| {
            let mut liked = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                toggle(&node, 100_000 + liked, liked % TARGETS);
                liked += 1;
            }
            liked
        });
        let import = "acclaim import likes.ndjson --config acclaim.toml";
        let ran = stage.documented(import, &[]);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        ok(&ran, "30000 lines, 30000 new");
        users.join().unwrap()
    });
    assert!(liked > 0);
    for target in 0..TARGETS {
        let path = format!("/api/v2/likes/count?targetType=POST&targetId={target}");
        let of = |edges: u64| (0..edges).filter(|n| n % TARGETS == target).count() as u64;
        let count = body(&node, &path)["count"].as_u64();
        assert_eq!(count, Some(of(30_000) + of(liked)), "POST:{target}");
    }
    node.stop("-TERM");
    assert_eq!(stage.export().len() as u64, 30_000 + liked);
    stage.is_clean("acclaim.toml");
}
