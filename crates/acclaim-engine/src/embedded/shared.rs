//! What the lane, the checkpointer, the jobs and all readers share.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use acclaim_core::cursor::CursorKey;
use acclaim_core::port::{Clock, Fingerprint, JobId};
use acclaim_core::{Kinds, Rev, WriteError};
use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::base::Base;
use super::board::Boards;
use super::check::CheckProgress;
use super::daily::DailyBook;
use super::delta::Delta;
use super::dictionary::Dictionary;
use super::log::Segments;
use super::metrics::Metrics;
use super::options::Options;
use super::spool::Spools;
use super::view::View;
use crate::combiner::Refused;

/// Shared by everything in the engine.
pub struct Shared {
    /// The data directory.
    pub dir: PathBuf,
    /// The store's id.
    pub store: [u8; 16],
    /// The limits.
    pub options: Options,
    /// The kinds.
    pub kinds: Kinds,
    /// Signs cursors.
    pub cursor_key: CursorKey,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The tables.
    pub base: Base,
    /// What reads look at.
    pub view: ArcSwap<View>,
    /// The room of a delta that is in the base.
    pub spare_delta: Mutex<Option<Delta>>,
    /// Names and numbers.
    pub dictionary: ArcSwap<Dictionary>,
    /// The days' numbers.
    pub daily: DailyBook,
    /// The rankings' candidates.
    pub boards: Boards,
    /// The log's segments.
    pub segments: Segments,
    /// The texts of import jobs.
    pub spools: Arc<Spools>,
    /// The last durable journal place.
    pub end: watch::Sender<Rev>,
    /// Becomes `true` when the engine stops.
    pub stopping: watch::Sender<bool>,
    /// Idempotency keys whose first write is not answered yet.
    pub in_flight: Mutex<HashSet<Fingerprint>>,
    /// Idempotency answers in the store, about.
    pub answers: AtomicU64,
    /// The job that runs, and how far its check is where it is one.
    pub running_job: Mutex<Option<(JobId, Arc<CheckProgress>)>>,
    /// Whether the disk was full at the last try.
    pub disk_full: AtomicBool,
    /// Whether the lane runs.
    pub running: AtomicBool,
    /// Wakes those who wait for the end of a checkpoint.
    pub checkpointed: Gate,
    /// What is measured.
    pub metrics: Metrics,
    /// Batches of notes that woke somebody.
    pub wakes: watch::Sender<u64>,
}

impl Shared {
    /// What it means to a caller that the lane did not take a call.
    pub fn refusal(&self, refused: Refused) -> WriteError {
        match refused {
            Refused::Full { waiting } => WriteError::Overloaded {
                queued: waiting,
                limit: self.options.queue_max_ops,
            },
            Refused::Closed => WriteError::Stopping,
        }
    }
}

/// The number of the last commit that is in the base, to wait for.
#[derive(Default)]
pub struct Gate {
    number: Mutex<u64>,
    moved: Condvar,
}

impl Gate {
    /// A gate that stands at `number`.
    pub fn at(number: u64) -> Self {
        Self {
            number: Mutex::new(number),
            moved: Condvar::new(),
        }
    }

    /// Moves on.
    pub fn pass(&self, number: u64) {
        *self.number.lock() = number;
        self.moved.notify_all();
    }

    /// Wakes all who wait, so that they look again.
    pub fn nudge(&self) {
        let _number = self.number.lock();
        self.moved.notify_all();
    }

    /// Waits until `done` answers something. It is asked again after every move.
    pub fn wait_until<T>(&self, mut done: impl FnMut(u64) -> Option<T>) -> T {
        let mut number = self.number.lock();
        loop {
            if let Some(answer) = done(*number) {
                return answer;
            }
            self.moved.wait(&mut number);
        }
    }
}
