//! How far a check is, for whoever watches it from another thread.
//!
//! Counted in edges and list entries read, which is what takes the time. The total is an estimate:
//! it is known before the first edge is read from the targets' counts, which the check is there to
//! doubt; once all edges were read it is known from them.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::metrics::Metrics;

/// Records between two updates, so that telling costs nothing next to reading.
const RECORDS_AN_UPDATE: u64 = 1_024;

/// How far a check is.
#[derive(Debug, Default)]
pub struct CheckProgress {
    done: AtomicU64,
    total: AtomicU64,
}

impl CheckProgress {
    /// Edges and list entries read so far; never more than the total.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed).min(self.total())
    }

    /// About how many there are to read; 0 while that is being found out.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

/// The checking side.
pub(super) struct Steps {
    progress: Arc<CheckProgress>,
    metrics: Metrics,
    read: Cell<u64>,
}

impl Steps {
    /// Nothing is read yet.
    pub(super) fn new(progress: Arc<CheckProgress>, metrics: Metrics) -> Self {
        Self {
            progress,
            metrics,
            read: Cell::new(0),
        }
    }

    /// One more record was read.
    pub(super) fn step(&self) {
        self.read.set(self.read.get() + 1);
        if self.read.get().is_multiple_of(RECORDS_AN_UPDATE) {
            self.tell();
        }
    }

    /// So many more records are to be read from here.
    pub(super) fn expect(&self, more: u64) {
        let total = self.read.get().saturating_add(more);
        self.progress.total.store(total, Ordering::Relaxed);
        self.metrics.check_records_total.set(as_gauge(total));
        self.tell();
    }

    fn tell(&self) {
        let read = self.read.get();
        self.progress.done.store(read, Ordering::Relaxed);
        self.metrics.check_records_done.set(as_gauge(read));
    }
}

fn as_gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
