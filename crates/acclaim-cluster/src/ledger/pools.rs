//! The connections to the ledger and every bound on them.
//!
//! Two pools, so that reads cannot keep the journal from being applied, and because they want
//! different isolation: who applies reads what is committed now and locks it (`READ COMMITTED`,
//! which locks no gaps between rows); who reads wants one moment (`REPEATABLE READ`).

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions};
use sqlx::{Executor, MySqlPool};

use super::dictionary::Dictionary;
use super::error::{Failure, LedgerError};
use super::replicas::{MAX_REPLICAS, ReadsFrom, Replicas};
use super::retry::{self, Counters};
use super::session::{Session, Sql};

/// Bounds on the work with the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections that apply journals, take leases and write administration.
    pub write_connections: u32,
    /// Connections that read.
    pub read_connections: u32,
    /// The longest wait for a connection, free or new.
    pub connect_timeout: Duration,
    /// The longest that a statement runs; the server ends it.
    pub statement_timeout: Duration,
    /// How much longer the client waits for a server that does not answer.
    pub statement_grace: Duration,
    /// The longest wait for a lock, in whole seconds of at least one.
    pub lock_wait_timeout: Duration,
    /// Attempts at one transaction or read.
    pub attempts: u32,
    /// The longest pause before the second attempt; it doubles with each one. The pause is drawn
    /// between nothing and this (full jitter).
    pub first_pause: Duration,
    /// The longest pause before any attempt.
    pub longest_pause: Duration,
    /// The longest wait for another node's migration, in whole seconds of at least one.
    pub migrate_timeout: Duration,
    /// Replicas that are later than this are not read from.
    pub max_replica_lag: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            write_connections: 8,
            read_connections: 16,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
            statement_grace: Duration::from_secs(1),
            lock_wait_timeout: Duration::from_secs(2),
            attempts: 8,
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_millis(500),
            migrate_timeout: Duration::from_secs(60),
            max_replica_lag: Duration::from_secs(3),
        }
    }
}

/// The ledger, as one process sees it.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) shared: Arc<Shared>,
    /// Where it reads what need not be of this moment.
    pub(super) reads_from: ReadsFrom,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub bounds: Bounds,
    pub writes: MySqlPool,
    pub reads: MySqlPool,
    pub replicas: Replicas,
    pub options: MySqlConnectOptions,
    pub dictionary: Dictionary,
    pub counters: Counters,
    pub clock: Option<Arc<AtomicU64>>,
}

#[derive(Clone, Copy, Debug)]
enum Isolation {
    ReadCommitted,
    RepeatableRead,
}

impl Ledger {
    /// Prepares the pools of `url` (`mysql://user:password@host:port/database`). Connections are
    /// made when they are needed; nothing is sent yet.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when `url` is not one.
    pub fn new(url: &str, bounds: Bounds) -> Result<Self, LedgerError> {
        Self::with_clock(url, bounds, None)
    }

    /// As [`Ledger::new`], with leases by a clock that a test sets, in microseconds, in place of
    /// the database's.
    ///
    /// # Errors
    /// As [`Ledger::new`].
    pub fn with_clock(
        url: &str,
        bounds: Bounds,
        clock: Option<Arc<AtomicU64>>,
    ) -> Result<Self, LedgerError> {
        Self::build(url, &[], bounds, clock)
    }

    /// As [`Ledger::new`], with replicas, of the same form, from which
    /// [`Ledger::from_replicas`] reads.
    ///
    /// # Errors
    /// As [`Ledger::new`]; [`LedgerError::TooMany`] for more than
    /// [`MAX_REPLICAS`](super::replicas::MAX_REPLICAS).
    pub fn with_replicas(
        url: &str,
        replicas: &[String],
        bounds: Bounds,
    ) -> Result<Self, LedgerError> {
        Self::build(url, replicas, bounds, None)
    }

    fn build(
        url: &str,
        replicas: &[String],
        bounds: Bounds,
        clock: Option<Arc<AtomicU64>>,
    ) -> Result<Self, LedgerError> {
        if replicas.len() > MAX_REPLICAS {
            return Err(LedgerError::TooMany {
                what: "replicas",
                given: replicas.len(),
                limit: MAX_REPLICAS,
            });
        }
        let options = connect_options(url)?;
        let writes = pool(
            &options,
            &bounds,
            bounds.write_connections,
            Isolation::ReadCommitted,
        );
        let reads = pool(
            &options,
            &bounds,
            bounds.read_connections,
            Isolation::RepeatableRead,
        );
        let mut of_replicas = Vec::with_capacity(replicas.len());
        for url in replicas {
            let options = connect_options(url)?;
            let address = format!("{}:{}", options.get_host(), options.get_port());
            let connections = bounds.read_connections;
            let pool = pool(&options, &bounds, connections, Isolation::RepeatableRead);
            of_replicas.push((address, pool));
        }
        let shared = Shared {
            writes,
            reads,
            replicas: Replicas::new(of_replicas),
            options,
            bounds,
            dictionary: Dictionary::default(),
            counters: Counters::default(),
            clock,
        };
        Ok(Self {
            shared: Arc::new(shared),
            reads_from: ReadsFrom::Primary,
        })
    }

    /// The bounds in force.
    #[must_use]
    pub fn bounds(&self) -> &Bounds {
        &self.shared.bounds
    }

    /// How often each kind of trouble was met and tried again.
    #[must_use]
    pub fn retries(&self) -> &Counters {
        &self.shared.counters
    }

    /// Closes all connections that are not in use.
    pub async fn close(&self) {
        self.shared.writes.close().await;
        self.shared.reads.close().await;
        self.shared.replicas.close().await;
    }

    pub(super) async fn writing(&self) -> Result<Session, sqlx::Error> {
        Session::new(&self.shared.writes, self.client_limit()).await
    }

    pub(super) async fn reading(&self) -> Result<Session, sqlx::Error> {
        Session::new(&self.shared.reads, self.client_limit()).await
    }

    pub(super) fn client_limit(&self) -> Duration {
        self.shared.bounds.statement_timeout + self.shared.bounds.statement_grace
    }

    /// Runs `work` again while that is of use and the bounds allow it.
    pub(super) async fn retried<T, F>(&self, work: impl FnMut() -> F) -> Result<T, LedgerError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        retry::retried(&self.shared.bounds, &self.shared.counters, work).await
    }

    /// One statement that reads, tried again where that is of use.
    pub(super) async fn read_rows(
        &self,
        sql: impl Fn() -> Sql,
    ) -> Result<Vec<sqlx::mysql::MySqlRow>, LedgerError> {
        let sql = &sql;
        if self.reads_from != ReadsFrom::Primary
            && let Some(rows) = self.replica_rows(sql()).await
        {
            return Ok(rows);
        }
        self.retried(|| async move { Ok(self.reading().await?.all(sql()).await?) })
            .await
    }

    /// The time of the test's clock, or `None` for the database's own.
    pub(super) fn manual_now(&self) -> Option<u64> {
        self.shared
            .clock
            .as_ref()
            .map(|clock| clock.load(Ordering::SeqCst))
    }
}

fn connect_options(url: &str) -> Result<MySqlConnectOptions, LedgerError> {
    if !url.starts_with("mysql://") {
        let form = "mysql://user:password@host:port/database";
        return Err(LedgerError::Refused(format!(
            "the ledger's URL is not of the form {form}"
        )));
    }
    let options = MySqlConnectOptions::from_str(url)
        .map_err(|error| LedgerError::Refused(format!("the ledger's URL: {error}")))?;
    Ok(options.statement_cache_capacity(STATEMENTS_A_CONNECTION))
}

/// Prepared statements that one connection keeps: each multi-row statement in each of its sizes,
/// and the others.
const STATEMENTS_A_CONNECTION: usize = 400;

fn pool(
    options: &MySqlConnectOptions,
    bounds: &Bounds,
    connections: u32,
    isolation: Isolation,
) -> MySqlPool {
    let settings = bounds.clone();
    MySqlPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(bounds.connect_timeout)
        .after_connect(move |conn, _| {
            let settings = settings.clone();
            Box::pin(async move { prepare(conn, &settings, isolation).await })
        })
        .connect_lazy_with(options.clone())
}

/// Sets what a connection needs, in words that each server knows.
async fn prepare(
    conn: &mut MySqlConnection,
    bounds: &Bounds,
    isolation: Isolation,
) -> Result<(), sqlx::Error> {
    conn.execute(match isolation {
        Isolation::ReadCommitted => "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        Isolation::RepeatableRead => "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    })
    .await?;
    let (version,): (String,) = sqlx::query_as("SELECT VERSION()")
        .fetch_one(&mut *conn)
        .await?;
    if version.contains("TiDB") {
        // Where that is not the default: only then does FOR UPDATE lock before the commit.
        conn.execute("SET SESSION tidb_txn_mode = 'pessimistic'")
            .await?;
    }
    let limit = if version.contains("MariaDB") {
        sqlx::query("SET SESSION max_statement_time = ?")
            .bind(bounds.statement_timeout.as_secs_f64())
    } else {
        let millis = u64::try_from(bounds.statement_timeout.as_millis()).unwrap_or(u64::MAX);
        sqlx::query("SET SESSION max_execution_time = ?").bind(millis)
    };
    limit.execute(&mut *conn).await?;
    sqlx::query("SET SESSION innodb_lock_wait_timeout = ?")
        .bind(bounds.lock_wait_timeout.as_secs().max(1))
        .execute(&mut *conn)
        .await?;
    conn.execute("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')")
        .await?;
    Ok(())
}
