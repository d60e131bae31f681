//! What the engine measures. The registry it is given adds the prefix `acclaim`.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The engine's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Operations a commit.
    pub commit_ops: Histogram,
    /// Seconds a commit took, from taking the batch to publishing it.
    pub commit_seconds: Histogram,
    /// Seconds the log took in it.
    pub log_seconds: Histogram,
    /// Bytes written to the log.
    pub log_bytes: Counter,
    /// Operations waiting for a commit.
    pub queue_ops: Gauge,
    /// Transitions.
    pub transitions: Counter,
    /// Operations that changed nothing.
    pub unchanged: Counter,
    /// The last journal place, in microseconds since the epoch.
    pub journal_position: Gauge<i64>,
    /// Edges, records and notes in the active delta.
    pub delta_size: Gauge,
    /// Checkpoints done.
    pub checkpoints: Counter,
    /// Seconds of the last checkpoint.
    pub checkpoint_seconds: Gauge<f64, AtomicU64>,
    /// Bytes of tables.
    pub base_bytes: Gauge,
    /// Sorted runs that wait to be merged.
    pub base_waiting_runs: Gauge,
    /// Bytes of the block cache in use.
    pub cache_bytes: Gauge,
    /// 1 while the disk is full.
    pub disk_full: Gauge,
    /// Edges and list entries that the newest check has read.
    pub check_records_done: Gauge,
    /// About how many it has to read.
    pub check_records_total: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            commit_ops: Histogram::new(exponential_buckets(1.0, 2.0, 15)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            log_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            log_bytes: Counter::default(),
            queue_ops: Gauge::default(),
            transitions: Counter::default(),
            unchanged: Counter::default(),
            journal_position: Gauge::default(),
            delta_size: Gauge::default(),
            checkpoints: Counter::default(),
            checkpoint_seconds: Gauge::default(),
            base_bytes: Gauge::default(),
            base_waiting_runs: Gauge::default(),
            cache_bytes: Gauge::default(),
            disk_full: Gauge::default(),
            check_records_done: Gauge::default(),
            check_records_total: Gauge::default(),
        };
        metrics.register_commits(registry);
        metrics.register_store(registry);
        metrics
    }

    fn register_commits(&self, registry: &mut Registry) {
        let commit = registry;
        commit.register("commit_ops", "Operations a commit", self.commit_ops.clone());
        commit.register_with_unit(
            "commit",
            "Time of a commit",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        commit.register_with_unit(
            "commit_log",
            "Time of the log in a commit",
            Unit::Seconds,
            self.log_seconds.clone(),
        );
        commit.register_with_unit(
            "log_written",
            "Bytes written to the log",
            Unit::Bytes,
            self.log_bytes.clone(),
        );
        commit.register(
            "queue_ops",
            "Operations waiting for a commit",
            self.queue_ops.clone(),
        );
        commit.register(
            "transitions",
            "Transitions decided",
            self.transitions.clone(),
        );
        commit.register(
            "unchanged",
            "Operations that changed nothing",
            self.unchanged.clone(),
        );
        commit.register(
            "journal_position_microseconds",
            "The last journal place",
            self.journal_position.clone(),
        );
    }

    fn register_store(&self, registry: &mut Registry) {
        let store = registry;
        store.register(
            "delta_entries",
            "Edges, records and notes in memory that are not in the tables yet",
            self.delta_size.clone(),
        );
        store.register("checkpoints", "Checkpoints done", self.checkpoints.clone());
        store.register_with_unit(
            "checkpoint_last",
            "Time of the last checkpoint",
            Unit::Seconds,
            self.checkpoint_seconds.clone(),
        );
        store.register_with_unit(
            "base",
            "Bytes of tables",
            Unit::Bytes,
            self.base_bytes.clone(),
        );
        store.register(
            "base_waiting_runs",
            "Sorted runs that wait to be merged",
            self.base_waiting_runs.clone(),
        );
        store.register_with_unit(
            "cache_used",
            "Bytes of the block cache in use",
            Unit::Bytes,
            self.cache_bytes.clone(),
        );
        store.register(
            "disk_full",
            "1 while the disk is full",
            self.disk_full.clone(),
        );
        store.register(
            "check_records_done",
            "Edges and list entries that the newest check has read",
            self.check_records_done.clone(),
        );
        store.register(
            "check_records_total",
            "Edges and list entries that the newest check has to read, about",
            self.check_records_total.clone(),
        );
    }
}
