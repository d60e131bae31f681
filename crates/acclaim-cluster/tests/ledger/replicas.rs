//! What is read from replicas, and when. A replica is another database here, which says something
//! else, so that it can be told from where an answer comes.

use std::time::Duration;

use acclaim_cluster::ledger::read::TargetRef;
use acclaim_cluster::ledger::replicas::MAX_REPLICAS;
use acclaim_cluster::ledger::{Bounds, Ledger, LedgerError};
use acclaim_core::{Id, TargetType};
use sqlx::{Executor, MySqlConnection};

use crate::sql::{Sql, connect, on_each_server};

const ON_PRIMARY: u64 = 10;
const ON_REPLICA: u64 = 20;

struct Two {
    ledger: Ledger,
    target: TargetRef,
    primary: MySqlConnection,
    replica: MySqlConnection,
}

impl Two {
    async fn new(sql: Sql) -> Self {
        let (primary, replica) = (sql.database().await, sql.database().await);
        let late = [replica.clone()];
        let ledger = Ledger::with_replicas(&primary, &late, Bounds::default()).unwrap();
        let mut target = None;
        for (url, count) in [(&primary, ON_PRIMARY), (&replica, ON_REPLICA)] {
            let one = Ledger::new(url, Bounds::default()).unwrap();
            one.migrate().await.unwrap();
            let post = TargetType::parse("POST").unwrap();
            let to = TargetRef {
                kind: one.kind_no("likes").await.unwrap(),
                target_type: one.type_no(&post).await.unwrap(),
                target: Id::Number(1),
            };
            let place = acclaim_core::Rev::MAX.0 - count;
            let row = format!(
                "INSERT INTO targets VALUES ({}, {}, x'0201', {place}, 1, 0, 0, '')",
                to.kind.0, to.target_type.0
            );
            let mut conn = connect(url).await;
            conn.execute(sqlx::AssertSqlSafe(row)).await.unwrap();
            target = Some(to);
        }
        Self {
            ledger,
            target: target.unwrap(),
            primary: connect(&primary).await,
            replica: connect(&replica).await,
        }
    }

    /// What the primary knows of the time comes to the replica.
    async fn replicate(&mut self) {
        let read = "SELECT value FROM meta WHERE name = 'heartbeat'";
        let (value,): (Vec<u8>,) = sqlx::query_as(read)
            .fetch_one(&mut self.primary)
            .await
            .unwrap();
        let write = "REPLACE INTO meta (name, value) VALUES ('heartbeat', ?)";
        sqlx::query(write)
            .bind(value)
            .execute(&mut self.replica)
            .await
            .unwrap();
    }

    async fn measure(&self) -> Option<Duration> {
        self.ledger.measure_replicas().await.unwrap();
        self.ledger.replica_health()[0].lag
    }

    async fn read(&self) -> u64 {
        let target = std::slice::from_ref(&self.target);
        let counts = self.ledger.from_replicas().target_counts(target).await;
        counts.unwrap()[0].count
    }
}

async fn a_replica_is_read_from_while_it_is_not_late(sql: Sql) {
    let mut two = Two::new(sql).await;
    assert_eq!(two.read().await, ON_PRIMARY, "nobody knows how late it is");
    assert_eq!(two.measure().await, None, "it has never heard of the time");
    assert_eq!(two.read().await, ON_PRIMARY);
    two.replicate().await;
    let lag = two.measure().await.unwrap();
    assert!(lag < Duration::from_secs(3), "{lag:?}");
    assert_eq!(two.read().await, ON_REPLICA);

    // What decides comes from the primary, whoever is asked.
    let ledger = two.ledger.from_replicas();
    let loaded = ledger.load_target(&two.target, 10).await.unwrap();
    assert_eq!(loaded.count, ON_PRIMARY);
    let target = std::slice::from_ref(&two.target);
    let counts = two.ledger.target_counts(target).await.unwrap();
    assert_eq!(counts[0].count, ON_PRIMARY);

    let old = "UPDATE meta SET value = CAST(value AS UNSIGNED) - 4000000 WHERE name = 'heartbeat'";
    two.replica.execute(old).await.unwrap();
    let lag = two.measure().await.unwrap();
    assert!(lag >= Duration::from_secs(4), "{lag:?}");
    assert_eq!(two.read().await, ON_PRIMARY, "too late");
}

async fn a_replica_that_fails_is_passed_over(sql: Sql) {
    let mut two = Two::new(sql).await;
    two.measure().await;
    two.replicate().await;
    assert!(two.measure().await.is_some());
    two.replica.execute("DROP TABLE targets").await.unwrap();
    assert_eq!(two.read().await, ON_PRIMARY);
    assert_eq!(two.ledger.replica_health()[0].lag, None, "not fit any more");
    two.replica.execute("DROP TABLE meta").await.unwrap();
    assert_eq!(two.measure().await, None);
    assert_eq!(two.read().await, ON_PRIMARY);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_have_a_limit_and_a_form() {
    let url = "mysql://root@127.0.0.1:1/none";
    let with = |replicas: &[String]| Ledger::with_replicas(url, replicas, Bounds::default());
    assert!(with(&vec![url.to_owned(); MAX_REPLICAS]).is_ok());
    let over = with(&vec![url.to_owned(); MAX_REPLICAS + 1]).map(|_| ());
    assert!(matches!(over, Err(LedgerError::TooMany { .. })), "{over:?}");
    let bad = with(&["redis://h".to_owned()]).map(|_| ());
    assert!(matches!(bad, Err(LedgerError::Refused(_))), "{bad:?}");
}

on_each_server!(
    a_replica_is_read_from_while_it_is_not_late,
    a_replica_that_fails_is_passed_over,
);
