//! Which workers are alive, by the database's clock: leases are shared out among them. Whoever is
//! wrong about it takes too many or too few, never what is another's.

use std::time::Duration;

use sqlx::Row;

use super::error::{Failure, LedgerError};
use super::lease::{NOW, micros};
use super::pools::Ledger;
use super::session::{Session, Sql};

impl Ledger {
    /// Says that a worker is alive for `length` from now, and answers how many are.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn beat(&self, worker: &str, length: Duration) -> Result<usize, LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            beat(&mut session, worker, length, self.manual_now()).await
        })
        .await
    }

    /// Says that a worker is not alive any more.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn leave(&self, worker: &str) -> Result<(), LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new("DELETE FROM workers WHERE name = ?");
            sql.bind(worker.as_bytes());
            self.writing().await?.run(sql).await?;
            Ok(())
        })
        .await
    }
}

async fn beat(
    session: &mut Session,
    worker: &str,
    length: Duration,
    now: Option<u64>,
) -> Result<usize, Failure> {
    let mut sql = Sql::new("INSERT INTO workers (name, alive_until) VALUES (?, ");
    sql.push(NOW)
        .push(" + ?) ON DUPLICATE KEY UPDATE alive_until = VALUES(alive_until)")
        .bind(worker.as_bytes())
        .bind(now)
        .bind(micros(length));
    session.run(sql).await?;
    let mut sql = Sql::new("SELECT name, alive_until <= ");
    sql.push(NOW).push(" FROM workers").bind(now);
    let rows = session.all(sql).await?;
    let mut alive = 0;
    for row in &rows {
        let name: Vec<u8> = row.try_get(0)?;
        let is_over: i64 = row.try_get(1)?;
        if is_over == 0 {
            alive += 1;
        } else {
            // It may have come back in the meantime.
            let mut sql = Sql::new("DELETE FROM workers WHERE name = ? AND alive_until <= ");
            sql.push(NOW).bind(name).bind(now);
            session.run(sql).await?;
        }
    }
    Ok(alive)
}
