//! A cluster of one node as the suites want it, on any pair of servers.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acclaim_cluster::engine::{Cluster, ClusterConfig, ClusterLimits};
use acclaim_cluster::ledger::Ledger;
use acclaim_cluster::redis::connection::RedisLimits;
use acclaim_cluster::redis::keys::TargetName;
use acclaim_cluster::worker::WorkerLimits;
use acclaim_core::model::Partitions;
use acclaim_core::port::Clock;
use acclaim_core::{Engine, Kinds, Target};
use acclaim_servers::until;
use acclaim_testkit::ManualClock;
use acclaim_testkit::conformance::{Ending, Harness};
use async_trait::async_trait;

use crate::faults::load::LIMIT;
use crate::servers::{Pair, RedisSide, Servers, SingleAndMariaDb};

/// Of a store in the suites: few, so that the targets of a case meet in each.
const PARTITIONS: u16 = 4;

/// One node with its servers.
pub struct Clustered<P: Pair = SingleAndMariaDb> {
    kinds: Kinds,
    clock: Arc<ManualClock>,
    config: ClusterConfig,
    engine: Option<Arc<Cluster>>,
    /// The ledger of the engine that is open, which has met every type that was written to.
    ledger: Arc<Mutex<Option<Ledger>>>,
    opened: u32,
    servers: Servers,
    pair: PhantomData<P>,
}

/// These tests break nothing: a server that takes long has a busy machine, and is waited for.
fn patient() -> RedisLimits {
    RedisLimits {
        response_timeout_millis: 10_000,
        call_timeout_millis: 30_000,
        ..RedisLimits::default()
    }
}

/// Small limits, so that short tests cross them.
fn limits() -> ClusterLimits {
    ClusterLimits {
        ranking_cache_millis: 0,
        job_lease_millis: 1_000,
        job_poll_millis: 20,
        job_step_edges: 300,
        health_interval_millis: 50,
        read_wait_max_millis: 20_000,
        write_max_millis: 30_000,
        ..ClusterLimits::default()
    }
}

/// Leases that a crash does not leave for long, and journals that are kept: clocks here move by
/// months.
fn worker() -> WorkerLimits {
    WorkerLimits {
        lease_millis: 600,
        lease_renew_millis: 100,
        lease_retry_millis: 50,
        poll_max_millis: 20,
        journal_keep_seconds: 366 * 24 * 3_600,
        ..WorkerLimits::default()
    }
}

impl<P: Pair> Clustered<P> {
    async fn begin(&mut self) {
        // A name that no node had before: one that went in a crash may still hold leases.
        self.opened += 1;
        self.config.node = format!("node-{}", self.opened);
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let engine = Cluster::open(self.config.clone(), self.kinds.clone(), Some(clock)).await;
        let engine = Arc::new(engine.unwrap());
        *self.ledger.lock().unwrap() = Some(engine.ledger().clone());
        self.engine = Some(engine);
    }

    /// How the node was opened.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// Removes everything from Redis.
    pub async fn flush(&self) {
        let RedisSide::Single(redis) = &self.servers.redis else {
            panic!("others have their stores there");
        };
        redis.flush_all().await;
    }

    /// Removes from Redis what it may evict.
    async fn evict(&self, epoch: u32) {
        for server in self.servers.redis.masters().await {
            let mut redis = server.try_connect().await.unwrap();
            let mut all = redis::cmd("KEYS");
            all.arg(format!("{{p{epoch}.*"));
            let keys: Vec<String> = all.query_async(&mut redis).await.unwrap();
            for key in keys {
                let mut left = redis::cmd("PTTL");
                let left: i64 = left.arg(&key).query_async(&mut redis).await.unwrap();
                if left > 0 {
                    let mut delete = redis::cmd("DEL");
                    let _: i64 = delete.arg(&key).query_async(&mut redis).await.unwrap();
                }
            }
        }
    }
}

#[async_trait]
impl<P: Pair> Harness for Clustered<P> {
    async fn open(kinds: Kinds, clock: Arc<ManualClock>) -> Self {
        let servers = P::servers().await;
        servers.make_store(PARTITIONS).await;
        let config = ClusterConfig {
            partitions: PARTITIONS,
            limits: limits(),
            redis: patient(),
            worker: Some(worker()),
            ..ClusterConfig::new(&servers.redis.url(), servers.database.url(), "one")
        };
        let mut clustered = Self {
            kinds,
            clock,
            config,
            engine: None,
            ledger: Arc::default(),
            opened: 0,
            servers,
            pair: PhantomData,
        };
        clustered.begin().await;
        clustered
    }

    fn engine(&self) -> Arc<dyn Engine> {
        self.engine.clone().unwrap()
    }

    fn partitions(&self) -> Partitions {
        let ledger = Arc::clone(&self.ledger);
        let of = move |target: &Target| {
            let ledger = ledger.lock().unwrap();
            let met = ledger.as_ref().unwrap().met_type_no(&target.target_type);
            let name = TargetName {
                kind: 0,
                target_type: met.expect("the engine was there before the model").0,
                id: target.id.clone(),
            };
            name.partition(PARTITIONS)
        };
        Partitions::new(PARTITIONS, of)
    }

    async fn settle(&self) {
        let engine = self.engine.as_ref().unwrap();
        let partitions = engine.partitions();
        loop {
            let found = engine.redis().progress_many(&partitions).await.unwrap();
            if found
                .into_iter()
                .flatten()
                .all(|progress| progress.is_durable())
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn reopen(&mut self, ending: Ending) -> bool {
        if ending == Ending::Crash {
            let engine = self.engine.clone().unwrap();
            let server = || engine.redis().server_of(engine.partitions()[0]);
            let before = server();
            if P::crash(&self.servers.redis).await {
                // Until it hears of another master a node goes on with the one that was replaced,
                // and what is decided there is lost. A history is about what is kept.
                until(LIMIT, "the node to hear of the other master", || async {
                    let is_known = server() != before;
                    is_known.then_some(()).ok_or_else(|| format!("{before:?}"))
                })
                .await;
                return true;
            }
        }
        let engine = self.engine.take().unwrap();
        let epoch = engine.store().epoch;
        if ending == Ending::Clean {
            engine.stop().await;
        }
        drop(engine);
        self.evict(epoch).await;
        self.begin().await;
        true
    }
}
