//! Fills a ledger in MariaDB with edges, in its own SQL: millions in a minute or two.
//!
//! Edges of targets, whose users are numbered from 1,000,000 on. Users' own rows are left out: what
//! is measured does not read them.

use acclaim_cluster::ledger::codec::IdKey;
use acclaim_cluster::ledger::dictionary::{KindNo, TypeNo};
use acclaim_core::{Id, Rev};
use sqlx::{Connection, Executor, MySqlConnection};

use super::Failure;

const NOW: u64 = 1_795_132_800_000_000;
const FIRST_USER: u64 = 1_000_000;
/// Edges in one statement.
const PIECE: u64 = 500_000;

/// The number of the `n`th target.
pub fn target_number(n: u64) -> u64 {
    2_000_000 + n
}

/// Writes `each` edges to each of `targets` targets, all active.
pub async fn fill(
    url: &str,
    kind: KindNo,
    target_type: TypeNo,
    targets: u64,
    each: u64,
) -> Result<(), Failure> {
    let mut conn = MySqlConnection::connect(url).await?;
    conn.execute("SET SESSION unique_checks = 0").await?;
    let (kind, target_type) = (kind.0, target_type.0);
    // Targets in one statement, and parts of one target: of both, one is 1.
    let at_once = (PIECE / each).max(1).min(targets);
    let parts = each.div_ceil(PIECE);
    let place = |place: u64| Rev::MAX.0 - place;
    for first in (0..targets).step_by(usize::try_from(at_once)?) {
        let last = (first + at_once).min(targets) - 1;
        for part in 0..parts {
            // Users are taken in the order of their hashes, so that rows come in the order of the key.
            let (low, high) = ((part << 32) / parts, (((part + 1) << 32) / parts) - 1);
            let (users, last_user) = (FIRST_USER, FIRST_USER + each - 1);
            let sql = format!(
                "INSERT INTO edges SELECT {kind}, {target_type}, t.id, u.hash, u.id, 1, {} + t.seq + u.seq \
                 FROM (SELECT seq, CONCAT(CHAR(4), UNHEX(LPAD(HEX({} + seq), 6, '0'))) AS id \
                       FROM seq_{first}_to_{last}) t \
                 STRAIGHT_JOIN (SELECT seq, CONCAT(CHAR(4), UNHEX(LPAD(HEX(seq), 6, '0'))) AS id, \
                       CAST(CONV(LEFT(SHA1(seq), 8), 16, 10) AS UNSIGNED) AS hash \
                       FROM seq_{users}_to_{last_user} HAVING hash BETWEEN {low} AND {high}) u \
                 ORDER BY t.id, u.hash, u.id",
                place(NOW),
                target_number(0),
            );
            conn.execute(sqlx::AssertSqlSafe(sql)).await?;
        }
        let sql = format!(
            "INSERT INTO targets SELECT {kind}, {target_type}, \
             CONCAT(CHAR(4), UNHEX(LPAD(HEX({} + seq), 6, '0'))), {}, 1, {each}, 0, CHAR(1) \
             FROM seq_{first}_to_{last}",
            target_number(0),
            place(each),
        );
        conn.execute(sqlx::AssertSqlSafe(sql)).await?;
    }
    conn.close().await?;
    let sample = IdKey::new(&Id::Number(target_number(0)));
    if sample.as_bytes().len() != 4 || target_number(targets) >= 1 << 24 {
        return Err("the targets' numbers do not take three bytes".into());
    }
    Ok(())
}
