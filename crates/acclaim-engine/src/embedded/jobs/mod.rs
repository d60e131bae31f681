//! Jobs: work that takes many commits and goes on after a crash.
//!
//! A job is a note. Each step commits what it did together with how far it got, so a crash costs
//! at most a step that is done again, and doing it again changes nothing. One thread runs one job
//! after the other, in the order they came.

mod erase;
mod import;
mod queue;

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use acclaim_core::port::{ImportSpec, Job, JobId, JobSpec, JobState};
pub use queue::JobQueue;

use acclaim_core::{Id, Kinds, ReadError, Target, TargetType, WriteError};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use self::import::{ImportText, Imported};
use super::check::{self, CheckProgress};
use super::dictionary::Dictionary;
use super::lane::{Command, Reply};
use super::notes::{self, name};
use super::shared::Shared;
use super::view::View;
use super::workspace::Workspace;
use crate::combiner::Combiner;
use crate::failpoint;

/// Ended jobs that are remembered.
const MAX_ENDED_JOBS: usize = 1_000;

/// A job as it is written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobRecord {
    id: JobId,
    what: What,
    state: JobState,
    done: u64,
    total: u64,
    error: Option<String>,
    progress: Progress,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    import: Option<Imported>,
}

/// What a job does, by names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "kebab-case")]
pub enum What {
    /// Remove a user.
    EraseUser {
        /// Their id.
        user: String,
    },
    /// Remove a target.
    EraseTarget {
        /// Its type.
        target_type: String,
        /// Its id.
        target: String,
    },
    /// Rebuild what is derived.
    Recover {
        /// Under which kind.
        kind: String,
    },
    /// Take the edges of a text.
    Import(ImportText),
}

/// How far a job got: a pass, and the last key dealt with in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pass: usize,
    after: Vec<u8>,
}

/// Why a job's step did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The engine stops; the job goes on at the next start.
    #[error("the engine is stopping")]
    Stopping,
    /// It cannot be done.
    #[error("{0}")]
    Failed(String),
}

impl From<WriteError> for StepError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopping => Self::Stopping,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<ReadError> for StepError {
    fn from(error: ReadError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl What {
    /// What a job of the port does.
    pub fn of(spec: &JobSpec, kinds: &Kinds) -> Self {
        match spec {
            JobSpec::EraseUser(user) => Self::EraseUser {
                user: user.to_string(),
            },
            JobSpec::EraseTarget(target) => Self::EraseTarget {
                target_type: target.target_type.to_string(),
                target: target.id.to_string(),
            },
            JobSpec::Recover(kind) => Self::Recover {
                kind: kinds.get(*kind).name.to_string(),
            },
        }
    }

    /// An import of the text of this name.
    pub fn import(spool: String, spec: &ImportSpec, kinds: &Kinds) -> Self {
        Self::Import(ImportText::new(spool, spec, kinds))
    }
}

impl JobRecord {
    /// A job that waits.
    pub fn new(id: JobId, what: What, total: u64) -> Self {
        let is_import = matches!(what, What::Import(_));
        Self {
            id,
            what,
            state: JobState::Queued,
            done: 0,
            total,
            error: None,
            progress: Progress::default(),
            import: is_import.then(Imported::default),
        }
    }

    /// A job by its id, whole.
    pub fn find(view: &View, id: JobId) -> Result<Option<Self>, ReadError> {
        let Some(bytes) = view.note(&Self::key(id))? else {
            return Ok(None);
        };
        let mut job = Self::decode(&bytes)?;
        if let Some(import) = &mut job.import {
            import.read_rejections(view, id)?;
        }
        Ok(Some(job))
    }

    /// Its id.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The name of its text, where it has one.
    pub fn spool(&self) -> Option<&str> {
        match &self.what {
            What::Import(text) => Some(text.spool()),
            _ => None,
        }
    }

    /// Where it is written down.
    pub fn key(id: JobId) -> Vec<u8> {
        notes::numbered_key(name::JOB, id)
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        // A record of strings and numbers always serializes.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads [`JobRecord::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        serde_json::from_slice(bytes).map_err(|error| ReadError::Store(format!("a job: {error}")))
    }

    /// As the port shows it.
    pub fn show(&self) -> Job {
        let job = match &self.what {
            What::EraseUser { user } => format!("erase user {user}"),
            What::EraseTarget {
                target_type,
                target,
            } => {
                format!("erase target {target_type}:{target}")
            }
            What::Recover { kind } => format!("recover {kind}"),
            What::Import(text) => text.to_string(),
        };
        Job {
            id: self.id,
            job,
            state: self.state,
            done: self.done,
            total: self.total,
            error: self.error.clone(),
            import: self.import.as_ref().map(Imported::summary),
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, JobState::Done | JobState::Failed)
    }
}

/// A job as it stands now: what its record does not say before its next step is known in memory.
pub fn look(shared: &Shared, id: JobId) -> Result<Option<Job>, ReadError> {
    // Before the record, so that a job that ends between the two is shown as ended.
    let running = shared.running_job.lock().clone();
    let Some(record) = JobRecord::find(&shared.view.load(), id)? else {
        return Ok(None);
    };
    let mut job = record.show();
    if let Some((running, progress)) = running
        && running == id
        && !record.is_over()
    {
        job.state = JobState::Running;
        if progress.total() > 0 {
            (job.done, job.total) = (progress.done(), progress.total());
        }
    }
    Ok(Some(job))
}

/// All jobs that are remembered, oldest first.
pub fn all(view: &View) -> Result<Vec<JobRecord>, ReadError> {
    let notes = view.notes(&notes::key(name::JOB, &[]))?;
    notes
        .iter()
        .map(|(_, bytes)| JobRecord::decode(bytes))
        .collect()
}

/// Jobs that are not over.
pub fn open_jobs(view: &View) -> Result<Vec<JobRecord>, ReadError> {
    let mut jobs = all(view)?;
    jobs.retain(|job| !job.is_over());
    Ok(jobs)
}

/// Writes a new job down; the oldest ended ones make room.
pub fn write_down(work: &mut Workspace<'_>, what: What, total: u64) -> Result<JobId, ReadError> {
    let known = all(work.view())?;
    let id = known.last().map_or(1, |job| job.id + 1);
    let ended: Vec<_> = known.iter().filter(|job| job.is_over()).collect();
    for old in ended
        .iter()
        .take(ended.len().saturating_sub(MAX_ENDED_JOBS - 1))
    {
        work.note(JobRecord::key(old.id), None);
        if old.import.is_some() {
            work.note(Imported::rejections_key(old.id), None);
        }
    }
    let job = JobRecord::new(id, what, total);
    work.note(JobRecord::key(id), Some(job.encode()));
    Ok(id)
}

/// Runs jobs.
pub struct Runner {
    /// The engine's state.
    pub shared: Arc<Shared>,
    /// The lane.
    pub lane: Combiner<Command, Reply>,
}

impl Runner {
    /// Runs jobs until the sender is gone or the engine stops.
    pub fn run(&self, ids: &Receiver<JobId>) {
        while let Ok(id) = ids.recv() {
            match self.run_one(id) {
                Ok(()) => {}
                Err(StepError::Stopping) => return,
                Err(StepError::Failed(error)) => warn!(id, %error, "a job could not be run"),
            }
        }
    }

    fn run_one(&self, id: JobId) -> Result<(), StepError> {
        let Some(mut job) = JobRecord::find(&self.shared.view.load(), id)? else {
            return Ok(());
        };
        if job.is_over() {
            return Ok(());
        }
        job.state = JobState::Running;
        info!(id, job = job.show().job, "job begins");
        let progress = Arc::<CheckProgress>::default();
        *self.shared.running_job.lock() = Some((id, Arc::clone(&progress)));
        let outcome = self.work_off(&mut job, progress);
        match outcome {
            Ok(()) => {
                job.state = JobState::Done;
                // The total was an estimate: an edge from a user to themself is in it twice.
                job.total = job.done;
            }
            Err(StepError::Stopping) => return Err(StepError::Stopping),
            Err(StepError::Failed(error)) => {
                job.state = JobState::Failed;
                job.error = Some(error);
            }
        }
        info!(id, state = ?job.state, done = job.done, "job ends");
        let spool = job.spool().map(str::to_owned);
        let ended = self.commit(move |work| {
            work.note(JobRecord::key(job.id), Some(job.encode()));
            Ok(())
        });
        *self.shared.running_job.lock() = None;
        ended?;
        if let Some(spool) = spool {
            failpoint::hit(failpoint::IMPORT_BEFORE_REMOVAL);
            self.shared.spools.remove(&spool);
        }
        Ok(())
    }

    fn work_off(&self, job: &mut JobRecord, progress: Arc<CheckProgress>) -> Result<(), StepError> {
        match job.what.clone() {
            What::EraseUser { user } => self.erase(job, &erase::Erased::User(id(&user)?)),
            What::EraseTarget {
                target_type,
                target,
            } => {
                let target_type = TargetType::parse(&target_type)
                    .map_err(|error| StepError::Failed(format!("target type {error}")))?;
                let target = Target {
                    target_type,
                    id: id(&target)?,
                };
                self.erase(job, &erase::Erased::Target(target))
            }
            What::Import(text) => self.import(job, &text),
            What::Recover { kind } => {
                let report = check::run(&self.shared, &self.lane, true, Some(&kind), progress)?;
                (job.done, job.total) = (report.checked, report.checked);
                Ok(())
            }
        }
    }

    /// Runs `work` in a commit and waits for it.
    fn commit(
        &self,
        work: impl FnOnce(&mut Workspace<'_>) -> Result<(), ReadError> + Send + 'static,
    ) -> Result<(), StepError> {
        commit(&self.lane, work)
    }

    fn dictionary(&self) -> Arc<Dictionary> {
        self.shared.dictionary.load_full()
    }

    /// Commits a step with how far the job got.
    fn step(
        &self,
        job: &JobRecord,
        work: impl FnOnce(&mut Workspace<'_>) -> Result<(), ReadError> + Send + 'static,
    ) -> Result<(), StepError> {
        let (key, bytes) = (JobRecord::key(job.id), job.encode());
        self.commit(move |workspace| {
            work(workspace)?;
            workspace.note(key, Some(bytes));
            Ok(())
        })?;
        failpoint::hit(failpoint::JOB_STEP);
        Ok(())
    }
}

fn id(text: &str) -> Result<Id, StepError> {
    Id::parse(text).map_err(|error| StepError::Failed(format!("{text:?} {error}")))
}

/// Runs `work` in a commit and waits for it, off the runtime's threads.
pub fn commit(
    lane: &Combiner<Command, Reply>,
    work: impl FnOnce(&mut Workspace<'_>) -> Result<(), ReadError> + Send + 'static,
) -> Result<(), StepError> {
    ask(lane, Command::Work(Box::new(work)))
}

fn ask(lane: &Combiner<Command, Reply>, command: Command) -> Result<(), StepError> {
    use crate::combiner::Refused;
    let queued = lane.call(command, 1).map_err(|refused| match refused {
        Refused::Closed => StepError::Stopping,
        Refused::Full { waiting } => StepError::Failed(format!("{waiting} writes are waiting")),
    })?;
    queued
        .blocking_recv()
        .unwrap_or(Err(WriteError::Stopping))?;
    Ok(())
}

/// Moves everything committed so far into the base and waits for it, off the runtime's threads.
pub fn checkpoint(shared: &Shared, lane: &Combiner<Command, Reply>) -> Result<(), StepError> {
    use std::sync::atomic::Ordering;
    ask(lane, Command::Seal)?;
    // Answered after the seal is done.
    commit(lane, |_| Ok(()))?;
    let done = shared.checkpointed.wait_until(|_| {
        let done = shared.view.load().sealed.is_none();
        (done || shared.disk_full.load(Ordering::Relaxed)).then_some(done)
    });
    if done {
        Ok(())
    } else {
        Err(StepError::Failed("the disk is full".to_owned()))
    }
}
