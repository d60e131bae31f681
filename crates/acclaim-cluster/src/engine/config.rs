//! Every limit of the engine, with its default.

use std::time::Duration;

use crate::ledger::Bounds;
use crate::redis::connection::RedisLimits;
use crate::worker::{BusConfig, WorkerLimits};

/// How an engine is opened.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Where Redis is: `redis://…`.
    pub redis_url: String,
    /// Where the ledger is: `mysql://…`.
    pub ledger_url: String,
    /// Where replicas of the ledger are, of the same form; none by default.
    pub ledger_replicas: Vec<String>,
    /// The name of this node, other than that of every other node.
    pub node: String,
    /// Partitions of a store that is made now; that of one there is must be the same.
    pub partitions: u16,
    /// How long an opening asks again where it could not be found out that a server of Redis has
    /// everything that the ledger has. What a bus carries may have to come into the ledger first,
    /// and the worker that brings it may be this opening's own: another opening would begin anew
    /// with a consumer that the bus has to let into the group.
    pub seats_wait: Duration,
    /// Bounds on each call to Redis.
    pub redis: RedisLimits,
    /// Bounds on each statement of the ledger.
    pub ledger: Bounds,
    /// The engine's own limits.
    pub limits: ClusterLimits,
    /// Bounds on the worker of this process; nothing where it has none.
    pub worker: Option<WorkerLimits>,
    /// The bus that carries events from the workers to the ledger and to others; nothing where the
    /// workers write the ledger themselves.
    pub bus: Option<BusConfig>,
}

impl ClusterConfig {
    /// The defaults, for two servers.
    #[must_use]
    pub fn new(redis_url: &str, ledger_url: &str, node: &str) -> Self {
        Self {
            redis_url: redis_url.to_owned(),
            ledger_url: ledger_url.to_owned(),
            ledger_replicas: Vec::new(),
            node: node.to_owned(),
            partitions: crate::ledger::store::DEFAULT_PARTITIONS,
            seats_wait: Duration::ZERO,
            redis: RedisLimits::default(),
            ledger: Bounds::default(),
            limits: ClusterLimits::default(),
            worker: Some(WorkerLimits::default()),
            bus: None,
        }
    }
}

/// The engine's own limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterLimits {
    /// Ops that wait or are under way on this node.
    pub queue_max_ops: usize,
    /// Ops that one call to Redis decides; the ops of one write in one partition stay together
    /// even if they are more.
    pub call_max_ops: usize,
    /// How long a write may take, in milliseconds.
    pub write_max_millis: u64,
    /// How long a read waits for the ledger to have what was written before it, in milliseconds.
    /// Then it answers with what the ledger has.
    pub read_wait_max_millis: u64,
    /// How long a read waits for something to be loaded, in milliseconds.
    pub load_wait_max_millis: u64,
    /// Loads from the ledger at once.
    pub loads_max: usize,
    /// How long Redis keeps what the ledger has too, in seconds, ± 10%.
    pub keep_seconds: u64,
    /// Events that may be acknowledged and not in the ledger; beyond it writes are refused.
    pub backlog_max_events: u64,
    /// How long this node answers a ranking again, in milliseconds; 0 computes it each time.
    pub ranking_cache_millis: u64,
    /// How long a job belongs to a node that says nothing, in milliseconds.
    pub job_lease_millis: u64,
    /// How often jobs are looked for, in milliseconds.
    pub job_poll_millis: u64,
    /// Edges that a job deals with in one step.
    pub job_step_edges: usize,
    /// How long notifications belong to a node that says nothing, in milliseconds.
    pub notifications_lease_millis: u64,
    /// Bytes of the texts of imports that run as jobs, all of them in the ledger together.
    pub spool_max_bytes: u64,
    /// How long the text of an import is kept of which nothing more comes, in seconds.
    pub spool_idle_seconds: u64,
    /// How long an acknowledgement by a replica is waited for, in milliseconds.
    pub replica_max_millis: u64,
    /// How often the servers are asked how they are, in milliseconds.
    pub health_interval_millis: u64,
}

impl Default for ClusterLimits {
    fn default() -> Self {
        Self {
            queue_max_ops: 50_000,
            call_max_ops: 256,
            write_max_millis: 5_000,
            read_wait_max_millis: 2_000,
            load_wait_max_millis: 5_000,
            loads_max: 32,
            keep_seconds: 7 * 24 * 3_600,
            backlog_max_events: 1_000_000,
            ranking_cache_millis: 1_000,
            job_lease_millis: 15_000,
            job_poll_millis: 500,
            job_step_edges: 500,
            notifications_lease_millis: 10_000,
            spool_max_bytes: 1 << 30,
            spool_idle_seconds: 600,
            replica_max_millis: 1_000,
            health_interval_millis: 1_000,
        }
    }
}

impl ClusterLimits {
    pub(super) fn write_max(&self) -> Duration {
        Duration::from_millis(self.write_max_millis)
    }

    pub(super) fn read_wait_max(&self) -> Duration {
        Duration::from_millis(self.read_wait_max_millis)
    }

    pub(super) fn load_wait_max(&self) -> Duration {
        Duration::from_millis(self.load_wait_max_millis)
    }

    pub(super) fn keep(&self) -> Duration {
        Duration::from_secs(self.keep_seconds)
    }

    pub(super) fn spool_idle(&self) -> Duration {
        Duration::from_secs(self.spool_idle_seconds)
    }

    pub(super) fn notifications_lease(&self) -> Duration {
        Duration::from_millis(self.notifications_lease_millis)
    }

    pub(super) fn job_lease(&self) -> Duration {
        Duration::from_millis(self.job_lease_millis)
    }
}
