//! Reading from replicas of the ledger, where being a moment late does no harm.
//!
//! A [`Ledger`] reads from the primary. [`Ledger::from_replicas`] is the same ledger for lists,
//! statistics, rankings and exports: it reads from a replica that is fit, one after the other, and
//! from the primary where none is, or where a replica fails. Loads of a cache, checks and
//! everything that writes go to the primary whichever of the two they are asked of, for they
//! decide.
//!
//! A replica is fit while its lag is known and not above [`super::Bounds::max_replica_lag`]. It is
//! measured by a row that [`Ledger::measure_replicas`] writes into the primary, the time of the
//! primary: how long the replica takes to have it, or how old the one is that it has.
//!
//! Who must see what is in the ledger by now asks [`Ledger::replica_with`] or
//! [`Ledger::replica_with_all_of`]. Each batch moves its partition's `applied` in the transaction
//! that writes its rows, and a replica takes over whole transactions, so what it has of `applied`
//! says what it has. Where that is too little the primary is read, at once: whoever waits for a
//! replica waits longer than the primary takes to answer.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use acclaim_core::Rev;
use sqlx::MySqlPool;
use sqlx::Row;

use super::error::{Failure, LedgerError};
use super::lease::NOW;
use super::pools::Ledger;
use super::session::{Session, Sql, parts};

/// Replicas that one ledger may have.
pub const MAX_REPLICAS: usize = 16;
const UNKNOWN: u64 = u64::MAX;
/// How long a replica is watched for the time that was just written.
const WATCH: Duration = Duration::from_millis(100);
const WATCH_PAUSE: Duration = Duration::from_millis(2);

/// Where a [`Ledger`] reads what need not be of this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadsFrom {
    /// The primary, like everything else.
    Primary,
    /// Whichever replica is fit.
    Replicas,
    /// This replica.
    Replica(usize),
}

#[derive(Debug)]
pub(super) struct Replicas {
    all: Vec<Replica>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Replica {
    address: String,
    pool: MySqlPool,
    /// In microseconds, or [`UNKNOWN`].
    lag: AtomicU64,
    reads: AtomicU64,
    failures: AtomicU64,
    behind: AtomicU64,
}

/// How a replica stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaHealth {
    /// Host and port.
    pub address: String,
    /// How late it was when that was last measured; none where it did not answer.
    pub lag: Option<Duration>,
    /// Whether it is read from.
    pub is_fit: bool,
    /// Statements that it answered.
    pub reads: u64,
    /// Statements that it did not answer; the primary did.
    pub failures: u64,
    /// Reads that went to the primary because the replica did not have yet what they must see.
    pub behind: u64,
}

impl Replicas {
    pub fn new(pools: Vec<(String, MySqlPool)>) -> Self {
        let replica = |(address, pool)| Replica {
            address,
            pool,
            lag: AtomicU64::new(UNKNOWN),
            reads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            behind: AtomicU64::new(0),
        };
        Self {
            all: pools.into_iter().map(replica).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The next one that is fit.
    fn next(&self, longest: Duration) -> Option<usize> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (0..self.all.len())
            .map(|n| turn.wrapping_add(n) % self.all.len())
            .find(|n| self.all[*n].is_fit(longest))
    }

    pub async fn close(&self) {
        for replica in &self.all {
            replica.pool.close().await;
        }
    }
}

impl Replica {
    fn is_fit(&self, longest: Duration) -> bool {
        let longest = u64::try_from(longest.as_micros()).unwrap_or(UNKNOWN);
        self.lag.load(Ordering::Relaxed) <= longest.min(UNKNOWN - 1)
    }

    /// It is not fit until it is measured again.
    fn failed(&self, error: &sqlx::Error) {
        let address = &self.address;
        tracing::warn!(address, %error, "a replica of the ledger failed");
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.lag.store(UNKNOWN, Ordering::Relaxed);
    }
}

impl Ledger {
    /// This ledger, reading from replicas what may be a moment late.
    #[must_use]
    pub fn from_replicas(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            reads_from: ReadsFrom::Replicas,
        }
    }

    /// Whether there are replicas.
    #[must_use]
    pub fn has_replicas(&self) -> bool {
        !self.shared.replicas.all.is_empty()
    }

    /// This ledger, reading from one replica that has every batch of these partitions up to these
    /// places; from the primary where none is known to.
    pub async fn replica_with(&self, places: &[(u16, Rev)]) -> Self {
        let primary = Self {
            shared: self.shared.clone(),
            reads_from: ReadsFrom::Primary,
        };
        let longest = self.shared.bounds.max_replica_lag;
        let Some(number) = self.shared.replicas.next(longest) else {
            return primary;
        };
        let chosen = Self {
            shared: self.shared.clone(),
            reads_from: ReadsFrom::Replica(number),
        };
        if places.is_empty() {
            return chosen;
        }
        let replica = &self.shared.replicas.all[number];
        let partitions: Vec<u16> = places.iter().map(|(partition, _)| *partition).collect();
        let asked = async {
            let mut session = Session::new(&replica.pool, self.client_limit()).await?;
            applied_in(&mut session, &partitions).await
        };
        match asked.await {
            Ok(found) => {
                let has = |(partition, place): &(u16, Rev)| {
                    let mut found = found.iter();
                    found.any(|(n, applied)| n == partition && applied >= place)
                };
                if places.iter().all(has) {
                    return chosen;
                }
                replica.behind.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => replica.failed(&error),
        }
        primary
    }

    /// The same, for everything that the primary has of these partitions now.
    ///
    /// # Errors
    /// [`LedgerError`] of the primary.
    pub async fn replica_with_all_of(&self, partitions: &[u16]) -> Result<Self, LedgerError> {
        let longest = self.shared.bounds.max_replica_lag;
        let mut replicas = self.shared.replicas.all.iter();
        let mut places = Vec::new();
        if !partitions.is_empty() && replicas.any(|replica| replica.is_fit(longest)) {
            places = self
                .retried(|| async move {
                    let mut session = self.reading().await?;
                    Ok(applied_in(&mut session, partitions).await?)
                })
                .await?;
        }
        Ok(self.replica_with(&places).await)
    }

    /// Writes the time into the primary and looks how old the one is that each replica has. To be
    /// called every second or so by each node that reads from replicas.
    ///
    /// # Errors
    /// [`LedgerError`] of the primary; a replica that does not answer is one that is not fit.
    pub async fn measure_replicas(&self) -> Result<(), LedgerError> {
        if self.shared.replicas.all.is_empty() {
            return Ok(());
        }
        let now = self
            .retried(|| async move {
                let mut session = self.writing().await?;
                let mut sql = Sql::new("SELECT ");
                sql.push(NOW).bind(self.manual_now());
                let row = session.first(sql).await?;
                let now: u64 = row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
                let mut sql = Sql::new("INSERT INTO meta (name, value) VALUES ('heartbeat', ?)");
                sql.push(" ON DUPLICATE KEY UPDATE value = VALUES(value)");
                sql.bind(now.to_string().into_bytes());
                session.run(sql).await?;
                Ok(now)
            })
            .await?;
        let measured = self.shared.replicas.all.iter().map(|replica| async move {
            let lag = match self.lag_of(replica, now).await {
                Ok(lag) => lag,
                Err(error) => {
                    let address = &replica.address;
                    tracing::warn!(address, ?error, "a replica of the ledger does not answer");
                    UNKNOWN
                }
            };
            replica.lag.store(lag, Ordering::Relaxed);
        });
        futures::future::join_all(measured).await;
        Ok(())
    }

    /// How long a replica takes to have what was written at `now`, in microseconds; where that is
    /// longer than anybody watches, how old the newest is that it has.
    async fn lag_of(&self, replica: &Replica, now: u64) -> Result<u64, Failure> {
        let began = Instant::now();
        loop {
            let found = self.heartbeat(replica).await?;
            let took = began.elapsed();
            let took_micros = u64::try_from(took.as_micros()).unwrap_or(UNKNOWN - 1);
            match found {
                Some(then) if then >= now => return Ok(took_micros),
                _ if took < WATCH => tokio::time::sleep(WATCH_PAUSE).await,
                Some(then) => return Ok((now - then).saturating_add(took_micros)),
                None => return Ok(UNKNOWN),
            }
        }
    }

    async fn heartbeat(&self, replica: &Replica) -> Result<Option<u64>, Failure> {
        let mut session = Session::new(&replica.pool, self.client_limit()).await?;
        let sql = Sql::new("SELECT value FROM meta WHERE name = 'heartbeat'");
        let Some(row) = session.first(sql).await? else {
            return Ok(None);
        };
        let value: &[u8] = row.try_get(0)?;
        let text = std::str::from_utf8(value).ok();
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// How each replica stood when it was last measured.
    #[must_use]
    pub fn replica_health(&self) -> Vec<ReplicaHealth> {
        let longest = self.shared.bounds.max_replica_lag;
        let health = |replica: &Replica| {
            let lag = replica.lag.load(Ordering::Relaxed);
            ReplicaHealth {
                address: replica.address.clone(),
                lag: (lag != UNKNOWN).then(|| Duration::from_micros(lag)),
                is_fit: replica.is_fit(longest),
                reads: replica.reads.load(Ordering::Relaxed),
                failures: replica.failures.load(Ordering::Relaxed),
                behind: replica.behind.load(Ordering::Relaxed),
            }
        };
        self.shared.replicas.all.iter().map(health).collect()
    }

    /// One statement that reads, on a replica where that is allowed and one is fit. None where it
    /// is the primary's turn.
    pub(super) async fn replica_rows(&self, sql: Sql) -> Option<Vec<sqlx::mysql::MySqlRow>> {
        let number = match self.reads_from {
            ReadsFrom::Primary => return None,
            ReadsFrom::Replicas => {
                let longest = self.shared.bounds.max_replica_lag;
                self.shared.replicas.next(longest)?
            }
            ReadsFrom::Replica(number) => number,
        };
        let replica = self.shared.replicas.all.get(number)?;
        let asked = async {
            let mut session = Session::new(&replica.pool, self.client_limit()).await?;
            session.all(sql).await
        };
        match asked.await {
            Ok(rows) => {
                replica.reads.fetch_add(1, Ordering::Relaxed);
                Some(rows)
            }
            Err(error) => {
                replica.failed(&error);
                None
            }
        }
    }
}

/// How far the journals of partitions are in a database.
async fn applied_in(
    session: &mut Session,
    partitions: &[u16],
) -> Result<Vec<(u16, Rev)>, sqlx::Error> {
    let mut found = Vec::with_capacity(partitions.len());
    for part in parts(partitions) {
        let mut sql = Sql::new("SELECT n, applied FROM partitions WHERE n IN (");
        sql.rows("?", part.len()).push(")");
        for partition in part {
            sql.bind(*partition);
        }
        for row in session.all(sql).await? {
            found.push((row.try_get(0)?, Rev(row.try_get(1)?)));
        }
    }
    Ok(found)
}
