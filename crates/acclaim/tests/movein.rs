//! Moving in: `acclaim import` and `export` on a cluster, `import --from-embedded` and `migrate`,
//! with real servers. Commands that docs/migration.md has are run as it has them.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod program;

use std::path::Path;

use acclaim_servers::{Database, MariaDb, Redis, TiDb};
use program::{Ran, Server, acclaim, file, finish, path, run, sorted};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection};

/// What docs/migration.md calls the servers.
const APP_TABLE: &str = "mysql://app:secret@127.0.0.1:3306/app";
const APP_REDIS: &str = "redis://127.0.0.1:6380";
const NEW_LEDGER: &str = "mysql://acclaim:secret@127.0.0.1:4000/acclaim";

/// The commands of docs/migration.md; the tests run each of them.
const DOCUMENTED: &[&str] = &[
    "acclaim import likes.ndjson --config acclaim.toml",
    "acclaim export --kind likes --config acclaim.toml",
    "acclaim import --from-embedded ./acclaim-data --config acclaim.toml",
    "acclaim migrate table copy --from mysql://app:secret@127.0.0.1:3306/app --config acclaim.toml",
    "acclaim migrate table changes --from mysql://app:secret@127.0.0.1:3306/app --config acclaim.toml",
    "acclaim migrate table compare --from mysql://app:secret@127.0.0.1:3306/app --config acclaim.toml --mend",
    "acclaim migrate table compare --from mysql://app:secret@127.0.0.1:3306/app --config acclaim.toml",
    "acclaim migrate sets copy --from redis://127.0.0.1:6380 --config acclaim.toml",
    "acclaim migrate sets changes --from redis://127.0.0.1:6380 --config acclaim.toml",
    "acclaim migrate sets compare --from redis://127.0.0.1:6380 --config acclaim.toml --mend",
    "acclaim migrate sets compare --from redis://127.0.0.1:6380 --config acclaim.toml",
    "acclaim migrate sets copy --from redis://127.0.0.1:6380 --key like:user:{user} --member {type}:{id} --position users.json --config acclaim.toml",
    "acclaim migrate ledger copy --to mysql://acclaim:secret@127.0.0.1:4000/acclaim --config acclaim.toml",
    "acclaim migrate ledger changes --to mysql://acclaim:secret@127.0.0.1:4000/acclaim --config acclaim.toml",
    "acclaim migrate ledger compare --to mysql://acclaim:secret@127.0.0.1:4000/acclaim --config acclaim.toml",
    "acclaim migrate ledger switch --to mysql://acclaim:secret@127.0.0.1:4000/acclaim --config acclaim.toml --max-pause-seconds 60",
];

#[test]
fn every_command_of_the_page_is_one_of_these() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/migration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut inside = false;
    let mut commands = Vec::new();
    for line in page.lines() {
        if let Some(language) = line.strip_prefix("```") {
            inside = language == "sh";
        } else if inside {
            commands.push(line);
        }
    }
    assert_eq!(commands, DOCUMENTED);
}

/// A cluster of a test's own, with a directory in which commands run.
struct Stage {
    redis: Redis,
    dir: tempfile::TempDir,
}

impl Stage {
    async fn open() -> Self {
        let (redis, ledger) = tokio::join!(Redis::start(), database());
        let stage = Self {
            redis,
            dir: tempfile::tempdir().unwrap(),
        };
        stage.configure("acclaim.toml", ledger.url());
        stage
    }

    fn configure(&self, name: &str, ledger: &str) {
        let redis = self.redis.url();
        let text = format!(
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
        );
        file(self.dir.path(), name, text);
    }

    fn run(&self, args: &[&str]) -> Ran {
        finish(acclaim(args).current_dir(self.dir.path()))
    }

    /// Runs a command that docs/migration.md has, with these in place of what it has.
    fn documented(&self, command: &str, replaced: &[(&str, &str)]) -> Ran {
        assert!(DOCUMENTED.contains(&command), "{command}");
        let words = command.split(' ').skip(1).map(|word| {
            let known = replaced.iter().find(|(there, _)| *there == word);
            known.map_or(word, |(_, here)| here)
        });
        self.run(&words.collect::<Vec<_>>())
    }

    fn serve(&self, config: &str) -> Server {
        let config = path(self.dir.path(), config);
        Server::launch(&["serve", "--listen", "127.0.0.1:0", "--config", &config])
    }

    fn export(&self) -> Vec<String> {
        let ran = self.documented("acclaim export --kind likes --config acclaim.toml", &[]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let lines = sorted(&ran.out).into_iter();
        lines.map(str::to_owned).collect()
    }

    fn is_clean(&self, config: &str) {
        let ran = self.run(&["check", "--config", config]);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    }
}

async fn database() -> Database {
    MariaDb::shared().await.database().await
}

fn ok(ran: &Ran, told: &str) {
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(told), "{told:?}: {}{}", ran.out, ran.err);
}

fn body(server: &Server, path: &str) -> Value {
    let answer = server.get(path);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).unwrap()
}

fn toggle(server: &Server, user: u64, target: u64) {
    let body = format!(r#"{{"userId":{user},"targetType":"POST","targetId":{target}}}"#);
    let answer = server.send("POST", "/api/v2/likes/toggle", &body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn line(user: u64, target: u64) -> String {
    format!(
        "{{\"kind\":\"likes\",\"userId\":{user},\"targetType\":\"POST\",\"targetId\":\"{target}\",\
         \"at\":\"2026-01-01T00:00:{:02}.000000Z\"}}",
        user % 60
    )
}

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

/// The application's own table.
struct App {
    database: Database,
    sql: MySqlConnection,
}

impl App {
    async fn open(table: &'static str) -> Self {
        let database = database().await;
        let sql = MySqlConnection::connect(database.url()).await.unwrap();
        let mut app = Self { database, sql };
        app.run(table).await;
        app
    }

    async fn run(&mut self, statement: impl Into<String>) {
        let query = sqlx::query(AssertSqlSafe(statement.into()));
        query.execute(&mut self.sql).await.unwrap();
    }

    async fn like(&mut self, users: std::ops::Range<u64>, target: &str) {
        let rows = users.map(|user| {
            format!("({user}, 'POST', '{target}', '2026-01-01 08:00:00' + INTERVAL {user} SECOND)")
        });
        let rows: Vec<String> = rows.collect();
        let columns = "user_id, target_type, target_id, created_at";
        let rows = rows.join(",");
        self.run(format!("INSERT INTO likes ({columns}) VALUES {rows}"))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_table_moves_in() {
    let stage = Stage::open().await;
    let mut app = App::open(
        "CREATE TABLE likes (user_id BIGINT NOT NULL, target_type VARCHAR(16) NOT NULL, \
         target_id VARCHAR(64) NOT NULL, created_at DATETIME NOT NULL, \
         UNIQUE KEY uk_user_target (user_id, target_type, target_id))",
    )
    .await;
    // More than two pages.
    app.like(1..2_101, "1").await;
    app.like(1..11, "x-2").await;
    let url = app.database.url().to_owned();
    let migrate = |step: &str, more: &str| {
        let from = format!("acclaim migrate table {step} --from {APP_TABLE}");
        let command = format!("{from} --config acclaim.toml{more}");
        stage.documented(&command, &[(APP_TABLE, &url)])
    };
    let early = migrate("changes", "");
    assert_eq!(early.code, 2, "{}", early.out);
    assert!(early.err.contains("migrate table copy"), "{}", early.err);
    ok(&migrate("copy", ""), "2110 rows, 2110 new, 0 already there");
    ok(&migrate("copy", ""), "2110 rows, 0 new, 2110 already there");
    ok(&migrate("compare", ""), "");
    let first = stage.export();
    assert!(
        first
            .iter()
            .any(|line| line.contains("2026-01-01T08:00:07.000000Z")),
        "{first:?}"
    );
    // The application goes on.
    app.run("INSERT INTO likes VALUES (5000, 'POST', '1', NOW())")
        .await;
    app.run("DELETE FROM likes WHERE user_id = 7").await;
    ok(&migrate("changes", ""), "1 new");
    let found = migrate("compare", "");
    assert_eq!(found.code, 1, "{}", found.err);
    let expected = [
        "too many: likes user 7 target POST:1",
        "too many: likes user 7 target POST:x-2",
    ];
    assert_eq!(sorted(&found.out), expected);
    let mended = migrate("compare", " --mend");
    ok(&mended, "");
    assert!(mended.err.contains("2 mended"), "{}", mended.err);
    // It likes again what was taken back; the time of the row is older than the mending.
    app.like(7..8, "1").await;
    assert_eq!(migrate("compare", "").code, 1);
    ok(&migrate("compare", " --mend"), "");
    ok(&migrate("compare", ""), "");
    assert_eq!(stage.export().len(), 2_110);
    stage.is_clean("acclaim.toml");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_may_call_everything_otherwise() {
    let stage = Stage::open().await;
    let mut app = App::open(
        "CREATE TABLE thumbs (no INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, who VARCHAR(40), \
         class TINYINT, what BIGINT, since BIGINT)",
    )
    .await;
    app.run(
        "INSERT INTO thumbs (who, class, what, since) VALUES ('u-1', 1, 10, 1767225600), \
         ('u-2', 2, 10, 1767225601), ('bad id', 1, 10, 1767225601), (NULL, 1, 1, 1), \
         ('u-3', -9, 10, 1767225601), ('u-4', 1, 10, 99999999999)",
    )
    .await;
    let step = |step: &str| {
        let url = app.database.url();
        let common = ["migrate", "table", step, "--from", url, "--table", "thumbs"];
        let columns = ["--user-column", "who", "--type-column", "class"];
        let more = ["--target-column", "what", "--at-column", "since"];
        let units = ["--at-unit", "seconds", "--id-column", "no"];
        let maps = ["--map-type", "1=POST", "--map-type", "2=COMMENT"];
        let rest = ["--config", "acclaim.toml"];
        stage.run(&[&common[..], &columns, &more, &units, &maps, &rest].concat())
    };
    let ran = step("copy");
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.out.contains("2 new, 0 already there, 3 rejected"),
        "{}",
        ran.out
    );
    for told in ["bad id", "--map-type", "--time-zone", "1 rows lack"] {
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
    let lines = stage.export();
    assert!(lines[0].contains("\"COMMENT\"") || lines[1].contains("\"COMMENT\""));
    assert!(
        lines
            .iter()
            .any(|line| line.contains("2026-01-01T00:00:00.000000Z"))
    );
    ok_or_rejected(&step("changes"), "0 new");
    ok_or_rejected(&step("compare"), "");
    let ran = stage.run(&[
        "migrate",
        "table",
        "copy",
        "--from",
        app.database.url(),
        "--table",
        "thumbs",
        "--config",
        "acclaim.toml",
        "--position",
        "other.json",
    ]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("no column \"created_at\", only class"),
        "{}",
        ran.err
    );
}

/// As [`ok`], of a source that has rows which are no edges.
fn ok_or_rejected(ran: &Ran, told: &str) {
    assert!(
        ran.code < 2 && ran.out.contains(told),
        "{}{}",
        ran.out,
        ran.err
    );
    assert!(!ran.out.contains("missing:"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_sets_move_in() {
    let stage = Stage::open().await;
    let app = Redis::start().await;
    let mut pipe = redis_commands();
    for user in 0..3_000 {
        pipe.push(vec!["SADD", "like:target:POST:1"], user.to_string());
    }
    pipe.push(vec!["SADD", "like:target:COMMENT:c:2"], "7".to_owned());
    pipe.push(vec!["SADD", "like:user:u-9"], "POST:1".to_owned());
    pipe.push(vec!["SET", "like:target:count"], "1".to_owned());
    pipe.run(&app).await;
    let url = app.url();
    let migrate = |command: &str| stage.documented(command, &[(APP_REDIS, &url)]);
    let step = |step: &str, more: &str| {
        let from = format!("acclaim migrate sets {step} --from {APP_REDIS}");
        migrate(&format!("{from} --config acclaim.toml{more}"))
    };
    ok(&step("copy", ""), "3001 rows, 3001 new");
    ok(&step("compare", ""), "");
    let users = format!(
        "acclaim migrate sets copy --from {APP_REDIS} --key like:user:{{user}} --member \
         {{type}}:{{id}} --position users.json --config acclaim.toml"
    );
    ok(&migrate(&users), "1 rows, 1 new");
    let mut pipe = redis_commands();
    pipe.push(vec!["SADD", "like:target:POST:1"], "5000".to_owned());
    pipe.push(vec!["SREM", "like:target:POST:1"], "5".to_owned());
    pipe.run(&app).await;
    ok(&step("changes", ""), "1 new");
    let found = step("compare", "");
    assert_eq!(found.code, 1, "{}", found.err);
    let surplus = [
        "too many: likes user 5 target POST:1",
        "too many: likes user u-9 target POST:1",
    ];
    assert_eq!(sorted(&found.out), surplus);
    ok(&step("compare", " --mend"), "");
    assert_eq!(stage.export().len(), 3_001);
    stage.is_clean("acclaim.toml");
}

/// Commands for the application's Redis.
struct Commands(Vec<Vec<String>>);

fn redis_commands() -> Commands {
    Commands(Vec::new())
}

impl Commands {
    fn push(&mut self, words: Vec<&str>, last: String) {
        let words = words.into_iter().map(str::to_owned);
        self.0.push(words.chain([last]).collect());
    }

    /// Sends them as they are written on the wire, and reads an answer for each.
    async fn run(self, redis: &Redis) {
        use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
        let url = redis.url();
        let address = url
            .trim_start_matches("redis://")
            .split('/')
            .next()
            .unwrap();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut answers = BufReader::new(read).lines();
        for words in self.0 {
            let mut text = format!("*{}\r\n", words.len());
            for word in words {
                text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
            }
            write.write_all(text.as_bytes()).await.unwrap();
            let answer = answers.next_line().await.unwrap().unwrap();
            assert!(!answer.starts_with('-'), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_moves_to_tidb_while_its_nodes_serve() {
    let (stage, tidb) = tokio::join!(Stage::open(), TiDb::shared());
    let new = tidb.database().await;
    let node = stage.serve("acclaim.toml");
    for user in 1..=300 {
        toggle(&node, user, user % 5);
    }
    let step = |step: &str, more: &str| {
        let to = format!("acclaim migrate ledger {step} --to {NEW_LEDGER}");
        let command = format!("{to} --config acclaim.toml{more}");
        stage.documented(&command, &[(NEW_LEDGER, new.url())])
    };
    ok(&step("copy", ""), "edges: ");
    stage.configure("new.toml", new.url());
    let early = stage.run(&["check", "--config", "new.toml"]);
    assert_eq!(early.code, 2, "{}", early.err);
    assert!(early.err.contains("migrate ledger switch"), "{}", early.err);
    for user in 1..=50 {
        toggle(&node, user, user % 5);
    }
    toggle(&node, 1_000, 77);
    ok(&step("changes", ""), "targets: ");
    // While it serves there may be differences, or none.
    let compared = step("compare", "");
    assert!(compared.code < 2, "{}", compared.err);
    assert!(compared.err.contains("edges: 30"), "{}", compared.err);
    let switch = step("switch", " --max-pause-seconds 60");
    ok(&switch, "the ledger is moved");
    // The node goes on: it decides, and the journals keep it.
    toggle(&node, 2_000, 1);
    toggle(&node, 2, 2);
    let refused = stage.run(&["check", "--config", "acclaim.toml"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(
        refused.err.contains("moved to another ledger"),
        "{}",
        refused.err
    );
    let again = step("switch", " --max-pause-seconds 60");
    assert_eq!(again.code, 2, "{}", again.err);
    assert!(
        again.err.contains("has a store of its own"),
        "{}",
        again.err
    );
    node.stop("-TERM");
    let node = stage.serve("new.toml");
    let count = |target: u64| {
        let path = format!("/api/v2/likes/count?targetType=POST&targetId={target}");
        body(&node, &path)["count"].as_u64().unwrap()
    };
    // 60 each; 10 of each were taken back; then one came, and one of those came again.
    assert_eq!([count(1), count(2), count(3)], [51, 51, 50]);
    assert_eq!(count(77), 1);
    let listed = body(&node, "/api/v2/likes/users?targetType=POST&targetId=1");
    assert_eq!(listed["total"], 51);
    assert_eq!(listed["items"][0]["userId"], 2_000);
    node.stop("-TERM");
    stage.is_clean("new.toml");
}
