//! Where jobs are written down and wait for their turn.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use acclaim_core::port::JobId;
use acclaim_core::{JobError, Kinds, WriteError};

use super::super::ask;
use super::super::lane::{Command, Reply};
use super::super::read::at_length;
use super::super::shared::Shared;
use super::super::workspace::Workspace;
use super::{What, open_jobs, write_down};
use crate::combiner::Combiner;

/// The queue. Clones are one queue.
#[derive(Clone)]
pub struct JobQueue {
    shared: Arc<Shared>,
    lane: Combiner<Command, Reply>,
    /// Where jobs are sent to run; gone once the engine stops.
    to_run: Arc<Mutex<Option<Sender<JobId>>>>,
}

impl JobQueue {
    /// A queue before the runner that `to_run` leads to.
    pub fn new(shared: Arc<Shared>, lane: Combiner<Command, Reply>, to_run: Sender<JobId>) -> Self {
        Self {
            shared,
            lane,
            to_run: Arc::new(Mutex::new(Some(to_run))),
        }
    }

    /// The engine's kinds.
    pub fn kinds(&self) -> &Kinds {
        &self.shared.kinds
    }

    /// Refuses where as many jobs wait as may. Imports whose text is still coming count, but for
    /// the `own` of the caller.
    pub async fn require_room(&self, own: usize) -> Result<(), JobError> {
        let waiting = at_length(&self.shared, |shared, _| open_jobs(&shared.view.load())).await?;
        let coming = self.shared.spools.under_way().saturating_sub(own);
        let queued = waiting.len() + coming;
        if queued >= self.shared.options.jobs_max_queued {
            return Err(JobError::TooMany { queued });
        }
        Ok(())
    }

    /// Writes a job down and lets it run, whatever becomes of the caller.
    pub async fn start(&self, what: What) -> Result<JobId, JobError> {
        let queue = self.clone();
        let started = tokio::spawn(async move {
            let id = queue.write_down(what, 0).await?;
            queue.run(id);
            Ok(id)
        });
        // It dies only with the runtime.
        started.await.unwrap_or(Err(WriteError::Stopping.into()))
    }

    /// Writes a job down.
    pub async fn write_down(&self, what: What, total: u64) -> Result<JobId, JobError> {
        let id = Arc::new(Mutex::new(None));
        let written = Arc::clone(&id);
        let work = move |work: &mut Workspace<'_>| {
            let id = write_down(work, what, total)?;
            *written.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
            Ok(())
        };
        ask(&self.shared, &self.lane, Command::Work(Box::new(work)), 1).await?;
        let id = *id.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(id.ok_or(WriteError::Stopping)?)
    }

    /// Lets a job run when those before it are done.
    pub fn run(&self, id: JobId) {
        let to_run = self.to_run.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(to_run) = &*to_run {
            // The runner is gone only when the engine stops; the next start goes on with the job.
            let _ = to_run.send(id);
        }
    }

    /// Lets no more jobs run.
    pub fn close(&self) {
        self.to_run
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}
