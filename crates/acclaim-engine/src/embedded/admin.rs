//! The administrative half of the port.

use std::sync::Arc;

use acclaim_core::error::JobError;
use acclaim_core::port::{
    Admin, AuditEntry, CheckReport, DeadLetter, DeadLetterId, ExportedEdge, Finding, ImportSpec,
    Job, JobId, JobSpec, Recovered, Resent, Spool,
};
use acclaim_core::{EdgeKey, KindId, ReadError, TargetKey, WriteError};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::EmbeddedEngine;
use super::check::{self, CheckProgress};
use super::jobs::{self, StepError, What};
use super::lane::{Command, Reply};
use super::notes::{self, name};
use super::read::at_length;
use super::shared::Shared;
use crate::combiner::Combiner;

/// Findings that the record of a check keeps.
const MAX_KEPT_FINDINGS: usize = 100;
/// Audit entries and check records that are kept.
const MAX_KEPT_NOTES: usize = 10_000;

/// An audit entry as it is written down.
#[derive(Serialize, Deserialize)]
struct AuditRecord {
    action: String,
    detail: String,
}

/// A check as it is written down.
#[derive(Serialize, Deserialize)]
struct CheckRecord {
    checked: u64,
    mismatches: u64,
    repaired: u64,
    findings: Vec<Finding>,
}

fn step_error(error: StepError) -> JobError {
    match error {
        StepError::Stopping => JobError::Write(WriteError::Stopping),
        StepError::Failed(reason) => JobError::Read(ReadError::Store(reason)),
    }
}

impl EmbeddedEngine {
    /// As [`Admin::check`], for somebody who wants to see how far it is.
    ///
    /// # Errors
    /// As [`Admin::check`].
    pub async fn check_watched(
        &self,
        repair: bool,
        progress: Arc<CheckProgress>,
    ) -> Result<CheckReport, JobError> {
        let run = move |shared: &Shared, lane: &Combiner<Command, Reply>| {
            check::run(shared, lane, repair, None, progress)
        };
        let report = self.off_the_runtime(run).await?;
        let record = CheckRecord {
            checked: report.checked,
            mismatches: report.mismatches,
            repaired: report.repaired,
            findings: report
                .findings
                .iter()
                .take(MAX_KEPT_FINDINGS)
                .cloned()
                .collect(),
        };
        // A record of strings and numbers always serializes.
        self.keep(name::CHECK, serde_json::to_vec(&record).unwrap_or_default())
            .await?;
        Ok(report)
    }

    /// Runs what takes long and waits for the lane on a thread that may wait.
    async fn off_the_runtime<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Shared, &Combiner<Command, Reply>) -> Result<T, StepError> + Send + 'static,
    ) -> Result<T, JobError> {
        let (shared, lane) = (Arc::clone(&self.shared), self.lane.clone());
        let done = tokio::task::spawn_blocking(move || run(&shared, &lane)).await;
        let died = |error| StepError::Failed(format!("it died: {error}"));
        done.map_err(died)
            .and_then(|outcome| outcome)
            .map_err(step_error)
    }

    /// Writes a note under the time; the oldest of its name make room.
    async fn keep(&self, name: u8, value: Vec<u8>) -> Result<(), WriteError> {
        let now = self.shared.clock.now();
        self.work(move |work| {
            let kept = work.view().notes(&notes::key(name, &[]))?;
            let surplus = (kept.len() + 1).saturating_sub(MAX_KEPT_NOTES);
            for (key, _) in kept.iter().take(surplus) {
                work.note(key.clone(), None);
            }
            let last = kept
                .last()
                .and_then(|(key, _)| notes::number_of(key))
                .unwrap_or_default();
            work.note(notes::numbered_key(name, now.0.max(last + 1)), Some(value));
            Ok(())
        })
        .await
        .map(|_| ())
    }

    /// The notes of a name from the last hours, newest first.
    async fn kept(&self, name: u8, hours: u32) -> Result<Vec<(u64, Vec<u8>)>, ReadError> {
        let oldest = self
            .shared
            .clock
            .now()
            .0
            .saturating_sub(u64::from(hours) * 3_600_000_000);
        at_length(&self.shared, move |shared, _| {
            let kept = shared.view.load().notes(&notes::key(name, &[]))?;
            let numbered = kept.into_iter().rev();
            let numbered =
                numbered.filter_map(|(key, value)| Some((notes::number_of(&key)?, value)));
            Ok(numbered.take_while(|(at, _)| *at >= oldest).collect())
        })
        .await
    }
}

#[async_trait]
impl Admin for EmbeddedEngine {
    async fn export(
        &self,
        kind: KindId,
        after: Option<EdgeKey>,
        max_edges: usize,
    ) -> Result<Vec<ExportedEdge>, ReadError> {
        if after.is_none() {
            // What was in memory need not be sorted again for every page. Where the disk is full
            // the export works all the same.
            let _ = self.checkpoint().await;
        }
        at_length(&self.shared, move |shared, reading| {
            let dictionary = shared.dictionary.load_full();
            let after = after.and_then(|edge| dictionary.edge(&edge));
            let edges = reading.export(kind, after.as_ref(), max_edges)?;
            let named = edges.iter().filter_map(|(edge, at)| {
                Some(ExportedEdge {
                    edge: dictionary.edge_key(edge)?,
                    at: *at,
                })
            });
            Ok(named.collect())
        })
        .await
    }

    async fn recover(&self, target: TargetKey) -> Result<Recovered, JobError> {
        let Some(target) = self.shared.dictionary.load().target(&target) else {
            return Ok(Recovered {
                count_before: 0,
                count_after: 0,
                edges: 0,
            });
        };
        self.off_the_runtime(move |shared, lane| check::recover(shared, lane, &target))
            .await
    }

    async fn start_job(&self, spec: JobSpec) -> Result<JobId, JobError> {
        self.jobs.require_room(0).await?;
        self.jobs.start(What::of(&spec, &self.shared.kinds)).await
    }

    async fn begin_import(&self, spec: ImportSpec) -> Result<Box<dyn Spool + '_>, JobError> {
        let spool = self.take_import(spec).await?;
        Ok(spool)
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, ReadError> {
        jobs::look(&self.shared, id)
    }

    async fn check(&self, repair: bool) -> Result<CheckReport, JobError> {
        self.check_watched(repair, Arc::default()).await
    }

    async fn check_reports(&self, hours: u32) -> Result<CheckReport, ReadError> {
        let mut sum = CheckReport::default();
        for (_, bytes) in self.kept(name::CHECK, hours).await? {
            let record: CheckRecord = serde_json::from_slice(&bytes)
                .map_err(|error| ReadError::Store(format!("a check's record: {error}")))?;
            sum.checked += record.checked;
            sum.mismatches += record.mismatches;
            sum.repaired += record.repaired;
            let room = MAX_KEPT_FINDINGS.saturating_sub(sum.findings.len());
            sum.findings.extend(record.findings.into_iter().take(room));
        }
        Ok(sum)
    }

    async fn write_audit(&self, action: &str, detail: &str) -> Result<(), WriteError> {
        let record = AuditRecord {
            action: action.to_owned(),
            detail: detail.to_owned(),
        };
        // A record of strings always serializes.
        self.keep(name::AUDIT, serde_json::to_vec(&record).unwrap_or_default())
            .await
    }

    async fn audit(&self, hours: u32) -> Result<Vec<AuditEntry>, ReadError> {
        let mut entries = Vec::new();
        for (at, bytes) in self.kept(name::AUDIT, hours).await? {
            let AuditRecord { action, detail } = serde_json::from_slice(&bytes)
                .map_err(|error| ReadError::Store(format!("an audit entry: {error}")))?;
            entries.push(AuditEntry {
                at: acclaim_core::Rev(at),
                action,
                detail,
            });
        }
        Ok(entries)
    }

    async fn dead_letters(
        &self,
        _after: DeadLetterId,
        _max_letters: usize,
    ) -> Result<Vec<DeadLetter>, ReadError> {
        // What is decided is recorded with it.
        Ok(Vec::new())
    }

    async fn retry_dead_letter(&self, _id: DeadLetterId) -> Result<Option<Resent>, JobError> {
        Ok(None)
    }
}
