//! Deadlocks, waits, lost connections and lost answers, each forced on the real server.

use std::future::Future;
use std::time::Duration;

use acclaim_cluster::ledger::{Applied, Batch, Bounds, Class, Ledger, LedgerError};
use acclaim_core::Rev;
use acclaim_core::port::{Event, Place};
use acclaim_servers::Direction;
use sqlx::{Connection, Executor, MySqlConnection};
use tokio::task::JoinHandle;

use crate::sql::{Sql, connect, numbers, on_each_server};
use crate::stage::{BASE, PARTITIONS, Stage, edge};

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
    async fn new(sql: Sql, bounds: Bounds) -> Self {
        let stage = Stage::new(sql).await;
        let known = stage.entry(&event(1, "1", "POST:1", 1)).await;
        stage
            .ledger
            .apply(&stage.batch(0, vec![known]))
            .await
            .unwrap();
        let entry = stage.entry(&event(2, "1", "POST:2", 1)).await;
        let batch = stage.batch(0, vec![entry]);
        let mut holder = connect(&stage.url).await;
        holder.execute("BEGIN").await.unwrap();
        holder
            .execute("SELECT * FROM users FOR UPDATE")
            .await
            .unwrap();
        let watcher = connect(&stage.url).await;
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

    /// Waits until the ledger stands before the locked row; answers its connection's number.
    async fn waiting(&mut self) -> u64 {
        waiting(&mut self.watcher, "FROM users").await
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

/// Waits until another connection of this database runs a statement with these words; answers its
/// number.
async fn waiting(watcher: &mut MySqlConnection, words: &str) -> u64 {
    let sql = "SELECT CAST(id AS UNSIGNED) FROM information_schema.processlist \
               WHERE db = DATABASE() AND id <> CONNECTION_ID() AND info LIKE ?";
    let looked = async {
        loop {
            let found = sqlx::query_as(sql)
                .bind(format!("%{words}%"))
                .fetch_optional(&mut *watcher)
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

/// The victim must be the ledger on every server: on one it is who wrote less, on another who
/// closes the circle. So the holder writes much and waits first, and the ledger, which a third one
/// kept from going on until then, comes last.
async fn the_victim_of_a_deadlock_begins_again(sql: Sql) {
    let mut held = Held::new(sql, bounds()).await;
    let mut third = connect(&held.stage.url).await;
    third.execute("BEGIN").await.unwrap();
    // The target of the batch, POST:2.
    let target = "INSERT INTO targets SELECT kind, target_type, x'0202', count_place, seq, edges, \
                  last_day, pulse FROM targets";
    third.execute(target).await.unwrap();
    let much = format!(
        "INSERT INTO daily SELECT 9, 9, seq, 9, 0, 0, 0 FROM {}",
        numbers(500)
    );
    held.holder
        .execute(sqlx::AssertSqlSafe(much))
        .await
        .unwrap();
    let applying = held.apply();
    waiting(&mut held.watcher, "targets").await;
    let (mut holder, mut watcher) = (held.holder, held.watcher);
    let circle = tokio::spawn(async move {
        let sql = "UPDATE partitions SET epoch = epoch WHERE n = 0";
        let closed = holder.execute(sql).await.map(|_| ());
        (holder, closed)
    });
    waiting(&mut watcher, "UPDATE partitions").await;
    third.execute("ROLLBACK").await.unwrap();
    let (holder, closed) = circle.await.unwrap();
    closed.unwrap();
    (held.holder, held.watcher) = (holder, watcher);
    held.met(Class::Deadlock).await;
    held.let_go().await;
    held.expect(applying).await;
}

async fn a_lock_that_is_held_too_long_is_waited_for_again(sql: Sql) {
    let mut held = Held::new(sql, bounds()).await;
    let applying = held.apply();
    held.met(Class::LockWait).await;
    held.let_go().await;
    held.expect(applying).await;
}

async fn attempts_end(sql: Sql) {
    let mut held = Held::new(
        sql,
        Bounds {
            attempts: 2,
            ..bounds()
        },
    )
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

async fn a_killed_connection_is_replaced(sql: Sql) {
    let mut held = Held::new(sql, bounds()).await;
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

async fn a_statement_that_takes_too_long_is_ended(sql: Sql) {
    let patient_with_locks = Bounds {
        statement_timeout: Duration::from_secs(1),
        lock_wait_timeout: Duration::from_secs(60),
        ..bounds()
    };
    let mut held = Held::new(sql, patient_with_locks).await;
    let applying = held.apply();
    held.met(Class::Timeout).await;
    held.let_go().await;
    held.expect(applying).await;
}

async fn who_stops_waiting_leaves_nothing_behind(sql: Sql) {
    let mut held = Held::new(sql, bounds()).await;
    let applying = held.apply();
    held.waiting().await;
    applying.abort();
    assert!(applying.await.unwrap_err().is_cancelled());
    held.let_go().await;
    let applying = held.apply();
    held.expect(applying).await;
}

/// Where the connection is lost.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The word does not reach the server whole.
    Before,
    /// It does, and the answer does not come back.
    After,
}

async fn cut_at_commit(sql: Sql, cut: Cut) -> (Held, Applied) {
    let mut held = Held::new(sql, bounds()).await;
    held.let_go().await;
    let (proxy, by) = sql.proxy(&held.stage.url).await;
    held.ledger = Ledger::new(&by, bounds()).unwrap();
    // A query, and then the word: not the READ COMMITTED of a new connection.
    match cut {
        Cut::Before => proxy.cut_after(Direction::ToServer, b"\x03COMMI"),
        Cut::After => proxy.lose_reply_to(b"\x03COMMIT"),
    }
    let applied = held.ledger.apply(&held.batch).await.unwrap();
    assert_eq!(proxy.sprung(), 1);
    assert_eq!(held.edges().await, 2);
    (held, applied)
}

async fn a_commit_that_never_arrived_is_found_missing(sql: Sql) {
    let (held, applied) = cut_at_commit(sql, Cut::Before).await;
    assert_eq!(applied.flips, 1);
    assert_eq!(held.ledger.retries().met(Class::NotCommitted), 1);
    assert_eq!(held.ledger.retries().found_committed(), 0);
}

async fn a_commit_whose_answer_is_lost_is_found_there(sql: Sql) {
    let (held, applied) = cut_at_commit(sql, Cut::After).await;
    assert_eq!(
        (applied.flips, applied.applied),
        (1, Rev(BASE + 2)),
        "as the lost answer would have said"
    );
    assert_eq!(held.ledger.retries().met(Class::NotCommitted), 0);
    assert_eq!(held.ledger.retries().found_committed(), 1);
}

async fn a_commit_that_cannot_be_found_out_is_made_again(sql: Sql) {
    let mut held = Held::new(sql, bounds()).await;
    held.let_go().await;
    held.ledger.apply(&held.batch).await.unwrap();
    // The same once more: `applied` was there before, and says nothing about this one.
    let (proxy, by) = sql.proxy(&held.stage.url).await;
    let ledger = Ledger::new(&by, bounds()).unwrap();
    proxy.lose_reply_to(b"\x03COMMIT");
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
async fn pairs_that_become_mutual_from_both_ends_at_once_are_counted_once(sql: Sql) {
    const PAIRS: u64 = 40;
    let stage = Stage::new(sql).await;
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
    let mut conn = connect(&stage.url).await;
    let sql = "SELECT COUNT(*) FROM users WHERE mutual = 1";
    let (mutual,): (i64,) = sqlx::query_as(sql).fetch_one(&mut conn).await.unwrap();
    assert_eq!(mutual as u64, PAIRS * 2);
    conn.close().await.unwrap();
}

/// Workers that write the same users for the first time, all at once.
async fn new_users_of_many_workers_at_once_are_counted_once(sql: Sql) {
    const USERS: u64 = 60;
    const ROUNDS: u64 = 5;
    let stage = Stage::new(sql).await;
    let mut workers = Vec::new();
    for partition in 0..PARTITIONS {
        let mut batches = Vec::new();
        for round in 0..ROUNDS {
            let mut entries = Vec::new();
            for user in 0..USERS {
                let seq = 10 + round * USERS + user;
                let to = format!("POST:{}", u64::from(partition) + 10 * round);
                let user = (user + round * USERS / 2).to_string();
                entries.push(
                    stage
                        .entry(&event(seq, &user, &to, user.len() as u64))
                        .await,
                );
            }
            batches.push(stage.batch(partition, entries));
        }
        let ledger = stage.ledger.clone();
        workers.push(tokio::spawn(async move {
            for batch in batches {
                ledger.apply(&batch).await.unwrap();
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    let mut conn = connect(&stage.url).await;
    let sums = "SELECT CAST(SUM(given) AS SIGNED), (SELECT COUNT(*) FROM edges), \
                (SELECT CAST(SUM(users) AS SIGNED) FROM daily WHERE target_type = 0), COUNT(*) \
                FROM users";
    let found: (i64, i64, i64, i64) = sqlx::query_as(sums).fetch_one(&mut conn).await.unwrap();
    let edges = (USERS * ROUNDS * u64::from(PARTITIONS)) as i64;
    let users = (USERS + USERS / 2 * (ROUNDS - 1)) as i64;
    assert_eq!(found, (edges, edges, users, users));
    conn.close().await.unwrap();
}

on_each_server!(
    new_users_of_many_workers_at_once_are_counted_once,
    the_victim_of_a_deadlock_begins_again,
    a_lock_that_is_held_too_long_is_waited_for_again,
    attempts_end,
    a_killed_connection_is_replaced,
    a_statement_that_takes_too_long_is_ended,
    who_stops_waiting_leaves_nothing_behind,
    a_commit_that_never_arrived_is_found_missing,
    a_commit_whose_answer_is_lost_is_found_there,
    a_commit_that_cannot_be_found_out_is_made_again,
    pairs_that_become_mutual_from_both_ends_at_once_are_counted_once,
);
