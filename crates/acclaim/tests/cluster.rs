//! The program on a cluster: `serve`, `worker`, `check` and `config` with a real Redis and a real
//! MariaDB.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod program;

use std::path::Path;
use std::time::Duration;

use acclaim_servers::{Database, MariaDb, Redis, RedisOptions, until};
use program::{Server, file, finish, run};
use sqlx::{Connection as _, MySqlConnection};

/// Long enough for anything that must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(60);
const LIKE: &str = r#"{"userId":1,"targetType":"POST","targetId":7}"#;
/// Where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

/// Two servers of a test's own, and a configuration that names them.
struct Stage {
    redis: Redis,
    database: Database,
    dir: tempfile::TempDir,
    config: String,
}

impl Stage {
    async fn open() -> Self {
        let (redis, database) = tokio::join!(Redis::start(), database());
        let dir = tempfile::tempdir().unwrap();
        let text = configuration(&redis.url(), database.url());
        let config = file(dir.path(), "acclaim.toml", text);
        Self {
            redis,
            database,
            dir,
            config,
        }
    }

    /// Starts a server, or a worker, of this cluster.
    fn launch(&self, command: &str) -> Server {
        Server::launch(&[command, "--listen", "127.0.0.1:0", "--config", &self.config])
    }

    /// A configuration beside the first one, with this changed in it.
    fn changed(&self, name: &str, old: &str, new: &str) -> String {
        let text = std::fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(old), "{text}");
        file(self.dir.path(), name, text.replacen(old, new, 1))
    }

    /// The one number that a statement gives.
    async fn number(&self, statement: &'static str) -> i64 {
        let mut sql = MySqlConnection::connect(self.database.url()).await.unwrap();
        sqlx::query_scalar(statement)
            .fetch_one(&mut sql)
            .await
            .unwrap()
    }

    async fn until_number(&self, expected: i64, statement: &'static str) {
        let asked = || async {
            match self.number(statement).await {
                found if found == expected => Ok(()),
                found => Err(format!("{statement}: {found}")),
            }
        };
        until(SOON, "the ledger has it", asked).await;
    }
}

async fn database() -> Database {
    MariaDb::shared().await.database().await
}

/// Few partitions, and leases that a server which was killed does not leave for long.
fn configuration(redis: &str, ledger: &str) -> String {
    format!(
        r#"[server]
engine = "cluster"
[cluster]
redis = "{redis}"
ledger = "{ledger}"
partitions = 4
start_wait_seconds = 1
[worker]
lease_millis = 1000
lease_renew_millis = 200
lease_retry_millis = 50
"#
    )
}

fn set(server: &Server, body: &str) {
    let answer = server.send("PUT", "/api/v2/likes", body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_has_lost_nothing() {
    let (redis, database) = tokio::join!(Redis::start(), database());
    let dir = tempfile::tempdir().unwrap();
    let url = redis.url();
    let flags = [
        "--engine",
        "cluster",
        "--redis",
        &url,
        "--ledger",
        database.url(),
    ];
    let server = Server::start(&dir.path().join("data"), &flags);
    let toggled = server.send("POST", "/api/v2/likes/toggle", LIKE);
    assert!(toggled.contains("\"active\":true"), "{toggled}");
    set(&server, r#"{"userId":2,"targetType":"POST","targetId":7}"#);
    same_answers(&server);
    let (status, _, _) = server.stop("-KILL");
    assert!(!status.success());
    let server = Server::start(&dir.path().join("data"), &flags);
    same_answers(&server);
    assert!(
        !dir.path().join("data").exists(),
        "a cluster has no directory"
    );
}

/// What the edges of two users say, whichever process answers.
fn same_answers(server: &Server) {
    let like = "userId=1&targetType=POST&targetId=7";
    let status = server.get(&format!("/api/v2/likes/status?{like}"));
    assert!(status.contains("\"active\":true"), "{status}");
    let count = server.get("/api/v2/likes/count?targetType=POST&targetId=7");
    assert!(count.contains("\"count\":2"), "{count}");
    let users = server.get("/api/v2/likes/users?targetType=POST&targetId=7");
    assert!(users.contains("\"total\":2"), "{users}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_says_how_its_cluster_is() {
    let stage = Stage::open().await;
    let server = stage.launch("serve");
    let ready = server.get("/ready");
    let (_, body) = ready.split_once("\r\n\r\n").unwrap();
    let ready: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(ready["engine"], "cluster");
    assert!(!ready["guarantee"].as_str().unwrap().is_empty(), "{ready}");
    for (place, name) in ["redis", "ledger"].into_iter().enumerate() {
        assert_eq!(ready["dependencies"][place]["name"], name);
        assert_eq!(ready["dependencies"][place]["state"], "up");
    }
    let metrics = server.get("/metrics");
    for name in [
        "acclaim_worker_events_total ",
        "acclaim_worker_partitions_owned ",
    ] {
        assert!(metrics.contains(name), "{metrics}");
    }
    let (status, _, err) = server.stop("-TERM");
    assert_eq!(status.code(), Some(0), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_beside_a_server_moves_its_events() {
    let stage = Stage::open().await;
    let without = stage.changed("serve.toml", "[cluster]\n", "[cluster]\nworker = false\n");
    let server = Server::launch(&["serve", "--listen", "127.0.0.1:0", "--config", &without]);
    set(&server, LIKE);
    assert!(!server.get("/metrics").contains("acclaim_worker_events"));
    assert_eq!(stage.number("SELECT COUNT(*) FROM edges").await, 0);
    let worker = stage.launch("worker");
    assert!(
        worker
            .line
            .starts_with("acclaim worker listening on http://127.0.0.1:"),
        "{}",
        worker.line
    );
    stage
        .until_number(1, "SELECT COUNT(*) FROM edges WHERE active = 1")
        .await;
    assert!(worker.get("/ready").contains("\"ready\":true"));
    assert!(worker.get("/health").starts_with("HTTP/1.1 200"));
    assert!(
        worker
            .get("/metrics")
            .contains("acclaim_worker_events_total 1\n")
    );
    let refused = worker.get("/api/v2/likes/count?targetType=POST&targetId=7");
    assert!(refused.starts_with("HTTP/1.1 404"), "{refused}");
    assert!(refused.contains("acclaim serve"), "{refused}");
    let (status, _, err) = worker.stop("-TERM");
    assert_eq!(status.code(), Some(0), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_and_mends_what_was_changed_by_hand() {
    let stage = Stage::open().await;
    let server = stage.launch("serve");
    set(&server, LIKE);
    let (status, _, err) = server.stop("-TERM");
    assert_eq!(status.code(), Some(0), "{err}");
    let check = ["check", "--config", &stage.config];
    let clean = run(&check);
    assert_eq!((clean.code, clean.out.as_str()), (0, ""), "{}", clean.err);
    assert!(clean.err.contains("mismatches 0"), "{}", clean.err);
    let mut sql = MySqlConnection::connect(stage.database.url())
        .await
        .unwrap();
    sqlx::query("UPDATE targets SET count_place = count_place - 4")
        .execute(&mut sql)
        .await
        .unwrap();
    let found = run(&check);
    assert_eq!(found.code, 1, "{}", found.err);
    let told = "target-count likes POST:7: expected 1 active of 1 edges, found 5 active of 1 edges";
    assert!(found.out.contains(told), "{}", found.out);
    let mended = run(&["check", "--config", &stage.config, "--repair"]);
    assert!(
        mended.out.contains(&format!("{told}, repaired")),
        "{}",
        mended.out
    );
    let clean = run(&check);
    assert_eq!((clean.code, clean.out.as_str()), (0, ""), "{}", clean.err);
}

/// Starts a server that cannot reach one of its own, and gives what it said.
fn refused(dir: &Path, redis: &str, ledger: &str) -> String {
    let text = configuration(redis, ledger);
    let text = text.replacen("start_wait_seconds = 1", "start_wait_seconds = 5", 1);
    let config = file(dir, "refused.toml", text);
    let ran = run(&["serve", "--listen", "127.0.0.1:0", "--config", &config]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    ran.err
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_not_there_are_named_and_tried_again() {
    let stage = Stage::open().await;
    let (redis, ledger) = (stage.redis.url(), stage.database.url());
    let nobodys = [
        (format!("redis://:geheim@{NOBODY}"), ledger.to_owned()),
        (redis, format!("mysql://me:geheim@{NOBODY}/acclaim")),
    ];
    for (redis, ledger) in nobodys {
        let told = refused(stage.dir.path(), &redis, &ledger);
        for part in [
            NOBODY,
            "again_in",
            "tried for 5 s (cluster.start_wait_seconds)",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("geheim"), "{told}");
    }
}

#[test]
fn a_cluster_without_servers_is_explained() {
    for (redis, ledger, key, flag) in [
        ("", "mysql://h/d", "cluster.redis", "--redis"),
        ("redis://h", "", "cluster.ledger", "--ledger"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let config = file(dir.path(), "acclaim.toml", configuration(redis, ledger));
        for command in ["serve", "worker", "check"] {
            let listen = ["--listen", "127.0.0.1:0"];
            let listen: &[&str] = if command == "check" { &[] } else { &listen };
            let args = [&[command, "--config", &config], listen].concat();
            let ran = run(&args);
            assert_eq!(ran.code, 2, "{command}: {}", ran.err);
            assert!(ran.err.contains(key), "{command}: {}", ran.err);
            assert!(
                ran.err.contains(&format!("{flag} URL")),
                "{command}: {}",
                ran.err
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_used_and_not_shown() {
    let options = RedisOptions::default().password("geheim");
    let (redis, database) = tokio::join!(Redis::start_with(options), database());
    let dir = tempfile::tempdir().unwrap();
    let text = configuration(&redis.url(), database.url());
    assert!(text.contains("geheim"), "{text}");
    let config = file(dir.path(), "acclaim.toml", text);
    let listing = finish(
        program::acclaim(&["config", "--config", &config])
            .env("ACCLAIM_CLUSTER__LEDGER", "mysql://me:streng@h:1/acclaim"),
    );
    assert_eq!(listing.code, 0, "{}", listing.err);
    assert!(listing.out.contains(":***@127.0.0.1"), "{}", listing.out);
    assert!(listing.out.contains("mysql://me:***@h:1/acclaim"));
    for secret in ["geheim", "streng"] {
        assert!(!listing.out.contains(secret), "{}", listing.out);
    }
    let server = Server::launch(&["serve", "--listen", "127.0.0.1:0", "--config", &config]);
    set(&server, LIKE);
    let (status, _, logs) = server.stop("-TERM");
    assert_eq!(status.code(), Some(0), "{logs}");
    assert!(!logs.contains("geheim"), "{logs}");
}
