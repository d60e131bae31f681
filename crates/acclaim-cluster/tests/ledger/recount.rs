//! Counting a target's edges again, of which there are more than one statement counts.

use acclaim_cluster::ledger::read::TargetRef;
use acclaim_cluster::ledger::recount::{PIECE_EDGES, Recounted};
use acclaim_cluster::ledger::{Bounds, Ledger, StoreSpec};
use acclaim_core::{Id, Rev, TargetType};
use sqlx::{Executor, MySqlConnection};

use crate::sql::{Sql, connect, on_each_server};

const EDGES: u64 = 50_000;
/// One in five is not active.
const ACTIVE: u64 = EDGES / 5 * 4;

struct Large {
    ledger: Ledger,
    target: TargetRef,
    conn: MySqlConnection,
}

impl Large {
    /// A target whose row says `count` and `edges`.
    async fn new(sql: Sql, count: u64, edges: u64) -> Self {
        const { assert!(EDGES > 2 * PIECE_EDGES) };
        let url = sql.database().await;
        let ledger = Ledger::new(&url, Bounds::default()).unwrap();
        ledger.migrate().await.unwrap();
        let spec = StoreSpec { partitions: 2 };
        ledger.create_or_open_store(&spec).await.unwrap();
        let post = TargetType::parse("POST").unwrap();
        let target = TargetRef {
            kind: ledger.kind_no("likes").await.unwrap(),
            target_type: ledger.type_no(&post).await.unwrap(),
            target: Id::Number(1),
        };
        let mut conn = connect(&url).await;
        let key = format!("{}, {}, x'0201'", target.kind.0, target.target_type.0);
        let digits = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 \
                      UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 \
                      UNION ALL SELECT 8 UNION ALL SELECT 9)";
        for text in [
            "CREATE TABLE sequence (seq INT PRIMARY KEY)".to_owned(),
            format!(
                "INSERT INTO sequence SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d \
                 FROM {digits} a, {digits} b, {digits} c, {digits} e, {digits} f \
                 WHERE f.d < {}",
                EDGES / 10_000
            ),
            format!(
                "INSERT INTO edges SELECT {key}, (seq * 2654435761) MOD 4294967296, \
                 CONCAT(x'FE', seq), seq MOD 5 > 0, 9000000 + seq FROM sequence"
            ),
            format!(
                "INSERT INTO targets VALUES ({key}, {}, 7, {edges}, 0, '')",
                Rev::MAX.0 - count
            ),
        ] {
            conn.execute(sqlx::AssertSqlSafe(text)).await.unwrap();
        }
        Self {
            ledger,
            target,
            conn,
        }
    }
}

async fn a_large_target_is_counted_in_pieces(sql: Sql) {
    // However wrong its row is.
    for (count, edges) in [(3, 0), (ACTIVE, EDGES), (9, EDGES * 1_000)] {
        let large = Large::new(sql, count, edges).await;
        let ledger = &large.ledger;
        let recounted = ledger.recount(0, &large.target).await.unwrap();
        let (before, after) = (count, ACTIVE);
        assert_eq!(recounted, Recounted { before, after });
        assert_eq!(
            ledger.edges_written_down(&large.target).await.unwrap(),
            EDGES
        );
        let target = std::slice::from_ref(&large.target);
        assert_eq!(ledger.target_counts(target).await.unwrap()[0].count, ACTIVE);
    }
}

async fn what_was_counted_before_a_transition_is_not_written(sql: Sql) {
    let mut large = Large::new(sql, 3, EDGES).await;
    let (ledger, target) = (large.ledger.clone(), large.target.clone());
    let counted = ledger.count_edges(&target).await.unwrap();
    assert_eq!(counted.edges(), EDGES);
    large
        .conn
        .execute("UPDATE targets SET seq = 8")
        .await
        .unwrap();
    let written = ledger.write_counted(0, &target, &counted).await;
    assert_eq!(written.unwrap(), None);
    let counts = ledger.target_counts(std::slice::from_ref(&target)).await;
    assert_eq!(counts.unwrap()[0].count, 3);
    let counted = ledger.count_edges(&target).await.unwrap();
    let written = ledger.write_counted(0, &target, &counted).await.unwrap();
    assert_eq!(written.map(|recounted| recounted.after), Some(ACTIVE));
    // One that nobody ever did anything to.
    let nothing = TargetRef {
        target: Id::Number(2),
        ..target
    };
    let recounted = ledger.recount(0, &nothing).await.unwrap();
    assert_eq!(recounted, Recounted::default());
}

on_each_server!(
    a_large_target_is_counted_in_pieces,
    what_was_counted_before_a_transition_is_not_written,
);
