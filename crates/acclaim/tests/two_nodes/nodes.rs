//! The engines that the suite runs on: two nodes of one cluster, each with a worker, over a Redis
//! and a database that no other case uses.

use std::sync::Arc;

use acclaim_cluster::engine::{Cluster, ClusterConfig, ClusterLimits};
use acclaim_cluster::worker::WorkerLimits;
use acclaim_core::port::Clock;
use acclaim_core::{Engine, Kinds};
use acclaim_servers::{Database, MariaDb, MariaDbOptions, Redis};
use acclaim_testkit::ManualClock;
use tokio::sync::OnceCell;

/// Partitions of the journal: few, so that what a case writes meets in each.
pub const PARTITIONS: u16 = 4;

/// The acknowledgements that a write can ask for here: there is neither a replica nor a bus.
pub const ACKS: [&str; 2] = ["redis", "ledger"];

static SERVER: OnceCell<MariaDb> = OnceCell::const_new();

/// The servers under the nodes.
pub struct Kept {
    _redis: Redis,
    _database: Database,
}

/// A fresh database on a MariaDB that does not flush: nothing here cuts its power.
async fn database() -> Database {
    let start = || {
        let options = MariaDbOptions::default()
            .set("innodb-flush-log-at-trx-commit", "0")
            .set("innodb-doublewrite", "0");
        MariaDb::start_with(options)
    };
    SERVER.get_or_init(start).await.database().await
}

/// An empty store: the engine of each node that serves it.
pub async fn open(kinds: Kinds, clock: Arc<ManualClock>) -> (Vec<Arc<dyn Engine>>, Kept) {
    let (redis, database) = tokio::join!(Redis::start(), database());
    let mut engines: Vec<Arc<dyn Engine>> = Vec::new();
    for node in ["one", "two"] {
        let config = ClusterConfig {
            partitions: PARTITIONS,
            limits: limits(),
            worker: Some(worker()),
            ..ClusterConfig::new(&redis.url(), database.url(), node)
        };
        let clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let opened = Cluster::open(config, kinds.clone(), Some(clock)).await;
        engines.push(Arc::new(opened.unwrap()));
    }
    let kept = Kept {
        _redis: redis,
        _database: database,
    };
    (engines, kept)
}

/// Short looks at what goes on, and time enough on a busy machine: a read that gave up waiting for
/// the ledger would answer with what is old.
fn limits() -> ClusterLimits {
    ClusterLimits {
        ranking_cache_millis: 0,
        job_poll_millis: 20,
        health_interval_millis: 50,
        read_wait_max_millis: 20_000,
        ..ClusterLimits::default()
    }
}

/// Short polls, and journals that are kept: the clocks of cases move by months.
fn worker() -> WorkerLimits {
    WorkerLimits {
        lease_retry_millis: 50,
        poll_max_millis: 20,
        journal_keep_seconds: 366 * 24 * 3_600,
        ..WorkerLimits::default()
    }
}
