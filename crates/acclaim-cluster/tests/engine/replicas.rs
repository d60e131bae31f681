//! A cluster whose ledger is a MariaDB with a real replica.

use std::time::Duration;

use acclaim_cluster::engine::{Cluster, ClusterConfig};
use acclaim_cluster::ledger::replicas::ReplicaHealth;
use acclaim_core::port::{Ack, Reads, Write, Writes};
use acclaim_core::pulse::Window;
use acclaim_core::{Engine, Start, TargetType};
use acclaim_servers::{MariaDb, MariaDbOptions, Redis, until};
use acclaim_testkit::conformance::{LIKES, edge, kinds, set, target_key, user_key};

const PATIENCE: Duration = Duration::from_secs(30);

struct Stage {
    engine: Cluster,
    replica: MariaDb,
    /// Goes last.
    _servers: (Redis, MariaDb),
}

impl Stage {
    async fn new() -> Self {
        let server = |id| MariaDb::start_with(MariaDbOptions::default().replicated(id));
        let (redis, primary, replica) = tokio::join!(Redis::start(), server(1), server(2));
        replica.follow(&primary).await;
        let database = primary.database().await;
        let mut config = ClusterConfig::new(&redis.url(), database.url(), "one");
        config.partitions = 4;
        config.limits.health_interval_millis = 50;
        config.limits.ranking_cache_millis = 0;
        config.ledger.max_replica_lag = Duration::from_millis(500);
        config.ledger_replicas = vec![database.url_by(replica.address().port())];
        let engine = Cluster::open(config, kinds(), None).await.unwrap();
        let stage = Self {
            engine,
            replica,
            _servers: (redis, primary),
        };
        stage.is_fit(true).await;
        stage
    }

    fn health(&self) -> ReplicaHealth {
        self.engine.ledger().replica_health().remove(0)
    }

    async fn is_fit(&self, fit: bool) {
        let looks = || async {
            let health = self.health();
            if health.is_fit == fit {
                Ok(())
            } else {
                Err(format!("{health:?}"))
            }
        };
        until(PATIENCE, "the replica is measured", looks).await;
    }

    async fn like(&self, user: &str, post: u32) {
        let op = set(edge(LIKES, user, &format!("POST:{post}")));
        let write = Write {
            ack: Ack::Ledger,
            ..Write::plain(vec![op])
        };
        self.engine.apply(write).await.unwrap();
    }

    /// What each read that the ledger answers says of the user and of all.
    async fn sees(&self, user: &str, likes: u64) {
        let engine = &self.engine;
        let key = user_key(LIKES, user);
        let listed = engine.targets(key.clone(), None, Start::top(), 100).await;
        let listed = listed.unwrap();
        assert_eq!(
            (listed.total, listed.page.entries.len() as u64),
            (likes, likes)
        );
        assert_eq!(engine.numbers(key).await.unwrap().given, likes);
        let post = TargetType::parse("POST").unwrap();
        let ranked = engine.ranking(LIKES, post.clone(), Window::All, 100).await;
        assert_eq!(ranked.unwrap().len() as u64, likes);
        let days = engine.daily(LIKES, Some(post), 1).await.unwrap();
        assert_eq!(days[0].set, likes);
    }

    async fn has_read_from_it(&self) {
        let before = self.health().reads;
        let reads = || async {
            self.engine
                .numbers(user_key(LIKES, "nobody"))
                .await
                .unwrap();
            if self.health().reads > before {
                Ok(())
            } else {
                Err(format!("{:?}", self.health()))
            }
        };
        until(PATIENCE, "the replica is read from", reads).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_seen_whatever_the_replica_has() {
    let stage = Stage::new().await;
    for post in 1..=20 {
        stage.like("1", post).await;
        stage.sees("1", u64::from(post)).await;
    }
    stage.has_read_from_it().await;

    // It still counts as fit, and has nothing of what comes now.
    stage.replica.hold_back().await;
    let behind = stage.health().behind;
    stage.like("1", 21).await;
    stage.sees("1", 21).await;
    let health = stage.health();
    assert!(health.behind > behind || !health.is_fit, "{health:?}");

    // Then it is known to be late, and nobody asks it.
    stage.is_fit(false).await;
    let (reads, ready) = (stage.health().reads, stage.engine.health());
    stage.sees("1", 21).await;
    assert_eq!(stage.health().reads, reads);
    assert!(ready.ready, "the primary answers");
    let told = ready
        .dependencies
        .iter()
        .find(|one| one.name == "ledger-replica");
    let told = told.unwrap();
    assert!(
        !told.up && told.detail.as_ref().unwrap().contains("at most 500"),
        "{told:?}"
    );

    stage.replica.catch_up().await;
    stage.is_fit(true).await;
    stage.has_read_from_it().await;
    stage.sees("1", 21).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_goes_away_costs_no_answer() {
    let stage = Stage::new().await;
    for user in 0..3 {
        stage.like(&user.to_string(), 1).await;
    }
    stage.has_read_from_it().await;
    stage.replica.kill();
    let numbers = stage.engine.numbers(user_key(LIKES, "2")).await.unwrap();
    assert_eq!(numbers.given, 1);
    stage.is_fit(false).await;
    let listed = stage
        .engine
        .users(target_key(LIKES, "POST:1"), Start::top(), 10);
    assert_eq!(listed.await.unwrap().page.entries.len(), 3);
    stage.replica.restart().await;
    stage.is_fit(true).await;
    stage.has_read_from_it().await;
}
