//! Deadlocks, waits, lost connections and lost answers, each forced on the real server.

use std::future::Future;
use std::time::Duration;

use acclaim_cluster::ledger::{Applied, Batch, Bounds, Class, Ledger, LedgerError};
use acclaim_core::port::{Event, Place};
use acclaim_core::{Rev, TargetType};
use sqlx::{Connection, Executor, MySqlConnection};
use tokio::task::JoinHandle;

use crate::apply::BASE;
use crate::server::{self, Cut, Proxy};
use crate::stage::{Stage, edge};

fn bounds() -> Bounds {
    Bounds {
        lock_wait_timeout: Duration::from_secs(1),
        statement_timeout: Duration::from_secs(3),
        ..Bounds::default()
    }
}

fn event(seq: u64, user: &str, to: &str, count: u64) -> Event {
    let seq = Rev(BASE + seq);
    Event {
        place: Place::unpartitioned(seq),
        edge: edge(0, user, to),
        active: true,
        rev: seq,
        count,
    }
}

/// A stage on which user 1 is known, a connection that holds that user's row, and the batch that
/// needs it.
struct Held {
    stage: Stage,
    ledger: Ledger,
    holder: MySqlConnection,
    watcher: MySqlConnection,
    batch: Batch,
}

impl Held {
    async fn new(bounds: Bounds) -> Self {
        let stage = Stage::new().await;
        let known = stage.entry(&event(1, "1", "POST:1", 1)).await;
        stage
            .ledger
            .apply(&stage.batch(0, vec![known]))
            .await
            .unwrap();
        let entry = stage.entry(&event(2, "1", "POST:2", 1)).await;
        let batch = stage.batch(0, vec![entry]);
        let mut holder = server::connect(&stage.url).await;
        holder.execute("BEGIN").await.unwrap();
        holder
            .execute("SELECT * FROM users FOR UPDATE")
            .await
            .unwrap();
        let watcher = server::connect(&stage.url).await;
        let ledger = Ledger::new(&stage.url, bounds).unwrap();
        Self {
            stage,
            ledger,
            holder,
            watcher,
            batch,
        }
    }

    fn apply(&self) -> JoinHandle<Result<Applied, LedgerError>> {
        let (ledger, batch) = (self.ledger.clone(), self.batch.clone());
        tokio::spawn(async move { ledger.apply(&batch).await })
    }

    /// Waits until another connection of this database stands before the locked row; answers its
    /// number.
    async fn waiting(&mut self) -> u64 {
        let sql = "SELECT CAST(id AS UNSIGNED) FROM information_schema.processlist WHERE db = DATABASE() \
                   AND id <> CONNECTION_ID() AND info LIKE 'SELECT kind, user, given%'";
        let looked = async {
            loop {
                let found = sqlx::query_as(sql)
                    .fetch_optional(&mut self.watcher)
                    .await
                    .unwrap();
                match found {
                    Some((id,)) => return id,
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), looked)
            .await
            .expect("nobody waits")
    }

    async fn met(&self, class: Class) {
        until(|| async { self.ledger.retries().met(class) > 0 }).await;
    }

    async fn edges(&mut self) -> i64 {
        let sql = "SELECT COUNT(*) FROM edges";
        let (edges,): (i64,) = sqlx::query_as(sql)
            .fetch_one(&mut self.watcher)
            .await
            .unwrap();
        edges
    }

    async fn let_go(&mut self) {
        self.holder.execute("ROLLBACK").await.unwrap();
    }

    /// Applied once and whole.
    async fn expect(mut self, applying: JoinHandle<Result<Applied, LedgerError>>) {
        let applied = applying.await.unwrap().unwrap();
        assert_eq!((applied.flips, applied.applied), (1, Rev(BASE + 2)));
        assert_eq!(self.edges().await, 2);
        let (given,): (u64,) = sqlx::query_as("SELECT given FROM users")
            .fetch_one(&mut self.watcher)
            .await
            .unwrap();
        assert_eq!(given, 2);
        self.stage.ledger.close().await;
    }
}

async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let waited = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited)
        .await
        .expect("it never holds");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_victim_of_a_deadlock_begins_again() {
    let mut held = Held::new(bounds()).await;
    // The server chooses the one that wrote less.
    held.stage
        .ledger
        .type_no(&TargetType::parse("OTHER").unwrap())
        .await
        .unwrap();
    held.holder
        .execute("INSERT INTO daily SELECT 9, 9, seq, 9, 0, 0, 0 FROM seq_1_to_500")
        .await
        .unwrap();
    let applying = held.apply();
    held.waiting().await;
    held.holder
        .execute("UPDATE partitions SET epoch = epoch WHERE n = 0")
        .await
        .unwrap();
    held.met(Class::Deadlock).await;
    held.let_go().await;
    held.expect(applying).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_held_too_long_is_waited_for_again() {
    let mut held = Held::new(bounds()).await;
    let applying = held.apply();
    held.met(Class::LockWait).await;
    held.let_go().await;
    held.expect(applying).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_end() {
    let mut held = Held::new(Bounds {
        attempts: 2,
        ..bounds()
    })
    .await;
    let outcome = held.apply().await.unwrap();
    assert!(
        matches!(outcome, Err(LedgerError::Contended { attempts: 2, .. })),
        "{outcome:?}"
    );
    assert_eq!(held.edges().await, 1, "nothing of it is there");
    held.let_go().await;
    let applying = held.apply();
    held.expect(applying).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_connection_is_replaced() {
    let mut held = Held::new(bounds()).await;
    let applying = held.apply();
    let id = held.waiting().await;
    held.watcher
        .execute(sqlx::AssertSqlSafe(format!("KILL {id}")))
        .await
        .unwrap();
    held.met(Class::Lost).await;
    held.let_go().await;
    held.expect(applying).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_ended_by_the_server() {
    let mut held = Held::new(Bounds {
        statement_timeout: Duration::from_secs(1),
        ..bounds()
    })
    .await;
    held.let_go().await;
    held.holder
        .execute("LOCK TABLES targets WRITE")
        .await
        .unwrap();
    let applying = held.apply();
    held.met(Class::Timeout).await;
    held.holder.execute("UNLOCK TABLES").await.unwrap();
    held.expect(applying).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_waiting_leaves_nothing_behind() {
    let mut held = Held::new(bounds()).await;
    let applying = held.apply();
    held.waiting().await;
    applying.abort();
    assert!(applying.await.unwrap_err().is_cancelled());
    held.let_go().await;
    let applying = held.apply();
    held.expect(applying).await;
}

async fn cut_at_commit(cut: Cut) -> (Held, Applied) {
    let mut held = Held::new(bounds()).await;
    held.let_go().await;
    let (proxy, by) = Proxy::start(&held.stage.url).await;
    held.ledger = Ledger::new(&by, bounds()).unwrap();
    // A query, and then the word: not the READ COMMITTED of a new connection.
    proxy.set(b"\x03COMMIT", cut);
    let applied = held.ledger.apply(&held.batch).await.unwrap();
    assert!(proxy.is_sprung());
    assert_eq!(held.edges().await, 2);
    (held, applied)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrived_is_found_missing() {
    let (held, applied) = cut_at_commit(Cut::Before).await;
    assert_eq!(applied.flips, 1);
    assert_eq!(held.ledger.retries().met(Class::NotCommitted), 1);
    assert_eq!(held.ledger.retries().found_committed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_found_there() {
    let (held, applied) = cut_at_commit(Cut::After).await;
    assert_eq!(
        (applied.flips, applied.applied),
        (1, Rev(BASE + 2)),
        "as the lost answer would have said"
    );
    assert_eq!(held.ledger.retries().met(Class::NotCommitted), 0);
    assert_eq!(held.ledger.retries().found_committed(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_cannot_be_found_out_is_made_again() {
    let mut held = Held::new(bounds()).await;
    held.let_go().await;
    held.ledger.apply(&held.batch).await.unwrap();
    // The same once more: `applied` was there before, and says nothing about this one.
    let (proxy, by) = Proxy::start(&held.stage.url).await;
    let ledger = Ledger::new(&by, bounds()).unwrap();
    proxy.set(b"\x03COMMIT", Cut::After);
    let applied = ledger.apply(&held.batch).await.unwrap();
    assert_eq!((applied.flips, applied.stale), (0, 1));
    assert_eq!(ledger.retries().found_committed(), 0);
    held.expect(tokio::spawn(async {
        Ok(Applied {
            flips: 1,
            applied: Rev(BASE + 2),
            stale: 0,
            refused: 0,
        })
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_told_in_time() {
    let bounds = Bounds {
        attempts: 3,
        connect_timeout: Duration::from_secs(1),
        ..bounds()
    };
    let ledger = Ledger::new("mysql://root@127.0.0.1:1/none", bounds).unwrap();
    let asked = tokio::time::timeout(Duration::from_secs(6), ledger.dead_letters(0, 1));
    let outcome = asked.await.expect("bounded");
    assert!(
        matches!(outcome, Err(LedgerError::Unavailable { attempts: 3, .. })),
        "{outcome:?}"
    );
    assert!(Ledger::new("postgres://h/x", Bounds::default()).is_err());
}

/// Two workers make the same pairs mutual from both ends at once: neither may miss the other.
#[tokio::test(flavor = "multi_thread")]
async fn pairs_that_become_mutual_from_both_ends_at_once_are_counted_once() {
    const PAIRS: u64 = 40;
    let stage = Stage::new().await;
    // Connection churn would be hidden by patience: many attempts, short pauses.
    let patient = || {
        Ledger::new(
            &stage.url,
            Bounds {
                attempts: 60,
                ..Bounds::default()
            },
        )
        .unwrap()
    };
    let mut workers = Vec::new();
    for (partition, odd) in [(0, false), (1, true)] {
        let mut batches = Vec::new();
        for n in 0..PAIRS {
            let (one, other) = (n.to_string(), (n + 1_000).to_string());
            let (from, to) = if odd { (one, other) } else { (other, one) };
            let entry = stage
                .entry(&event(10 + n, &from, &format!("USER:{to}"), 1))
                .await;
            batches.push(stage.batch(partition, vec![entry]));
        }
        let ledger = patient();
        workers.push(tokio::spawn(async move {
            for batch in batches {
                ledger.apply(&batch).await.unwrap();
            }
            ledger.retries().met(Class::Deadlock)
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    let mut conn = server::connect(&stage.url).await;
    let sql = "SELECT COUNT(*) FROM users WHERE mutual = 1";
    let (mutual,): (i64,) = sqlx::query_as(sql).fetch_one(&mut conn).await.unwrap();
    assert_eq!(mutual as u64, PAIRS * 2);
    conn.close().await.unwrap();
}
