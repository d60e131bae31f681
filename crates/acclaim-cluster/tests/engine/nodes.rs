//! What a cluster does that one engine alone does not: several nodes, a Redis that lost all of it,
//! acknowledgements, limits.

use std::sync::Arc;
use std::time::Duration;

use acclaim_cluster::engine::{Cluster, ClusterConfig, OpenError};
use acclaim_cluster::redis::progress::Progress;
use acclaim_cluster::worker::WorkerLimits;
use acclaim_core::port::{Ack, Clock, Reads, Write, Writes};
use acclaim_core::{Engine, Kind, Kinds, Op, Start, WriteError};
use acclaim_servers::{Redis, until};
use acclaim_testkit::ManualClock;
use acclaim_testkit::conformance::{
    Harness, LIKES, START, compare, edge, kinds, set, target_key, user_key,
};

use crate::harness::Clustered;
use crate::servers::{RedisSide, database};

async fn one_node() -> (Clustered, Arc<ManualClock>) {
    let clock = ManualClock::at(START);
    (Clustered::open(kinds(), clock.clone()).await, clock)
}

/// Another node of the same store, without a worker.
pub async fn another(of: &Clustered, change: impl FnOnce(&mut ClusterConfig)) -> Cluster {
    let mut config = node_config(of);
    change(&mut config);
    let clock = ManualClock::at(START) as Arc<dyn Clock>;
    Cluster::open(config, kinds(), Some(clock)).await.unwrap()
}

fn node_config(of: &Clustered) -> ClusterConfig {
    let mut config = of.config().clone();
    config.node = "another".to_owned();
    config.worker = None;
    config
}

fn likes(user: &str, posts: std::ops::Range<u32>) -> Vec<Op> {
    posts
        .map(|post| set(edge(LIKES, user, &format!("POST:{post}"))))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_acknowledged_the_other_reads() {
    let (first, _) = one_node().await;
    let (engine, other) = (first.engine(), another(&first, |_| {}).await);
    for n in 0..20u64 {
        let user = (n % 3).to_string();
        engine
            .apply(Write::plain(likes(&user, 0..5)))
            .await
            .unwrap();
        let like = edge(LIKES, &user, "POST:4");
        assert!(
            other.statuses(vec![like.clone()]).await.unwrap()[0]
                .edge
                .active
        );
        let listed = other.targets(user_key(LIKES, &user), None, Start::top(), 10);
        assert_eq!(
            listed.await.unwrap().total,
            5,
            "what the user wrote, round {n}"
        );
        let unset = Op::new(acclaim_core::Action::Unset, like);
        other.apply(Write::plain(vec![unset])).await.unwrap();
        let numbers = engine.numbers(user_key(LIKES, &user)).await.unwrap();
        assert_eq!(numbers.given, 4);
    }
    compare::check_is_clean(&other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_is_filled_from_the_ledger() {
    let (node, _) = one_node().await;
    let engine = node.engine();
    for user in 0..150 {
        let ops = likes(&user.to_string(), 0..4);
        engine.apply(Write::plain(ops)).await.unwrap();
    }
    let key = target_key(LIKES, "POST:2");
    let before = compare::walk_users(engine.as_ref(), &key, 40).await;
    node.settle().await;
    node.flush().await;
    let count = engine.counts(vec![key.clone()]).await.unwrap()[0].count;
    assert_eq!((count, before.len()), (150, 150));
    assert_eq!(compare::walk_users(engine.as_ref(), &key, 40).await, before);
    let again = engine.apply(Write::plain(likes("7", 0..6))).await.unwrap();
    let changed: Vec<bool> = again
        .transitions
        .iter()
        .map(|answer| answer.changed)
        .collect();
    assert_eq!(changed, [false, false, false, false, true, true]);
    node.settle().await;
    compare::check_is_clean(engine.as_ref()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_are_given_or_refused() {
    let (node, _) = one_node().await;
    let engine = node.engine();
    let write = |ack| Write {
        ack,
        ..Write::plain(likes("1", 0..3))
    };
    engine.apply(write(Ack::Redis)).await.unwrap();
    engine.apply(write(Ack::Ledger)).await.unwrap();
    let bus = engine.apply(write(Ack::Bus)).await;
    assert!(
        matches!(bus, Err(WriteError::AckNotPossible { asked: "bus", .. })),
        "{bus:?}"
    );
    let impatient = another(&node, |config| config.limits.replica_max_millis = 20).await;
    // There is no replica: it is decided, and not as safe as asked for.
    let replica = impatient.apply(write(Ack::Replica)).await;
    assert!(
        matches!(replica, Err(WriteError::Unknown { .. })),
        "{replica:?}"
    );
}

/// A partition is emptied after a write was decided there and before a worker came by. The worker
/// opens it anew, behind all that the ledger has: nothing is owed there any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_lost_before_the_ledger_had_it_is_not_acknowledged() {
    let (redis, database) = tokio::join!(RedisSide::single(), database());
    let mut config = ClusterConfig::new(&redis.url(), database.url(), "decides");
    config.partitions = 4;
    config.worker = None;
    let worker = ClusterConfig {
        node: "drains".to_owned(),
        worker: Some(WorkerLimits::default()),
        ..config.clone()
    };
    let open = |config| Cluster::open(config, kinds(), None);
    let engine = Arc::new(open(config).await.unwrap());
    let write = Write {
        ack: Ack::Ledger,
        ..Write::plain(likes("1", 0..20))
    };
    let writer = Arc::clone(&engine);
    let written = tokio::spawn(async move { writer.apply(write).await });
    let partitions = engine.partitions();
    until(Duration::from_secs(30), "all to be decided", || async {
        let found = engine.redis().progress_many(&partitions).await;
        let found = found.map_err(|error| error.to_string())?;
        let owed = |found: &Option<_>| found.as_ref().is_some_and(|it: &Progress| !it.is_durable());
        found
            .iter()
            .all(owed)
            .then_some(())
            .ok_or(format!("{found:?}"))
    })
    .await;
    let master = redis.masters().await[0];
    let mut all = redis::cmd("KEYS");
    all.arg(format!("{}*", partitions[2]));
    let mut lost = redis::cmd("DEL");
    lost.arg(master.query::<Vec<String>>(&all).await);
    assert!(master.query::<usize>(&lost).await > 0);
    let drains = open(worker).await.unwrap();

    let outcome = written.await.unwrap();
    assert!(
        matches!(outcome, Err(WriteError::Unknown { .. })),
        "{outcome:?}"
    );
    drains.stop().await;
    let kept = engine.statuses(likes("1", 0..20).into_iter().map(|op| op.edge).collect());
    let kept = kept
        .await
        .unwrap()
        .iter()
        .filter(|one| one.edge.active)
        .count();
    assert!(
        (1..20).contains(&kept),
        "{kept} of 20 were in other partitions"
    );
}

/// The kinds of the suites, where `likes` has an acknowledgement.
fn likes_acknowledged_by(ack: Ack) -> Kinds {
    let all = kinds();
    let configured = all.iter().map(|(id, kind)| Kind {
        ack: if id == LIKES { ack } else { kind.ack },
        ..kind.clone()
    });
    Kinds::new(configured.collect::<Vec<_>>()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_has_an_acknowledgement_of_its_own() {
    let (node, _) = one_node().await;
    let write = |posts, ack| Write {
        ack,
        ..Write::plain(likes("1", posts))
    };
    let open = |ack| Cluster::open(node_config(&node), likes_acknowledged_by(ack), None);
    let strict = open(Ack::Ledger).await.unwrap();
    for (post, asked) in [(0, Ack::Default), (1, Ack::Redis)] {
        strict.apply(write(post..post + 1, asked)).await.unwrap();
        let partitions = strict.ledger().partitions().await.unwrap();
        let applied = partitions.iter().map(|one| one.applied).max().unwrap();
        let rev = strict.statuses(vec![edge(LIKES, "1", &format!("POST:{post}"))]);
        let rev = rev.await.unwrap()[0].edge.rev;
        assert!(applied >= rev, "{asked:?}: {applied:?} is before {rev:?}");
    }
    for (ack, word) in [(Ack::Bus, "no bus"), (Ack::Replica, "has no replica")] {
        match open(ack).await {
            Err(OpenError::Ack(refused)) => {
                let text = refused.to_string();
                assert!(
                    text.contains("kinds.likes.ack") && text.contains(word),
                    "{text}"
                );
            }
            Err(error) => panic!("{ack:?}: {error}"),
            Ok(_) => panic!("{ack:?} is not possible here"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_queue_holds_is_refused() {
    let (node, _) = one_node().await;
    let small = another(&node, |config| config.limits.queue_max_ops = 10).await;
    let write = |posts| small.apply(Write::plain(likes("1", posts)));
    // All three ask for room before any is answered.
    let (first, fits, over) = tokio::join!(write(0..8), write(8..10), write(10..11));
    assert_eq!(first.unwrap().transitions.len(), 8);
    assert_eq!(fits.unwrap().transitions.len(), 2);
    let (queued, limit) = (10, 10);
    assert_eq!(over, Err(WriteError::Overloaded { queued, limit }));
    // Alone, one that is larger than the queue is taken.
    assert_eq!(write(0..40).await.unwrap().transitions.len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_over_its_limit_refuses_writes() {
    let (redis, database) = tokio::join!(Redis::start(), database());
    let mut config = ClusterConfig::new(&redis.url(), database.url(), "alone");
    config.partitions = 3;
    config.worker = None;
    config.limits.backlog_max_events = 3;
    config.limits.health_interval_millis = 10;
    let engine = Cluster::open(config, kinds(), None).await.unwrap();
    let write = |posts| engine.apply(Write::plain(likes("1", posts)));
    for (posts, backlog) in [(0..3, 3), (3..4, 4)] {
        write(posts).await.unwrap();
        let counted = || async {
            let found = engine.health().backlog_events;
            if found == backlog {
                Ok(())
            } else {
                Err(format!("{found} events"))
            }
        };
        until(Duration::from_secs(20), "the backlog is counted", counted).await;
    }
    let refused = write(4..5).await;
    assert!(
        matches!(refused, Err(WriteError::Unavailable { .. })),
        "{refused:?}"
    );
    let count = engine
        .counts(vec![target_key(LIKES, "POST:3")])
        .await
        .unwrap()[0]
        .count;
    assert_eq!(count, 1, "reads go on");
}
