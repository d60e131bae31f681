//! Looking after the store: recovery, erasure, jobs, checks, the audit log.
//!
//! Whatever changes or repairs the store other than its users' writes is written into the audit
//! log before it begins; where that fails, nothing begins.

use super::lists::page_size;
use super::{AdminFailure, OutOfRange, Service};
use crate::error::JobError;
use crate::id::Id;
use crate::kind::KindId;
use crate::limits;
use crate::notify::desk::DeskFailure;
use crate::port::{
    AuditEntry, CheckReport, DeadLetter, DeadLetterId, ImportSpec, Job, JobId, JobSpec, Recovered,
    Resent, Spool,
};
use crate::target::{Target, TargetKey};

/// The default of every report that reaches back hours.
const DEFAULT_REPORT_HOURS: u64 = 24;

/// What a request for administration became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requested {
    /// It is done.
    Recovered(Recovered),
    /// It goes on as this job.
    Job(JobId),
}

/// A report with the hours it covers; 0 for a check made just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// How far back.
    pub hours: u32,
    /// What was found.
    pub report: CheckReport,
}

/// A page of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetters {
    /// By number.
    pub letters: Vec<DeadLetter>,
    /// After which number the next page begins, where there is one.
    pub next_after: Option<DeadLetterId>,
}

impl Service {
    /// Rebuilds what is derived: of one target at once, of a whole kind as a job.
    ///
    /// # Errors
    /// [`AdminFailure`].
    pub async fn recover(
        &self,
        kind: KindId,
        target: Option<Target>,
    ) -> Result<Requested, AdminFailure> {
        let name = self.kind_name(kind);
        let Some(target) = target else {
            self.audit_before("recover", &format!("all of {name}"))
                .await?;
            let id = self.engine.start_job(JobSpec::Recover(kind)).await?;
            return Ok(Requested::Job(id));
        };
        self.engine.kinds().check_type(kind, &target)?;
        self.audit_before("recover", &format!("{name} {target}"))
            .await?;
        let recovered = self.engine.recover(TargetKey { kind, target }).await?;
        Ok(Requested::Recovered(recovered))
    }

    /// Starts the removal of all that a user did and all that was done to them.
    ///
    /// # Errors
    /// [`AdminFailure`].
    pub async fn erase_user(&self, user: Id) -> Result<JobId, AdminFailure> {
        self.audit_before("erase", &format!("user {user}")).await?;
        Ok(self.engine.start_job(JobSpec::EraseUser(user)).await?)
    }

    /// Starts the removal of all that was done to a target.
    ///
    /// # Errors
    /// [`AdminFailure`].
    pub async fn erase_target(&self, target: Target) -> Result<JobId, AdminFailure> {
        self.audit_before("erase", &format!("target {target}"))
            .await?;
        Ok(self.engine.start_job(JobSpec::EraseTarget(target)).await?)
    }

    /// Begins to take the text of an import that will run as a job.
    ///
    /// # Errors
    /// [`AdminFailure`].
    pub async fn begin_import(
        &self,
        spec: ImportSpec,
    ) -> Result<Box<dyn Spool + '_>, AdminFailure> {
        let detail = format!("{} as a job", spec.format.media_type());
        self.audit_before("import", &detail).await?;
        Ok(self.engine.begin_import(spec).await?)
    }

    /// A job.
    ///
    /// # Errors
    /// [`AdminFailure::UnknownJob`]; [`AdminFailure::Read`].
    pub async fn job(&self, id: JobId) -> Result<Job, AdminFailure> {
        let job = self.engine.job(id).await?;
        job.ok_or(AdminFailure::UnknownJob(id))
    }

    /// Checks every invariant now, and mends what is derived if asked to.
    ///
    /// # Errors
    /// [`AdminFailure`].
    pub async fn check(&self, repair: bool) -> Result<Check, AdminFailure> {
        let detail = if repair {
            "with repair"
        } else {
            "without repair"
        };
        self.audit_before("check", detail).await?;
        let report = self.engine.check(repair).await?;
        Ok(Check { hours: 0, report })
    }

    /// The sum of the checks of the last hours.
    ///
    /// # Errors
    /// [`AdminFailure`].
    pub async fn check_reports(&self, hours: Option<u64>) -> Result<Check, AdminFailure> {
        let hours = report_hours(hours)?;
        let report = self.engine.check_reports(hours).await?;
        Ok(Check { hours, report })
    }

    /// The audit log of the last hours, newest first, with the hours it covers.
    ///
    /// # Errors
    /// [`AdminFailure`].
    pub async fn audit(&self, hours: Option<u64>) -> Result<(u32, Vec<AuditEntry>), AdminFailure> {
        let hours = report_hours(hours)?;
        Ok((hours, self.engine.audit(hours).await?))
    }

    /// A page of dead letters with numbers above `after`, oldest first.
    ///
    /// # Errors
    /// [`AdminFailure`].
    pub async fn dead_letters(
        &self,
        after: Option<DeadLetterId>,
        size: Option<u64>,
    ) -> Result<DeadLetters, AdminFailure> {
        let size = page_size(size)?;
        // One more tells whether there is another page.
        let after = after.unwrap_or(0);
        let mut letters = self.engine.dead_letters(after, size + 1).await?;
        if let Ok(desk) = self.desk() {
            // Numbers of transitions and of deliveries are in one order.
            letters.extend(desk.dead_letters(after, size + 1).await?);
            letters.sort_by_key(|letter| letter.id);
        }
        let has_more = letters.len() > size;
        letters.truncate(size);
        let last = letters.last().map(|letter| letter.id);
        Ok(DeadLetters {
            letters,
            next_after: last.filter(|_| has_more),
        })
    }

    /// Sends a dead letter again.
    ///
    /// # Errors
    /// [`AdminFailure::UnknownDeadLetter`].
    pub async fn retry_dead_letter(&self, id: DeadLetterId) -> Result<Resent, AdminFailure> {
        self.audit_before("retry", &format!("dead letter {id}"))
            .await?;
        if let Some(resent) = self.engine.retry_dead_letter(id).await? {
            return Ok(resent);
        }
        let delivery = match self.desk() {
            Ok(desk) => desk.retry_dead_letter(id).await,
            Err(_) => Ok(None),
        };
        let resent = delivery.map_err(|failure| match failure {
            DeskFailure::Write(error) => AdminFailure::Job(JobError::Write(error)),
            DeskFailure::Read(error) => AdminFailure::Read(error),
            // No other failure is one of sending again.
            _ => AdminFailure::UnknownDeadLetter(id),
        })?;
        resent.ok_or(AdminFailure::UnknownDeadLetter(id))
    }

    /// Writes down what is about to be done.
    ///
    /// # Errors
    /// [`AdminFailure::Audit`].
    pub async fn audit_before(&self, action: &str, detail: &str) -> Result<(), AdminFailure> {
        let written = self.engine.write_audit(action, detail).await;
        written.map_err(AdminFailure::Audit)
    }
}

fn report_hours(hours: Option<u64>) -> Result<u32, OutOfRange> {
    let hours = hours.unwrap_or(DEFAULT_REPORT_HOURS);
    let hours = OutOfRange::check("hours", hours, 1, u64::from(limits::MAX_REPORT_HOURS))?;
    // At most MAX_REPORT_HOURS.
    Ok(hours as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_have_edges() {
        assert_eq!(report_hours(None), Ok(24));
        assert_eq!(report_hours(Some(1)), Ok(1));
        assert_eq!(report_hours(Some(8_784)), Ok(8_784));
        assert!(report_hours(Some(0)).is_err());
        assert!(report_hours(Some(8_785)).is_err());
    }
}
