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
//! primary: what the replica has of it is how late it is, plus at most the time since the last
//! measuring. Who waited for its own write to be in the ledger has not waited for a replica, so it
//! asks the primary.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::MySqlPool;
use sqlx::Row;

use super::error::{Failure, LedgerError};
use super::lease::NOW;
use super::pools::Ledger;
use super::session::{Session, Sql};

/// Replicas that one ledger may have.
pub const MAX_REPLICAS: usize = 16;
const UNKNOWN: u64 = u64::MAX;

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
}

/// How a replica stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaHealth {
    /// Host and port.
    pub address: String,
    /// How late it was when that was last measured; none where it did not answer.
    pub lag: Option<Duration>,
}

impl Replicas {
    pub fn new(pools: Vec<(String, MySqlPool)>) -> Self {
        let replica = |(address, pool)| Replica {
            address,
            pool,
            lag: AtomicU64::new(UNKNOWN),
        };
        Self {
            all: pools.into_iter().map(replica).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The next one that is fit.
    fn next(&self, longest: Duration) -> Option<&Replica> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let longest = u64::try_from(longest.as_micros()).unwrap_or(UNKNOWN - 1);
        (0..self.all.len())
            .map(|n| &self.all[turn.wrapping_add(n) % self.all.len()])
            .find(|replica| replica.lag.load(Ordering::Relaxed) <= longest.min(UNKNOWN - 1))
    }

    pub async fn close(&self) {
        for replica in &self.all {
            replica.pool.close().await;
        }
    }
}

impl Ledger {
    /// This ledger, reading from replicas what may be a moment late.
    #[must_use]
    pub fn from_replicas(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            may_lag: true,
        }
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
            let lag = match self.heartbeat(replica).await {
                Ok(Some(then)) => now.saturating_sub(then),
                Ok(None) => UNKNOWN,
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
        let health = |replica: &Replica| {
            let lag = replica.lag.load(Ordering::Relaxed);
            ReplicaHealth {
                address: replica.address.clone(),
                lag: (lag != UNKNOWN).then(|| Duration::from_micros(lag)),
            }
        };
        self.shared.replicas.all.iter().map(health).collect()
    }

    /// One statement that reads, on a replica where that is allowed and one is fit. None where it
    /// is the primary's turn.
    pub(super) async fn replica_rows(&self, sql: Sql) -> Option<Vec<sqlx::mysql::MySqlRow>> {
        let longest = self.shared.bounds.max_replica_lag;
        let replica = self.shared.replicas.next(longest)?;
        let asked = async {
            let mut session = Session::new(&replica.pool, self.client_limit()).await?;
            session.all(sql).await
        };
        match asked.await {
            Ok(rows) => Some(rows),
            Err(error) => {
                let address = &replica.address;
                tracing::warn!(address, %error, "a replica of the ledger failed");
                // Until it is measured again.
                replica.lag.store(UNKNOWN, Ordering::Relaxed);
                None
            }
        }
    }
}
