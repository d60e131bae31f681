//! From a table with a row for each like.

use acclaim_servers::Database;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection};

use crate::program::{Ran, sorted};
use crate::stage::{Stage, database, ok};

/// What docs/migration.md calls the servers.
const APP_TABLE: &str = "mysql://app:secret@127.0.0.1:3306/app";

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
