//! A store under load, and what must be true of it in the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use acclaim_cluster::engine::{Cluster, ClusterConfig, ClusterLimits};
use acclaim_cluster::ledger::Bounds;
use acclaim_cluster::redis::connection::RedisLimits;
use acclaim_cluster::redis::keys::Partition;
use acclaim_cluster::worker::WorkerLimits;
use acclaim_core::port::{Clock, Place, Reads};
use acclaim_core::{EdgeKey, Rev};
use acclaim_servers::until;
use acclaim_testkit::conformance::compare;
use parking_lot::Mutex;

use super::load::{Habits, LIMIT, Load, Node, Record, Seats};
use crate::servers::RedisSide;

const PARTITIONS: u16 = 4;

/// A configuration with which failures are noticed soon.
pub fn config(redis: &RedisSide, ledger_url: &str, node: &str) -> ClusterConfig {
    let mut config = ClusterConfig::new(&redis.url(), ledger_url, node);
    config.partitions = PARTITIONS;
    config.redis = RedisLimits {
        connect_timeout_millis: 500,
        response_timeout_millis: 500,
        call_timeout_millis: 2_000,
        ..RedisLimits::default()
    };
    config.ledger = Bounds {
        attempts: 2,
        connect_timeout: Duration::from_millis(500),
        statement_timeout: Duration::from_secs(1),
        ..Bounds::default()
    };
    config.limits = ClusterLimits {
        health_interval_millis: 50,
        read_wait_max_millis: 20_000,
        ..ClusterLimits::default()
    };
    config.worker = Some(WorkerLimits {
        batch_max_millis: 40,
        poll_max_millis: 20,
        lease_millis: 1_000,
        lease_renew_millis: 200,
        lease_retry_millis: 50,
        retry_first_pause_millis: 10,
        retry_longest_pause_millis: 200,
        // A quiet machine decides more than the default keeps, and every event is compared.
        journal_max_events: 100_000_000,
        ..WorkerLimits::default()
    });
    config
}

/// A store under load.
pub struct Stage {
    pub seats: Seats,
    config: ClusterConfig,
    habits: Habits,
    load: Option<Load>,
    before: Record,
    /// Whether Redis has all of the journal in the end.
    pub keeps_journal: bool,
}

impl Stage {
    /// One node, and callers who have been answered.
    pub async fn begin(config: ClusterConfig, clock: Option<Arc<dyn Clock>>) -> Self {
        Self::with(config, clock, Habits::default()).await
    }

    /// The same, for callers of other habits.
    pub async fn with(
        config: ClusterConfig,
        clock: Option<Arc<dyn Clock>>,
        habits: Habits,
    ) -> Self {
        let node = Node::open(config.clone(), clock).await;
        let mut stage = Self {
            seats: Arc::new(Mutex::new(vec![node])),
            config,
            habits,
            load: None,
            before: Record::default(),
            keeps_journal: true,
        };
        stage.go_on();
        stage.progress(50).await;
        stage
    }

    /// How its first node was opened.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// Sets the callers to work.
    pub fn go_on(&mut self) {
        let before = std::mem::take(&mut self.before);
        self.load = Some(Load::start(&self.seats, self.habits, before));
    }

    /// Waits for so many more answers.
    pub async fn progress(&self, writes: u64) {
        self.load.as_ref().unwrap().progress(writes).await;
    }

    /// Ends the callers, and waits until the ledger has everything.
    pub async fn rest(&mut self) {
        self.before = self.load.take().unwrap().stop().await;
        self.drained().await;
    }

    /// One of the nodes.
    pub fn engine(&self) -> Arc<Cluster> {
        Arc::clone(&self.seats.lock()[0].engine)
    }

    async fn drained(&self) {
        let engine = self.engine();
        until(LIMIT, "the ledger to have everything", || async {
            let all = engine.partitions();
            let found = engine.redis().progress_many(&all).await;
            let found = found.map_err(|error| error.to_string())?;
            let behind = found.into_iter().flatten();
            let behind: Vec<_> = behind.filter(|found| !found.is_durable()).collect();
            if behind.is_empty() {
                Ok(())
            } else {
                Err(format!("{behind:?}"))
            }
        })
        .await;
    }

    /// Ends it: everything is in the ledger, nothing contradicts itself, and what was acknowledged
    /// is there, in Redis and, without Redis, in the ledger. Answers how many writes were refused,
    /// and of how many the outcome was unknown.
    pub async fn finish(mut self, redis: &RedisSide) -> (u64, u64) {
        self.rest().await;
        let engine = self.engine();
        compare::check_is_clean(engine.as_ref()).await;
        self.compare("Redis").await;
        if self.keeps_journal {
            self.compare_journal().await;
        }
        empty(redis, engine.store().epoch).await;
        self.compare("the ledger").await;
        self.drained().await;
        compare::check_is_clean(engine.as_ref()).await;
        (self.before.refused, self.before.unknown)
    }

    /// What can be read now against what was told.
    async fn compare(&self, whose: &str) {
        let engine = self.engine();
        let edges: Vec<_> = self.before.edges.iter().collect();
        for part in edges.chunks(200) {
            let asked: Vec<EdgeKey> = part.iter().map(|(edge, _)| (*edge).clone()).collect();
            let statuses = until(LIMIT, "an answer", || async {
                let statuses = engine.statuses(asked.clone()).await;
                statuses.map_err(|error| error.to_string())
            })
            .await;
            for ((edge, told), status) in part.iter().zip(statuses) {
                let found = (status.edge.active, status.edge.rev);
                let is_later = told.is_open && found.1 > told.last().1;
                assert!(
                    found == told.last() || is_later,
                    "{edge:?} is {found:?} in {whose}, and was told to be {told:?}"
                );
            }
        }
    }

    /// Each answer is one event, and there are no others.
    async fn compare_journal(&self) {
        let engine = self.engine();
        let events = compare::journal_from(engine.as_ref(), Place::START).await;
        let mut found: BTreeMap<EdgeKey, Vec<(bool, Rev)>> = BTreeMap::new();
        for event in events {
            let of_edge = found.entry(event.edge).or_default();
            of_edge.push((event.active, event.rev));
        }
        for (edge, told) in &self.before.edges {
            let events = found.remove(edge).unwrap_or_default();
            let (common, beyond) = events.split_at(events.len().min(told.answers.len()));
            assert_eq!(common, told.answers, "events of {edge:?}");
            assert!(
                beyond.len() <= usize::from(told.is_open),
                "events of {edge:?} beyond those told: {beyond:?}"
            );
        }
        assert!(found.is_empty(), "events that nobody asked for: {found:?}");
    }
}

/// Removes a store from Redis, each partition at once.
pub async fn empty(redis: &RedisSide, epoch: u32) {
    for server in redis.masters().await {
        let mut connection = server.try_connect().await.unwrap();
        for number in 0..PARTITIONS {
            let mut all = redis::cmd("KEYS");
            all.arg(format!(
                "{}*",
                Partition {
                    epoch,
                    life: 0,
                    number
                }
            ));
            let keys: Vec<String> = all.query_async(&mut connection).await.unwrap();
            if !keys.is_empty() {
                let mut delete = redis::cmd("DEL");
                let _: i64 = delete.arg(keys).query_async(&mut connection).await.unwrap();
            }
        }
    }
}
