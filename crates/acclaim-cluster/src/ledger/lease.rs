//! Who may write a partition: leases by the database's clock, fences by count.
//!
//! A lease is taken when nobody holds it or its time is over; each taking raises the partition's
//! fence by one. Time decides only who may *take* a lease. Who may *write* is decided by the fence
//! alone, read under the partition's lock in the transaction that writes: a worker whose lease was
//! stolen holds an old fence and cannot write, however its clock runs; one whose lease is over and
//! was not stolen harms nobody.

use std::time::Duration;

use acclaim_core::Rev;
use sqlx::Row;

use super::error::{Failure, LedgerError};
use super::pools::Ledger;
use super::session::{Session, Sql, give_up};

/// Partitions that a store may have.
pub const MAX_PARTITIONS: u16 = 4_096;
/// The longest name of an owner, in bytes.
pub const MAX_OWNER_BYTES: usize = 64;

/// The server's time in microseconds, or the test's where one is given as the parameter.
// The outer cast is for TiDB, to which a parameter that is NULL makes all of it a text.
pub(super) const NOW: &str =
    "CAST(COALESCE(?, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED)) AS UNSIGNED)";

/// The right to write a partition until somebody else takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The partition.
    pub partition: u16,
    /// Goes with every batch.
    pub fence: u64,
    /// The epoch that the ledger is in.
    pub epoch: u32,
    /// The life that the partition is in.
    pub life: u32,
    /// In which turn of its seat the lease was taken.
    pub turn: u64,
    /// The journal is applied up to here.
    pub applied: Rev,
}

/// A partition as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub partition: u16,
    /// Who holds it; empty for nobody.
    pub owner: String,
    /// How often it was taken.
    pub fence: u64,
    /// The epoch.
    pub epoch: u32,
    /// The journal is applied up to here.
    pub applied: Rev,
    /// For how much longer the lease lasts; zero when it is over.
    pub left: Duration,
}

impl Ledger {
    /// Takes up to `most` leases that are free or over, for `owner`.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn take_leases(
        &self,
        owner: &str,
        most: u16,
        length: Duration,
    ) -> Result<Vec<Lease>, LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = take(&mut session, owner, most, length, self.manual_now()).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Prolongs all of `leases` that are still ours, in one statement. Answers those; the others
    /// are lost.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn renew_leases(
        &self,
        leases: &[Lease],
        length: Duration,
    ) -> Result<Vec<Lease>, LedgerError> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        self.retried(|| async move {
            let mut session = self.writing().await?;
            renew(&mut session, leases, length, self.manual_now()).await
        })
        .await
    }

    /// Gives leases back, so that others need not wait for them to end.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn release_leases(&self, leases: &[Lease]) -> Result<(), LedgerError> {
        if leases.is_empty() {
            return Ok(());
        }
        self.retried(|| async move {
            let mut sql = Sql::new("UPDATE partitions SET owner = '', lease_until = 0 WHERE ");
            bind_own(&mut sql, leases);
            self.writing().await?.run(sql).await?;
            Ok(())
        })
        .await
    }

    /// Ends the lease of a partition, whoever holds it, and answers how far the partition is
    /// applied: batches that were read from its journal before this call are not applied after it.
    /// For whoever opens the partition again after Redis lost its journal and does not hold its
    /// lease; who does applies an empty batch instead, which answers the same.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn fence_off(&self, partition: u16) -> Result<Rev, LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = fence_off(&mut session, partition).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// All partitions.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn partitions(&self) -> Result<Vec<Partition>, LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new("SELECT n, owner, fence, epoch, applied, lease_until, ");
            sql.push(NOW)
                .push(" FROM partitions ORDER BY n")
                .bind(self.manual_now());
            let rows = self.writing().await?.all(sql).await?;
            rows.iter().map(partition).collect()
        })
        .await
    }
}

fn partition(row: &sqlx::mysql::MySqlRow) -> Result<Partition, Failure> {
    let owner: Vec<u8> = row.try_get(1)?;
    let until: u64 = row.try_get(5)?;
    let now: u64 = row.try_get(6)?;
    Ok(Partition {
        partition: row.try_get(0)?,
        owner: String::from_utf8_lossy(&owner).into_owned(),
        fence: row.try_get(2)?,
        epoch: row.try_get(3)?,
        applied: Rev(row.try_get(4)?),
        left: Duration::from_micros(until.saturating_sub(now)),
    })
}

async fn fence_off(session: &mut Session, partition: u16) -> Result<Rev, Failure> {
    session.begin("START TRANSACTION").await?;
    let mut sql = Sql::new(
        "UPDATE partitions SET fence = fence + 1, owner = '', lease_until = 0 WHERE n = ?",
    );
    sql.bind(partition);
    session.run(sql).await?;
    let mut sql = Sql::new("SELECT applied FROM partitions WHERE n = ?");
    sql.bind(partition);
    let row = session.first(sql).await?;
    let row =
        row.ok_or_else(|| LedgerError::Corrupt(format!("there is no partition {partition}")))?;
    let applied = Rev(row.try_get(0)?);
    session.commit().await?;
    Ok(applied)
}

async fn take(
    session: &mut Session,
    owner: &str,
    most: u16,
    length: Duration,
    now: Option<u64>,
) -> Result<Vec<Lease>, Failure> {
    // The free ones are looked for without locks, then locked in order and looked at again.
    let mut sql = Sql::new("SELECT n FROM partitions WHERE lease_until <= ");
    sql.push(NOW)
        .push(" ORDER BY n LIMIT ?")
        .bind(now)
        .bind(most);
    let rows = session.all(sql).await?;
    let free: Vec<u16> = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    if free.is_empty() {
        return Ok(Vec::new());
    }
    session.begin("START TRANSACTION").await?;
    let mut sql =
        Sql::new("SELECT n, fence, epoch, applied, life, turn FROM partitions WHERE n IN (");
    sql.rows("?", free.len()).push(") AND lease_until <= ");
    for n in &free {
        sql.bind(*n);
    }
    sql.push(NOW).push(" ORDER BY n FOR UPDATE").bind(now);
    let rows = session.all(sql).await?;
    let lease = |row: &sqlx::mysql::MySqlRow| -> Result<Lease, sqlx::Error> {
        Ok(Lease {
            partition: row.try_get(0)?,
            fence: row.try_get::<u64, _>(1)? + 1,
            epoch: row.try_get(2)?,
            applied: Rev(row.try_get(3)?),
            life: row.try_get(4)?,
            turn: row.try_get(5)?,
        })
    };
    let leases: Vec<Lease> = rows.iter().map(lease).collect::<Result<_, _>>()?;
    if !leases.is_empty() {
        let mut sql =
            Sql::new("UPDATE partitions SET owner = ?, fence = fence + 1, lease_until = ");
        sql.push(NOW)
            .push(" + ? WHERE n IN (")
            .rows("?", leases.len())
            .push(")");
        sql.bind(owner.as_bytes()).bind(now).bind(micros(length));
        for lease in &leases {
            sql.bind(lease.partition);
        }
        session.run(sql).await?;
    }
    // An answer that is lost leaves leases that nobody knows to hold: they end by themselves.
    session.commit().await?;
    Ok(leases)
}

async fn renew(
    session: &mut Session,
    leases: &[Lease],
    length: Duration,
    now: Option<u64>,
) -> Result<Vec<Lease>, Failure> {
    let mut sql = Sql::new("UPDATE partitions SET lease_until = ");
    sql.push(NOW)
        .push(" + ? WHERE ")
        .bind(now)
        .bind(micros(length));
    bind_own(&mut sql, leases);
    if session.run(sql).await? == leases.len() as u64 {
        return Ok(leases.to_vec());
    }
    let mut sql = Sql::new("SELECT n FROM partitions WHERE ");
    bind_own(&mut sql, leases);
    let rows = session.all(sql).await?;
    let ours: Vec<u16> = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    Ok(leases
        .iter()
        .filter(|lease| ours.contains(&lease.partition))
        .copied()
        .collect())
}

fn bind_own(sql: &mut Sql, leases: &[Lease]) {
    sql.push("(n, fence) IN (")
        .rows("(?, ?)", leases.len())
        .push(")");
    for lease in leases {
        sql.bind(lease.partition).bind(lease.fence);
    }
}

pub(super) fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}
