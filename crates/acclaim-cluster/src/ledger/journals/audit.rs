//! What was done to the store other than by its users.

use acclaim_core::Rev;
use acclaim_core::port::AuditEntry;
use sqlx::Row;
use sqlx::mysql::MySqlRow;

use crate::ledger::error::LedgerError;
use crate::ledger::lease::NOW;
use crate::ledger::pools::Ledger;
use crate::ledger::session::Sql;

/// Entries in one answer.
pub const MAX_AUDIT_ENTRIES: u64 = 10_000;
/// The longest detail, in characters; the rest is cut off.
pub const MAX_DETAIL_CHARS: usize = 4_096;
/// The longest name of an action, in characters; the rest is cut off.
pub const MAX_ACTION_CHARS: usize = 64;

const MICROS_AN_HOUR: u64 = 3_600_000_000;

impl Ledger {
    /// Writes an entry.
    ///
    /// # Errors
    /// [`LedgerError`]. An entry whose answer was lost may be there twice.
    pub async fn write_audit(&self, action: &str, detail: &str) -> Result<(), LedgerError> {
        let action: &str = &action.chars().take(MAX_ACTION_CHARS).collect::<String>();
        let detail: &str = &detail.chars().take(MAX_DETAIL_CHARS).collect::<String>();
        self.retried(|| async move {
            let mut sql = Sql::new("INSERT INTO audit (at, action, detail) VALUES (");
            sql.push(NOW)
                .push(", ?, ?)")
                .bind(self.manual_now())
                .bind(action)
                .bind(detail);
            self.writing().await?.run(sql).await?;
            Ok(())
        })
        .await
    }

    /// The newest [`MAX_AUDIT_ENTRIES`] of the last hours, newest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn audit(&self, hours: u32) -> Result<Vec<AuditEntry>, LedgerError> {
        let back = u64::from(hours) * MICROS_AN_HOUR;
        let sql = || {
            let mut sql = Sql::new("SELECT at, action, detail FROM audit WHERE at + ? >= ");
            sql.push(NOW).push(" ORDER BY id DESC LIMIT ?");
            sql.bind(back)
                .bind(self.manual_now())
                .bind(MAX_AUDIT_ENTRIES);
            sql
        };
        let one = |row: &MySqlRow| -> Result<AuditEntry, sqlx::Error> {
            let at = Rev(row.try_get(0)?);
            Ok(AuditEntry {
                at,
                action: row.try_get(1)?,
                detail: row.try_get(2)?,
            })
        };
        let rows = self.read_rows(sql).await?;
        let entries: Result<Vec<_>, _> = rows.iter().map(one).collect();
        entries.map_err(|error| LedgerError::Corrupt(error.to_string()))
    }
}
