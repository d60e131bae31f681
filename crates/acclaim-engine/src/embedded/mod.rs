//! The embedded engine: one process, one directory, durable before any answer.
//!
//! A write goes `apply → combiner → lane → log (fsync) → delta → answer`; a checkpoint later moves
//! the delta into the base. A read takes a view and looks into the active delta, the sealed one and
//! the base. Everything derived (counts, lists, rankings, days) is decided with the transition it
//! follows from and lies in the same frame of the log.
//!
//! See docs/architecture.md for the measurements behind this.

mod activity;
mod admin;
mod backup;
mod base;
mod board;
mod bulk;
mod check;
mod checkpoint;
mod codec;
mod daily;
mod delta;
mod dictionary;
mod heads;
mod import;
mod jobs;
mod key;
mod lane;
mod log;
mod metrics;
mod names;
mod notes;
mod notify;
mod open;
mod options;
mod port;
mod read;
mod record;
mod recover;
mod shared;
mod spool;
mod timeline;
mod view;
mod workspace;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use acclaim_core::port::{Applied, Clock};
use acclaim_core::{Kinds, WriteError};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::combiner::{Combiner, combiner};
use jobs::{JobQueue, JobRecord, Runner};
use lane::{Command, Lane, Reply};
use metrics::Metrics;
use shared::{Gate, Shared};

pub use backup::{BackupError, BackupSummary, restore};
pub use bulk::{BulkError, BulkLoad, Loaded};
pub use check::CheckProgress;
pub use open::OpenError;
pub use options::Options;

/// The engine. Stopped when dropped, but [`EmbeddedEngine::stop`] also says whether all went well.
pub struct EmbeddedEngine {
    shared: Arc<Shared>,
    lane: Combiner<Command, Reply>,
    jobs: JobQueue,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held until the engine is gone.
    _lock: File,
}

/// Why the engine did not stop well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thread of the engine died; the next start reads the log again")]
pub struct StopError;

impl EmbeddedEngine {
    /// Opens the store in `dir`, making it where there is none, and starts its threads. Blocks while
    /// the log is replayed.
    ///
    /// # Errors
    /// [`OpenError`], saying what to do.
    pub fn open(
        dir: &Path,
        kinds: Kinds,
        options: Options,
        clock: Arc<dyn Clock>,
        registry: &mut Registry,
    ) -> Result<Arc<Self>, OpenError> {
        let opened = open::open(dir, &kinds, &options)?;
        let last_seq = opened.log.last_seq();
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            store: opened.store,
            kinds,
            cursor_key: opened.cursor_key,
            clock,
            base: opened.base,
            view: ArcSwap::from_pointee(opened.view),
            dictionary: ArcSwap::new(opened.dictionary),
            daily: opened.daily,
            boards: opened.boards,
            segments: opened.segments,
            spools: Arc::new(opened.spools),
            end: watch::Sender::new(last_seq),
            stopping: watch::Sender::new(false),
            in_flight: Mutex::default(),
            answers: AtomicU64::new(opened.mark.answers),
            spare_delta: Mutex::default(),
            running_job: Mutex::default(),
            disk_full: AtomicBool::new(false),
            running: AtomicBool::new(true),
            checkpointed: Gate::at(opened.mark.number),
            metrics: Metrics::register(registry),
            wakes: watch::Sender::new(0),
            options,
        });
        let (lane, taker) = combiner(shared.options.queue_max_ops);
        let (sealed, checkpoints) = mpsc::channel();
        let writer = Lane::new(Arc::clone(&shared), opened.log, sealed, opened.new_names);
        let for_checkpoints = Arc::clone(&shared);
        let runner = Runner {
            shared: Arc::clone(&shared),
            lane: lane.clone(),
        };
        let (jobs, to_run) = mpsc::channel();
        let threads = vec![
            spawn("acclaim-lane", dir, move || writer.run(taker))?,
            spawn("acclaim-checkpoint", dir, move || {
                checkpoint::run(&for_checkpoints, &checkpoints);
            })?,
            spawn("acclaim-jobs", dir, move || runner.run(&to_run))?,
        ];
        let jobs = JobQueue::new(Arc::clone(&shared), lane.clone(), jobs);
        let engine = Arc::new(Self {
            shared,
            lane,
            jobs,
            threads: Mutex::new(threads),
            _lock: opened.lock,
        });
        engine.resume_jobs(dir)?;
        Ok(engine)
    }

    /// Goes on with the jobs that were under way.
    fn resume_jobs(&self, dir: &Path) -> Result<(), OpenError> {
        let open = jobs::open_jobs(&self.shared.view.load()).map_err(|error| OpenError::Base {
            dir: dir.display().to_string(),
            error: error.to_string(),
        })?;
        let spools = open.iter().filter_map(JobRecord::spool).collect();
        let swept = self.shared.spools.sweep(&spools);
        swept.map_err(|error| OpenError::Io {
            path: dir.display().to_string(),
            error,
        })?;
        open.iter().for_each(|job| self.jobs.run(job.id()));
        Ok(())
    }

    async fn ask(&self, command: Command, weight: usize) -> Reply {
        ask(&self.shared, &self.lane, command, weight).await
    }

    /// Runs something inside a commit.
    async fn work(
        &self,
        work: impl FnOnce(&mut workspace::Workspace<'_>) -> Result<(), acclaim_core::ReadError>
        + Send
        + 'static,
    ) -> Result<Applied, WriteError> {
        self.ask(Command::Work(Box::new(work)), 1).await
    }

    /// Moves everything committed so far into the base and waits for it.
    async fn checkpoint(&self) -> Result<(), WriteError> {
        self.ask(Command::Seal, 1).await?;
        // A second question is answered after the seal is done.
        self.work(|_| Ok(())).await?;
        let shared = Arc::clone(&self.shared);
        let waited = tokio::task::spawn_blocking(move || {
            shared.checkpointed.wait_until(|_| {
                let done = shared.view.load().sealed.is_none();
                (done || shared.disk_full.load(Ordering::Relaxed)).then_some(done)
            })
        });
        match waited.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(WriteError::Unavailable {
                reason: "the disk is full".to_owned(),
                retry_after: std::time::Duration::from_secs(5),
            }),
            Err(_) => Err(WriteError::Stopping),
        }
    }

    /// Takes no more writes, ends those under way, and moves everything into the base.
    ///
    /// # Errors
    /// [`StopError`] when one of its threads died.
    pub async fn stop(&self) -> Result<(), StopError> {
        self.shared.stopping.send_replace(true);
        self.lane.close();
        self.jobs.close();
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined = tokio::task::spawn_blocking(move || join_all(threads)).await;
        joined.unwrap_or(Err(StopError))
    }
}

impl Drop for EmbeddedEngine {
    fn drop(&mut self) {
        self.lane.close();
        self.jobs.close();
        // Who wants to know calls `stop`.
        let _ = join_all(std::mem::take(self.threads.get_mut()));
    }
}

/// Asks the lane and waits for its answer.
async fn ask(
    shared: &Shared,
    lane: &Combiner<Command, Reply>,
    command: Command,
    weight: usize,
) -> Reply {
    let queued = lane
        .call(command, weight)
        .map_err(|refused| shared.refusal(refused))?;
    shared.metrics.queue_ops.set(lane.waiting() as i64);
    queued.await.unwrap_or(Err(WriteError::Stopping))
}

fn join_all(threads: Vec<JoinHandle<()>>) -> Result<(), StopError> {
    let mut all_well = Ok(());
    for thread in threads {
        all_well = thread.join().map_err(|_| StopError).and(all_well);
    }
    all_well
}

fn spawn(
    name: &str,
    dir: &Path,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| OpenError::Io {
        path: dir.display().to_string(),
        error,
    })
}
