//! Journals keep what is not folded, within a bound, and say where they did not.

use acclaim_cluster::engine::ClusterConfig;
use acclaim_cluster::worker::WorkerLimits;
use acclaim_core::Kinds;
use acclaim_core::notify::NotificationLimits;
use acclaim_core::notify::consume::Stepped;
use acclaim_core::port::Place;
use acclaim_servers::until;
use acclaim_testkit::ManualClock;

use super::cases::{NOW, World, shown};
use super::engines::{Kept, SOON, open_as};
use crate::servers::{Pair, SingleAndMariaDb};

/// A node that keeps nothing for subscribers, in one partition, so that nodes of the stream fill.
async fn open(unread_max_events: u64, clock: &std::sync::Arc<ManualClock>) -> World {
    let servers = SingleAndMariaDb::servers().await;
    let change = |config: ClusterConfig| ClusterConfig {
        partitions: 1,
        worker: Some(WorkerLimits {
            journal_max_events: 0,
            unread_max_events,
            sweep_seconds: 1,
            ..config.worker.clone().unwrap()
        }),
        ..config
    };
    let opened = open_as(servers, change, Kinds::new([]).unwrap(), clock.clone()).await;
    let world = World::over(opened, clock.clone(), NotificationLimits::default()).await;
    until(SOON, "the worker to know that somebody folds", || async {
        let numbers = world.kept.cluster.worker_numbers().unwrap();
        match numbers.keeps_unread {
            1 => Ok(()),
            _ => Err(format!("{numbers:?}")),
        }
    })
    .await;
    world
}

/// What the journal of the only partition removed.
async fn removed(kept: &Kept) -> u64 {
    let partitions = kept.cluster.partitions();
    let found = kept
        .cluster
        .redis()
        .progress_many(&partitions)
        .await
        .unwrap();
    found[0].unwrap().kept_after.0
}

const LIKES: u64 = 450;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_folded_is_kept() {
    let clock = ManualClock::at(NOW);
    let mut world = open(100_000, &clock).await;
    world.own(1, 1).await;
    world.like(1_000, 1).await;
    world.fold().await;
    world.consumer.settle().await.unwrap();
    for user in 2..LIKES + 2 {
        world.like(user, 1).await;
    }
    world.settle().await;
    // Each batch trimmed, as it does where nobody folds: nothing of it went.
    let position = world.consumer.position().seq.0;
    assert!(removed(&world.kept).await <= position);
    assert_eq!(world.fold().await, 99, "as many as the limit of an hour");
    let list = world.list(1).await;
    assert_eq!(shown(&list)[0].2, LIKES + 1 - 3);
    world.consumer.settle().await.unwrap();
    until(SOON, "what is folded to go", || async {
        let removed = removed(&world.kept).await;
        match removed > position {
            true => Ok(()),
            false => Err(format!("{removed}")),
        }
    })
    .await;
    assert!(removed(&world.kept).await <= world.consumer.position().seq.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_bound_it_is_said_that_events_are_gone() {
    let clock = ManualClock::at(NOW);
    let mut world = open(150, &clock).await;
    world.own(1, 1).await;
    world.like(1_000, 1).await;
    world.fold().await;
    world.consumer.settle().await.unwrap();
    let position = world.consumer.position();
    for user in 2..LIKES + 2 {
        world.like(user, 1).await;
    }
    world.settle().await;
    until(SOON, "the journal to be trimmed", || async {
        let removed = removed(&world.kept).await;
        match removed > position.seq.0 {
            true => Ok(()),
            false => Err(format!("{removed}")),
        }
    })
    .await;
    let stepped = world.consumer.step().await.unwrap();
    let Stepped::Trimmed { from, to } = stepped else {
        panic!("{stepped:?}");
    };
    assert_eq!(from, position);
    assert!(to > from && to < Place::MAX);
    assert!(world.fold().await > 0, "it goes on with what is kept");
}
