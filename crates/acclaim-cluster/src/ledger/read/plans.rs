//! How the server runs each read: by a range or by points of the index meant for it, never over
//! the whole table, and pages never by sorting.

use acclaim_core::Id;
use acclaim_servers::{MariaDb, TiDb};
use sqlx::mysql::MySqlRow;
use sqlx::{Connection, Executor, MySqlConnection, Row};

use super::boards::{daily, highest, recent};
use super::lists::{Tie, targets_page, user_row, users_page};
use super::load::bucket;
use super::states::{counts_by_key, target_row};
use super::{EdgeRef, TargetRef, export};
use crate::ledger::check::walk::{Begin, Last, Side, targets_after, users_after};
use crate::ledger::codec::IdKey;
use crate::ledger::event::{TargetRow, UserRow};
use crate::ledger::recount::piece;
use crate::ledger::rows::edges_by_key;
use crate::ledger::session::Sql;
use crate::ledger::{Bounds, KindNo, Ledger, TypeNo};

const KIND: KindNo = KindNo(1);
const TYPE: TypeNo = TypeNo(1);

/// 40,000 edges of 200 targets and 4,000 users, and what follows from them, roughly.
async fn fill(url: &str) {
    let mut conn = MySqlConnection::connect(url).await.unwrap();
    let number = |n: &str| {
        format!("CONCAT(x'03', CHAR(({n}) DIV 256 USING binary), CHAR(({n}) MOD 256 USING binary))")
    };
    let (target, user) = (number("256 + seq MOD 200"), number("256 + seq MOD 4001"));
    let digits = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 \
                  UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 \
                  UNION ALL SELECT 8 UNION ALL SELECT 9)";
    for sql in [
        "CREATE TABLE sequence (seq INT PRIMARY KEY)".to_owned(),
        format!(
            "INSERT INTO sequence SELECT 1 + a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d \
             FROM {digits} a, {digits} b, {digits} c, {digits} e, {digits} f WHERE f.d < 4"
        ),
        format!(
            "INSERT IGNORE INTO edges SELECT 1 + seq MOD 3, 1 + seq MOD 2, {target}, \
             (seq * 2654435761) MOD 4294967296, {user}, seq MOD 5 > 0, 9000000000 + seq FROM sequence"
        ),
        format!(
            "INSERT IGNORE INTO targets SELECT 1 + seq MOD 3, 1 + seq MOD 2, {}, 9000 + seq MOD 7, \
             1, 1, seq MOD 90, '' FROM sequence WHERE seq <= 9000",
            number("256 + seq")
        ),
        format!(
            "INSERT IGNORE INTO users SELECT 1 + seq MOD 3, {}, 1, 0, '' FROM sequence \
             WHERE seq <= 9000",
            number("256 + seq")
        ),
        "INSERT INTO daily SELECT a.seq, b.seq, c.seq, 1, 1, 1, 1 FROM sequence a, sequence b, \
         sequence c WHERE a.seq <= 3 AND b.seq <= 3 AND c.seq <= 400"
            .to_owned(),
        "ANALYZE TABLE edges, targets, users, daily".to_owned(),
    ] {
        conn.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }
}

fn statements() -> Vec<(&'static str, &'static str, Sql)> {
    let to = |n| TargetRef {
        kind: KIND,
        target_type: TYPE,
        target: Id::Number(n),
    };
    let edge = |n: u64| {
        EdgeRef {
            to: to(256 + n % 200),
            user: Id::Number(256 + n),
        }
        .row()
    };
    let user = IdKey::new(&Id::Number(300));
    let edges: Vec<_> = (0..384).map(edge).collect();
    let targets: Vec<_> = (0u64..384).map(|n| target_row(&to(256 + n))).collect();
    let mut locked = edges_by_key(&edges.iter().collect::<Vec<_>>());
    locked.push(" FOR UPDATE");
    let after = (9_000_000_500, user.clone());
    let tie = |tie| Some((9_000_000_500, tie));
    let of_user = |tie: Option<(u64, Tie)>| targets_page(KIND, &user, TYPE, tie.as_ref(), 101);
    vec![
        (
            "edges by key",
            "PRIMARY",
            edges_by_key(&edges.iter().collect::<Vec<_>>()),
        ),
        ("one edge by key", "PRIMARY", edges_by_key(&[&edges[0]])),
        ("edges by key, locked", "PRIMARY", locked),
        (
            "counts",
            "PRIMARY",
            counts_by_key(&targets.iter().collect::<Vec<_>>()),
        ),
        (
            "a bucket",
            "PRIMARY",
            bucket(&targets[0], &(0..=1 << 24), 201),
        ),
        (
            "a whole target",
            "PRIMARY",
            bucket(&targets[0], &(0..=u32::MAX), 101),
        ),
        (
            "users, first page",
            "by_target",
            users_page(&to(256), None, 101),
        ),
        (
            "users, next page",
            "by_target",
            users_page(&to(256), Some(&after), 101),
        ),
        ("targets, first page", "by_user", of_user(None)),
        (
            "targets, next page",
            "by_user",
            of_user(tie(Tie::After(user.clone()))),
        ),
        (
            "targets, ties of a later type",
            "by_user",
            of_user(tie(Tie::All)),
        ),
        (
            "targets, ties of an earlier type",
            "by_user",
            of_user(tie(Tie::None)),
        ),
        (
            "a piece of a recount",
            "PRIMARY",
            piece(&targets[0], 0, 1 << 24),
        ),
        ("a user's row", "PRIMARY", user_row(KIND, &user)),
        ("ranking by count", "by_count", highest(KIND, TYPE, 100)),
        (
            "recent targets",
            "by_day",
            recent(KIND, TYPE, 80, None, 1_000),
        ),
        (
            "recent targets, next page",
            "by_day",
            recent(KIND, TYPE, 80, Some(&(85, user.clone())), 1_000),
        ),
        ("days", "PRIMARY", daily(KIND, TYPE, 100, 130)),
        (
            "export, first page",
            "PRIMARY",
            export::next(KIND, None, 1_000),
        ),
        (
            "export, next page",
            "PRIMARY",
            export::next(KIND, Some(&edges[0]), 1_000),
        ),
    ]
}

/// Those of a check.
fn statements_of_a_check() -> Vec<(&'static str, &'static str, Sql)> {
    let edge = EdgeRef {
        to: TargetRef {
            kind: KIND,
            target_type: TYPE,
            target: Id::Number(300),
        },
        user: Id::Number(310),
    }
    .row();
    let target = edge.target_row();
    let user = UserRow {
        kind: KIND,
        user: edge.user.clone(),
    };
    let last = Last {
        edge,
        active: true,
        place: 9_000_000_500,
    };
    let of_targets = |from, last| <TargetRow as Side>::next(&from, last);
    let of_users = |from, last| <UserRow as Side>::next(&from, last);
    vec![
        ("check, targets", "PRIMARY", targets_after(Some(&target))),
        ("check, users", "PRIMARY", users_after(Some(&user))),
        (
            "check, edges after a target",
            "PRIMARY",
            of_targets(Begin::After(&target), None),
        ),
        (
            "check, edges of a target",
            "PRIMARY",
            of_targets(Begin::At(&target), None),
        ),
        (
            "check, edges after one of a target",
            "PRIMARY",
            of_targets(Begin::Start, Some(&last)),
        ),
        (
            "check, edges after a user",
            "by_user",
            of_users(Begin::After(&user), None),
        ),
        (
            "check, edges of a user",
            "by_user",
            of_users(Begin::At(&user), None),
        ),
        (
            "check, edges after one of a user",
            "by_user",
            of_users(Begin::Start, Some(&last)),
        ),
    ]
}

fn text(row: &MySqlRow, column: &str) -> String {
    let text = row.try_get::<Option<String>, _>(column).unwrap();
    text.unwrap_or_default()
}

/// What is wrong with a step of MariaDB's or MySQL's plan.
fn wrong_in_mariadb(row: &MySqlRow, index: &str) -> Option<String> {
    let (access, key, extra) = (text(row, "type"), text(row, "key"), text(row, "Extra"));
    // A point that is not there: looked up while planning.
    if extra.contains("after reading const tables") {
        return None;
    }
    let scans = access == "ALL" || access == "index";
    let sorts = extra.contains("filesort") || extra.contains("temporary");
    (scans || sorts || key != index).then(|| format!("{access} of {key} ({extra})"))
}

/// What is wrong with a step of TiDB's plan. A range of the primary key is one of the table itself.
fn wrong_in_tidb(row: &MySqlRow, index: &str) -> Option<String> {
    let (step, object) = (text(row, "id"), text(row, "access object"));
    let scans = step.contains("FullScan");
    let sorts = step.contains("Sort") || step.contains("TopN");
    let reads = step.contains("Scan") || step.contains("Point_Get");
    let key = object
        .split_once("index:")
        .map_or("PRIMARY", |(_, name)| name.split('(').next().unwrap());
    // What an index points to is read from the table.
    let other = reads && key != index && !step.contains("TableRowIDScan");
    (scans || sorts || other).then(|| format!("{step} of {object}"))
}

async fn every_read_is_a_range(url: &str, wrong_in: fn(&MySqlRow, &str) -> Option<String>) {
    let ledger = Ledger::new(url, Bounds::default()).unwrap();
    ledger.migrate().await.unwrap();
    fill(url).await;
    let mut session = ledger.reading().await.unwrap();
    let mut wrong = Vec::new();
    for (name, index, sql) in statements().into_iter().chain(statements_of_a_check()) {
        for row in session.all(sql.explained()).await.unwrap() {
            if let Some(found) = wrong_in(&row, index) {
                wrong.push(format!("{name}: {found}, expected {index}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_is_a_range_of_its_index_on_mariadb() {
    let database = MariaDb::shared().await.database().await;
    every_read_is_a_range(database.url(), wrong_in_mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_is_a_range_of_its_index_on_tidb() {
    let database = TiDb::shared().await.database().await;
    every_read_is_a_range(database.url(), wrong_in_tidb).await;
}
