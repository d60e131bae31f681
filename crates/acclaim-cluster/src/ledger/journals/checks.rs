//! What checks found, for the consistency report.

use acclaim_core::port::{CheckReport, Finding};
use sqlx::Row;

use crate::ledger::error::LedgerError;
use crate::ledger::lease::NOW;
use crate::ledger::pools::Ledger;
use crate::ledger::session::Sql;

/// Findings kept of one check, and in one report.
pub const MAX_FINDINGS: usize = 100;

const MICROS_AN_HOUR: u64 = 3_600_000_000;

impl Ledger {
    /// Writes down what a check found.
    ///
    /// # Errors
    /// [`LedgerError`]. One whose answer was lost may be there twice.
    pub async fn write_check(&self, report: &CheckReport) -> Result<(), LedgerError> {
        let kept = &report.findings[..report.findings.len().min(MAX_FINDINGS)];
        let findings = serde_json::to_vec(kept)
            .map_err(|error| LedgerError::Corrupt(format!("findings: {error}")))?;
        let findings = &findings;
        self.retried(|| async move {
            let mut sql = Sql::new(
                "INSERT INTO checks (at, checked, mismatches, repaired, findings) VALUES (",
            );
            sql.push(NOW).push(", ?, ?, ?, ?)").bind(self.manual_now());
            sql.bind(report.checked)
                .bind(report.mismatches)
                .bind(report.repaired);
            sql.bind(findings.as_slice());
            self.writing().await?.run(sql).await?;
            Ok(())
        })
        .await
    }

    /// The sum of the checks of the last hours, with the newest findings.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn check_reports(&self, hours: u32) -> Result<CheckReport, LedgerError> {
        let back = u64::from(hours) * MICROS_AN_HOUR;
        let sums = || {
            let mut sql = Sql::new(
                "SELECT CAST(COALESCE(SUM(checked), 0) AS UNSIGNED), \
                 CAST(COALESCE(SUM(mismatches), 0) AS UNSIGNED), \
                 CAST(COALESCE(SUM(repaired), 0) AS UNSIGNED) FROM checks WHERE at + ? >= ",
            );
            sql.push(NOW).bind(back).bind(self.manual_now());
            sql
        };
        let newest = || {
            let mut sql =
                Sql::new("SELECT findings FROM checks WHERE mismatches > 0 AND at + ? >= ");
            sql.push(NOW).push(" ORDER BY id DESC LIMIT ?");
            sql.bind(back)
                .bind(self.manual_now())
                .bind(MAX_FINDINGS as u64);
            sql
        };
        let corrupt = |error: sqlx::Error| LedgerError::Corrupt(error.to_string());
        let mut report = CheckReport::default();
        for row in self.read_rows(sums).await? {
            report.checked = row.try_get(0).map_err(corrupt)?;
            report.mismatches = row.try_get(1).map_err(corrupt)?;
            report.repaired = row.try_get(2).map_err(corrupt)?;
        }
        for row in self.read_rows(newest).await? {
            let bytes: &[u8] = row.try_get(0).map_err(corrupt)?;
            let findings: Vec<Finding> = serde_json::from_slice(bytes)
                .map_err(|error| LedgerError::Corrupt(format!("findings: {error}")))?;
            let room = MAX_FINDINGS - report.findings.len();
            report.findings.extend(findings.into_iter().take(room));
        }
        Ok(report)
    }
}
