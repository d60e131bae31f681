//! Work that goes on by itself: taken from the ledger by lease, so that another node goes on with
//! it where this one ends.
//!
//! A job may run twice, in whole or in parts: what it does a second time changes nothing.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use acclaim_core::error::JobError;
use acclaim_core::notify::erase::Erased;
use acclaim_core::page::Entry;
use acclaim_core::port::{JobId, JobSpec, Write};
use acclaim_core::{
    Action, EdgeKey, Id, KindId, Op, ReadError, Start, Target, TargetKey, UserKey, WriteError,
};
use tokio::time::Instant;

use super::errors::{Trouble as _, read_error, unavailable};
use super::notes::LedgerNotes;
use super::shared::Shared;
use crate::failpoint;
use crate::ledger::LedgerError;
use crate::ledger::journals::jobs::{MAX_OPEN_JOBS, TakenJob, Work};
use crate::ledger::read::TargetRef;
use crate::redis::keys::TargetName;

/// The pause before a step that was refused for now is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How long one step is tried before the job is left.
const STEP_MAX: Duration = Duration::from_secs(60);
/// Targets of one page of a recovery.
const RECOVERY_PAGE_TARGETS: usize = 500;

/// Why a job does not go on.
pub enum Halt {
    /// It failed.
    Failed(String),
    /// The node stops, or another one has it, or a server is away for longer than is waited here.
    /// Whoever takes it when its lease ends goes on.
    Left,
}

impl Halt {
    /// What ended it, and whether only because a server is away.
    fn of(error: impl Display, is_away: bool) -> Self {
        if is_away {
            tracing::warn!(%error, "a job waits until its servers are back");
            return Self::Left;
        }
        Self::Failed(error.to_string())
    }
}

impl From<ReadError> for Halt {
    fn from(error: ReadError) -> Self {
        let is_away = matches!(error, ReadError::Unavailable { .. });
        Self::of(error, is_away)
    }
}

impl From<WriteError> for Halt {
    fn from(error: WriteError) -> Self {
        if error == WriteError::Stopping {
            return Self::Left;
        }
        let is_away = passes(&error);
        Self::of(error, is_away)
    }
}

impl From<LedgerError> for Halt {
    fn from(error: LedgerError) -> Self {
        let is_away = error.is_away();
        Self::of(error, is_away)
    }
}

impl From<JobError> for Halt {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Write(error) => error.into(),
            refused => Self::Failed(refused.to_string()),
        }
    }
}

/// Whether an error may be gone the next time, and trying again does no harm.
pub fn passes(error: &WriteError) -> bool {
    matches!(
        error,
        WriteError::Overloaded { .. }
            | WriteError::Unavailable { .. }
            | WriteError::Unknown { .. }
            | WriteError::IdempotencyInFlight
    )
}

impl Shared {
    /// See [`acclaim_core::port::Admin::start_job`].
    pub async fn start_job(&self, spec: &JobSpec) -> Result<JobId, JobError> {
        let queued = self.ledger.queue_job(spec, &self.kinds).await;
        let queued = queued.map_err(|error| JobError::Write(unavailable(&error)))?;
        self.job_queued.notify_one();
        queued.ok_or(JobError::TooMany {
            queued: MAX_OPEN_JOBS,
        })
    }

    /// Takes jobs and runs them until the engine stops.
    pub async fn run_jobs(self: Arc<Self>) {
        let poll = Duration::from_millis(self.limits.job_poll_millis.max(1));
        let mut stopping = self.stopping.subscribe();
        while !self.is_stopping() {
            let lease = self.limits.job_lease();
            match self.ledger.take_job(&self.node, lease, &self.kinds).await {
                Ok(Some(job)) => {
                    self.run_job(job).await;
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "jobs could not be looked for"),
            }
            tokio::select! {
                () = tokio::time::sleep(poll) => {}
                () = self.job_queued.notified() => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    async fn run_job(self: &Arc<Self>, mut job: TakenJob) {
        let work = job.work.clone();
        let outcome = match &work {
            Work::Job(JobSpec::EraseUser(user)) => self.erase_user(&mut job, user).await,
            Work::Job(JobSpec::EraseTarget(target)) => self.erase_target(&mut job, target).await,
            Work::Job(JobSpec::Recover(kind)) => self.recover_kind(&mut job, *kind).await,
            Work::Import(import) => self.import(&mut job, import).await,
            Work::Unknown(words) => Err(Halt::Failed(format!(
                "this program does not know the job {words:?}, or its kind is not configured any \
                 more"
            ))),
        };
        let error = match &outcome {
            Ok(()) => None,
            Err(Halt::Failed(reason)) => Some(reason.as_str()),
            Err(Halt::Left) => return self.leave(&job).await,
        };
        match self.ledger.end_job(&job, error).await {
            Ok(true) => {
                if let Work::Import(import) = &work {
                    self.remove_text(import.text).await;
                }
            }
            Ok(false) => {}
            // Its lease ends, and whoever takes it finds little left to do.
            Err(error) => {
                tracing::warn!(%error, job = job.id, "the end of a job could not be written down");
            }
        }
    }

    /// Leaves a job to another node: at once, where this one stops.
    async fn leave(&self, job: &TakenJob) {
        if self.is_stopping()
            && let Err(error) = self.ledger.release_job(job).await
        {
            tracing::debug!(%error, job = job.id, "a job is given back when its lease ends");
        }
    }

    /// Writes down how far a job is. An error when it is no longer ours.
    pub async fn note(&self, job: &TakenJob) -> Result<(), Halt> {
        if self.is_stopping() {
            return Err(Halt::Left);
        }
        let noted = self.ledger.note_progress(job, self.limits.job_lease());
        is_ours(noted.await)?;
        failpoint::hit(failpoint::JOB_STEP);
        Ok(())
    }

    async fn erase_user(self: &Arc<Self>, job: &mut TakenJob, user: &Id) -> Result<(), Halt> {
        let me = Target::user(user.clone());
        if job.total == 0 {
            for (kind, _) in self.names.kinds() {
                let key = UserKey {
                    kind,
                    user: user.clone(),
                };
                job.total += self.numbers(&key).await?.given;
            }
            job.total += self.count_received(&me).await?;
        }
        for (kind, _) in self.names.kinds() {
            self.erase_made(job, kind, user).await?;
        }
        self.erase_received(job, &me).await?;
        self.ledger_has_everything().await?;
        self.note(job).await?;
        let forgotten = self.ledger.forget_user(user).await;
        forgotten.map_err(read_error)?;
        self.erase_told(job, &Erased::User(user.clone())).await?;
        job.total = job.done;
        Ok(())
    }

    async fn erase_target(
        self: &Arc<Self>,
        job: &mut TakenJob,
        target: &Target,
    ) -> Result<(), Halt> {
        if job.total == 0 {
            job.total = self.count_received(target).await?;
        }
        self.erase_received(job, target).await?;
        self.erase_told(job, &Erased::Target(target.clone()))
            .await?;
        job.total = job.done;
        Ok(())
    }

    /// Erases what owners were told, trying again while the ledger is away.
    async fn erase_told(self: &Arc<Self>, job: &mut TakenJob, erased: &Erased) -> Result<(), Halt> {
        let notes = LedgerNotes(Arc::clone(self));
        let end = Instant::now() + STEP_MAX;
        loop {
            self.note(job).await?;
            match self.erase_notes(&notes, erased).await {
                Ok(()) => return Ok(()),
                Err(JobError::Write(WriteError::Stopping)) => return Err(Halt::Left),
                Err(error) if Instant::now() < end => {
                    tracing::warn!(%error, job = job.id, "a step of a job is tried again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn count_received(self: &Arc<Self>, target: &Target) -> Result<u64, ReadError> {
        let keys = self.names.kinds().map(|(kind, _)| TargetKey {
            kind,
            target: target.clone(),
        });
        let counts = self.counts(&keys.collect::<Vec<_>>()).await?;
        Ok(counts.iter().map(|count| count.count).sum())
    }

    /// Unsets the edges that a user made, page by page, until there are none.
    async fn erase_made(
        self: &Arc<Self>,
        job: &mut TakenJob,
        kind: KindId,
        user: &Id,
    ) -> Result<(), Halt> {
        let key = UserKey {
            kind,
            user: user.clone(),
        };
        loop {
            let size = self.limits.job_step_edges;
            let page = self.targets(&key, None, &Start::top(), size).await?.page;
            if page.entries.is_empty() {
                return Ok(());
            }
            let edge = |entry: Entry<Target>| EdgeKey {
                kind,
                user: user.clone(),
                target: entry.key,
            };
            self.unset(job, page.entries.into_iter().map(edge).collect())
                .await?;
        }
    }

    /// Unsets the edges to a target under every kind, page by page, until there are none.
    async fn erase_received(
        self: &Arc<Self>,
        job: &mut TakenJob,
        target: &Target,
    ) -> Result<(), Halt> {
        for (kind, _) in self.names.kinds() {
            let key = TargetKey {
                kind,
                target: target.clone(),
            };
            loop {
                let size = self.limits.job_step_edges;
                let page = self.users(&key, &Start::top(), size).await?.page;
                if page.entries.is_empty() {
                    break;
                }
                let edge = |entry: Entry<Id>| EdgeKey {
                    kind,
                    user: entry.key,
                    target: target.clone(),
                };
                self.unset(job, page.entries.into_iter().map(edge).collect())
                    .await?;
            }
        }
        Ok(())
    }

    /// Unsets edges as anybody would, and writes down how far the job is.
    async fn unset(self: &Arc<Self>, job: &mut TakenJob, edges: Vec<EdgeKey>) -> Result<(), Halt> {
        let ops: Vec<Op> = edges
            .into_iter()
            .map(|edge| Op::new(Action::Unset, edge))
            .collect();
        let end = Instant::now() + STEP_MAX;
        let applied = loop {
            match self.apply(Write::plain(ops.clone())).await {
                Ok(applied) => break applied,
                Err(WriteError::Stopping) => return Err(Halt::Left),
                // Unsetting twice is unsetting once.
                Err(error) if Instant::now() < end => {
                    tracing::warn!(%error, job = job.id, "a step of a job is tried again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let changed = applied.transitions.iter().filter(|answer| answer.changed);
        job.done += changed.count() as u64;
        job.total = job.total.max(job.done);
        self.note(job).await
    }

    async fn recover_kind(self: &Arc<Self>, job: &mut TakenJob, kind: KindId) -> Result<(), Halt> {
        let kind_no = self.names.kind_no(kind);
        self.ledger_has_everything().await?;
        let mut after = job_place(job, kind_no);
        loop {
            let page = self
                .ledger
                .targets_of_kind(kind_no, after.as_ref(), RECOVERY_PAGE_TARGETS);
            let page = page.await.map_err(read_error)?;
            if page.is_empty() {
                return Ok(());
            }
            for target in &page {
                let name = TargetName {
                    kind: target.kind.0,
                    target_type: target.target_type.0,
                    id: target.target.clone(),
                };
                job.done += self.recover_target(&name).await?.edges;
                job.total = job.total.max(job.done);
                job.progress = format!("{} {}", name.target_type, name.id).into_bytes();
            }
            after = page.into_iter().next_back();
            self.note(job).await?;
        }
    }
}

/// What it means for a job how writing it down came out.
pub fn is_ours(noted: Result<bool, LedgerError>) -> Result<(), Halt> {
    match noted {
        Ok(true) => Ok(()),
        Ok(false) => Err(Halt::Left),
        Err(error) => Err(error.into()),
    }
}

/// After which target the node before was.
fn job_place(job: &TakenJob, kind: crate::ledger::KindNo) -> Option<TargetRef> {
    let text = std::str::from_utf8(&job.progress).ok()?;
    let (target_type, id) = text.split_once(' ')?;
    Some(TargetRef {
        kind,
        target_type: crate::ledger::TypeNo(target_type.parse().ok()?),
        target: Id::parse(id).ok()?,
    })
}
