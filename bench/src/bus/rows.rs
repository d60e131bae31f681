//! From a like's answer to its row in MariaDB.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sqlx::Connection as _;

use crate::http;
use crate::process::Server;

/// Longer than anything that is not a failure.
const LIMIT: Duration = Duration::from_secs(30);
/// The pause between two looks into MariaDB.
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// Likes that many targets, one after the other; how long each took from before its request until
/// MariaDB showed its row, in milliseconds. The ledger must be empty at first.
pub(super) async fn follow(server: &Server, ledger: &str, likes: u64) -> anyhow::Result<Vec<f64>> {
    let mut connection = sqlx::MySqlConnection::connect(ledger).await?;
    let mut millis = Vec::new();
    for number in 1..=likes {
        let began = Instant::now();
        let body = format!(r#"{{"userId":{number},"targetType":"ROW","targetId":{number}}}"#);
        http::post(&server.url, "/api/v2/likes/toggle", &body)?;
        loop {
            let count = "SELECT CAST(COUNT(*) AS UNSIGNED) FROM edges";
            let rows: u64 = sqlx::query_scalar(count).fetch_one(&mut connection).await?;
            if rows == number {
                break;
            }
            let waited = began.elapsed();
            ensure!(waited < LIMIT, "{rows} of {number} rows after {waited:?}");
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        millis.push(began.elapsed().as_secs_f64() * 1e3);
    }
    connection.close().await.context("closing")?;
    Ok(millis)
}
