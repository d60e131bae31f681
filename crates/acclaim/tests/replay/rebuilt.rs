//! Ledgers that are rebuilt: the same as before, through kills, in parts, from a backup.

use std::process::Stdio;

#[cfg(feature = "failpoints")]
use crate::program::dies;
use crate::program::{acclaim, file, finish};
use crate::stage::SOON;
#[cfg(feature = "failpoints")]
use crate::stage::flips;
use crate::stage::{Stage, back_up, database, ended, held, load, number, recorded, refused, same};

/// Everything that a ledger that is dropped had comes back from the bus, and the cluster goes on.
async fn comes_back(stage: &Stage) {
    let (old, new, newer) = (database().await, database().await, database().await);
    let before = stage.configure("old.toml", &old);
    let after = stage.configure("new.toml", &new);
    let server = stage.serve(&before);
    assert_eq!(load(&server, 0..600), 600);
    recorded(&old, 600).await;
    refused(&stage.replay(&before, &[]), "stop every node");
    server.stop("-TERM");
    stage.is_clean(&before);

    let ran = stage.replay(&after, &["--dry-run"]);
    ended(&ran, 0, "600 events would be replayed; 0 refused, 0 gaps");
    assert_eq!(number(&new, TABLES).await, 0);
    let ran = stage.replay(&after, &[]);
    ended(
        &ran,
        0,
        "600 events: 600 applied, 0 known, 0 refused; 0 gaps",
    );
    same(&old, &new).await;
    stage.is_clean(&after);
    same(&old, &new).await;
    // Again: nothing doubles.
    let ran = stage.replay(&after, &[]);
    ended(
        &ran,
        0,
        "600 events: 0 applied, 600 known, 0 refused; 0 gaps",
    );
    same(&old, &new).await;

    // The cluster goes on with it, and dies with events in Redis that the bus does not have yet.
    let server = stage.serve(&after);
    let acknowledged = std::thread::scope(|scope| {
        let loading = scope.spawn(|| load(&server, 600..3_000));
        kill_under_load(&server);
        loading.join().unwrap()
    });
    drop(server);
    assert!(acknowledged > 0);
    let last = stage.configure("newer.toml", &newer);
    let ran = stage.replay(&last, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    // What the journals still have comes along with the first worker.
    let server = stage.serve(&last);
    let flips = recorded(&newer, 600 + acknowledged).await;
    assert_eq!(load(&server, 0..40), 40);
    recorded(&newer, flips + 40).await;
    server.stop("-TERM");
    stage.is_clean(&last);
    // In each lane one may have been decided that nobody was told of.
    let (least, most) = (640 + acknowledged, 644 + acknowledged);
    let flips = recorded(&newer, least).await;
    assert!(flips <= most, "{flips} of {least} to {most}");
}

/// Kills a server once some of what it is asked for is done.
fn kill_under_load(server: &crate::program::Server) {
    let end = std::time::Instant::now() + SOON;
    loop {
        assert!(std::time::Instant::now() < end);
        let metrics = server.get("/metrics");
        let published = metrics
            .lines()
            .find_map(|line| line.strip_prefix("acclaim_bus_published_events_total "));
        if published.is_some_and(|number| number.parse::<f64>().unwrap() > 200.0) {
            break;
        }
    }
    server.kill();
}

const TABLES: &str =
    "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_comes_back_from_kafka() {
    comes_back(&Stage::on_kafka().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_comes_back_from_pulsar() {
    comes_back(&Stage::on_pulsar().await).await;
}

/// A replay that is killed goes on; a ledger of which the end is missing gets it later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_killed_and_goes_on() {
    let stage = Stage::on_kafka().await;
    let (old, new, part) = (database().await, database().await, database().await);
    let before = stage.configure("old.toml", &old);
    let server = stage.serve(&before);
    assert_eq!(load(&server, 0..800), 800);
    recorded(&old, 800).await;
    server.stop("-TERM");
    let after = stage.configure("new.toml", &new);
    for least in [100, 300] {
        let mut command = acclaim(&["replay", "--config", &after, "--rate", "150"]);
        let command = command.current_dir(stage.dir.path());
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        recorded(&new, least).await;
        child.kill().unwrap();
        child.wait().unwrap();
        // Half of a ledger is none.
        let ran = stage.run(&["check", "--config", &after]);
        refused(&ran, "acclaim replay");
    }
    let ran = stage.replay(&after, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("went on where"), "{}", ran.err);
    let events: u64 = ran.out.split(' ').next().unwrap().parse().unwrap();
    assert!(events < 800, "{}", ran.out);
    same(&old, &new).await;

    // A range, then the rest.
    let place = "SELECT CAST(9007199254740991 - place AS SIGNED) FROM edges ORDER BY place LIMIT 1";
    let to = number(&old, place).await - 1;
    let config = stage.configure("part.toml", &part);
    let ran = stage.replay(&config, &["--to", &to.to_string()]);
    ended(&ran, 0, "799 events: 799 applied");
    assert_ne!(held(&old).await, held(&part).await);
    let ran = stage.replay(&config, &["--from", &(to + 1).to_string()]);
    ended(&ran, 0, "1 events: 1 applied, 0 known, 0 refused; 0 gaps");
    same(&old, &part).await;
    stage.is_clean(&config);
}

/// A replay that dies after the ledger has a batch that the bus was not told of.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_dies_before_it_acknowledges() {
    let stage = Stage::on_kafka().await;
    let (old, new) = (database().await, database().await);
    let before = stage.configure("old.toml", &old);
    let server = stage.serve(&before);
    assert_eq!(load(&server, 0..400), 400);
    recorded(&old, 400).await;
    server.stop("-TERM");
    let after = stage.configure("new.toml", &new);
    let args = ["replay", "--config", &after, "--rate", "200"];
    for nth in [1, 2] {
        let failpoint = format!("replay.before-acknowledge:{nth}");
        dies(acclaim(&args).current_dir(stage.dir.path()), &failpoint);
        assert!(
            flips(&new)
                .await
                .is_some_and(|flips| (1..400).contains(&flips))
        );
    }
    let ran = stage.replay(&after, &[]);
    ended(&ran, 0, "0 refused; 0 gaps");
    same(&old, &new).await;
    stage.is_clean(&after);
}

/// What is no event of the bus comes from a backup, and the bus brings what came after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_comes_first() {
    let stage = Stage::on_kafka().await;
    let (old, new) = (database().await, database().await);
    let before = stage.configure("old.toml", &old);
    let line = |n: u64| {
        format!(
            r#"{{"kind":"likes","userId":{},"targetType":"PAGE","targetId":{},"at":"2026-01-01T00:00:00Z"}}"#,
            1_000 + n,
            n % 3
        )
    };
    let lines: Vec<String> = (0..3_000).map(line).collect();
    file(stage.dir.path(), "likes.ndjson", lines.join("\n"));
    let ran = stage.run(&["import", "likes.ndjson", "--config", &before]);
    ended(&ran, 0, "3000 new");
    let server = stage.serve(&before);
    assert_eq!(load(&server, 0..300), 300);
    recorded(&old, 3_300).await;
    server.stop("-TERM");
    let backup = back_up(&old).await;
    let server = stage.serve(&before);
    assert_eq!(load(&server, 300..500), 200);
    recorded(&old, 3_500).await;
    server.stop("-TERM");
    stage.is_clean(&before);

    let after = stage.configure("new.toml", &new);
    let ran = stage.replay(&after, &["--history", backup.url()]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("rows copied, "), "{}", ran.out);
    same(&old, &new).await;
    stage.is_clean(&after);
    same(&old, &new).await;
    let ran = stage.replay(&after, &["--history", backup.url()]);
    refused(&ran, "has a store");
    let ran = finish(
        acclaim(&["replay", "--config", &after, "--history", new.url()])
            .current_dir(stage.dir.path()),
    );
    refused(&ran, "--history is the ledger itself");
}
