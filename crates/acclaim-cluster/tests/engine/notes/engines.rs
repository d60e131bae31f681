//! A node that the cases of the fold run on.

use std::sync::Arc;
use std::time::Duration;

use acclaim_cluster::engine::{Cluster, ClusterConfig, ClusterLimits};
use acclaim_cluster::redis::connection::RedisLimits;
use acclaim_cluster::worker::{BusConfig, WorkerLimits};
use acclaim_core::port::Clock;
use acclaim_core::{Engine, Kinds};
use acclaim_servers::until;
use acclaim_testkit::ManualClock;

use crate::servers::{Pair, Servers, SingleAndMariaDb};

/// Random histories that are tried: each has a store of its own.
pub const HISTORIES: u32 = 8;
/// Long enough for anything that must happen, on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// The node and its servers.
pub struct Kept {
    pub cluster: Arc<Cluster>,
    pub config: ClusterConfig,
    pub servers: Servers,
}

impl Kept {
    /// Waits until the ledger has everything that was decided, and Redis knows.
    pub async fn settle(&self) {
        let partitions = &self.cluster.partitions();
        until(SOON, "everything in the ledger", || async move {
            let found = self.cluster.redis().progress_many(partitions).await;
            let found = found.map_err(|error| error.to_string())?;
            match found.iter().flatten().all(|one| one.is_durable()) {
                true => Ok(()),
                false => Err(format!("{found:?}")),
            }
        })
        .await;
    }
}

/// A configuration of servers that nothing breaks.
pub fn config(servers: &Servers, node: &str) -> ClusterConfig {
    ClusterConfig {
        partitions: 4,
        limits: ClusterLimits {
            job_poll_millis: 20,
            health_interval_millis: 50,
            read_wait_max_millis: 20_000,
            write_max_millis: 30_000,
            notifications_lease_millis: 60_000,
            ..ClusterLimits::default()
        },
        redis: RedisLimits {
            response_timeout_millis: 10_000,
            call_timeout_millis: 30_000,
            ..RedisLimits::default()
        },
        worker: Some(WorkerLimits {
            batch_max_millis: 20,
            poll_max_millis: 10,
            // Clocks here move by months.
            journal_keep_seconds: 366 * 24 * 3_600,
            ..WorkerLimits::default()
        }),
        ..ClusterConfig::new(&servers.redis.url(), servers.database.url(), node)
    }
}

/// A node on these servers.
pub async fn open_on(
    servers: Servers,
    bus: Option<BusConfig>,
    kinds: Kinds,
    clock: Arc<ManualClock>,
) -> (Arc<dyn Engine>, Kept) {
    servers.make_store(4).await;
    let change = |config| ClusterConfig { bus, ..config };
    open_as(servers, change, kinds, clock).await
}

/// A node with another configuration.
pub async fn open_as(
    servers: Servers,
    change: impl FnOnce(ClusterConfig) -> ClusterConfig,
    kinds: Kinds,
    clock: Arc<ManualClock>,
) -> (Arc<dyn Engine>, Kept) {
    let config = change(config(&servers, "one"));
    let cluster = Cluster::open(config.clone(), kinds, Some(clock as Arc<dyn Clock>)).await;
    let cluster = Arc::new(cluster.unwrap());
    let kept = Kept {
        cluster: Arc::clone(&cluster),
        config,
        servers,
    };
    (cluster, kept)
}

/// An empty store.
pub async fn open(kinds: Kinds, clock: Arc<ManualClock>) -> (Arc<dyn Engine>, Kept) {
    open_on(SingleAndMariaDb::servers().await, None, kinds, clock).await
}
