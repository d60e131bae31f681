//! Servers die in the middle of an import.

use std::process::{Child, Stdio};
use std::time::Duration;

use acclaim_servers::{AppendFsync, Database, MariaDb, Redis, RedisOptions, until};
use sqlx::{Connection as _, MySqlConnection};

use crate::program::{acclaim, file};
use crate::stage::{Stage, line};

const LIMIT: Duration = Duration::from_secs(90);
const LINES: u64 = 60_000;

/// How many edges a ledger has, while it is there.
async fn edges(database: &Database) -> Result<i64, String> {
    let asked = async {
        let mut sql = MySqlConnection::connect(database.url()).await?;
        let count = "SELECT COUNT(*) FROM edges";
        sqlx::query_scalar(count).fetch_one(&mut sql).await
    };
    asked.await.map_err(|error: sqlx::Error| error.to_string())
}

/// Waits until there are more edges than before. An import that has ended came too early for it.
async fn more_than(database: &Database, before: i64, import: &mut Child) -> i64 {
    until(LIMIT, "more edges", || {
        let ended = import.try_wait().unwrap();
        async move {
            assert!(ended.is_none(), "the import has ended: {ended:?}");
            let edges = edges(database).await?;
            (edges > before).then_some(edges).ok_or(format!("{edges}"))
        }
    })
    .await
}

/// The ledger and Redis die while much is imported; the command waits for them and takes all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_waits_for_servers_that_die() {
    let redis = RedisOptions::default().append_only(AppendFsync::Always);
    let (redis, mariadb) = tokio::join!(Redis::start_with(redis), MariaDb::start());
    let database = mariadb.database().await;
    let stage = Stage::on(redis, database.url());
    let lines: Vec<String> = (0..LINES).map(|n| line(n / 50, n % 50)).collect();
    file(stage.dir.path(), "likes.ndjson", lines.join("\n"));
    // The tables and what the cluster is made of.
    stage.is_clean("acclaim.toml");
    let mut import = acclaim(&["import", "likes.ndjson", "--config", "acclaim.toml"])
        .current_dir(stage.dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let some = more_than(&database, 0, &mut import).await;
    mariadb.kill();
    mariadb.restart().await;
    more_than(&database, some, &mut import).await;
    stage.redis.kill();
    stage.redis.restart().await;
    let ended = tokio::task::spawn_blocking(move || import.wait_with_output()).await;
    let output = ended.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(told.contains(&format!("{LINES} lines")), "{told}");
    assert_eq!(stage.export().len() as u64, LINES);
    stage.is_clean("acclaim.toml");
}
