//! Two nodes of one cluster, of which one folds.

use std::sync::Arc;
use std::time::Duration;

use acclaim_cluster::engine::{Cluster, ClusterConfig, ClusterLimits};
use acclaim_core::notify::consume::{ConsumeError, Stepped};
use acclaim_core::notify::{Batch, NotificationLimits};
use acclaim_core::port::Clock;
use acclaim_core::{Engine, Kinds};
use acclaim_servers::until;
use acclaim_testkit::ManualClock;

use super::cases::{NOW, World, load, shown};
use super::engines::{SOON, open_on};
use crate::servers::{Pair, SingleAndMariaDb};

/// A duty that ends soon.
const SHORT: Duration = Duration::from_millis(300);

/// A node beside the one of a world.
async fn beside(config: &ClusterConfig, clock: &Arc<ManualClock>, lease: Duration) -> Arc<Cluster> {
    let config = ClusterConfig {
        node: "two".to_owned(),
        limits: ClusterLimits {
            notifications_lease_millis: lease.as_millis() as u64,
            ..config.limits.clone()
        },
        ..config.clone()
    };
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let opened = Cluster::open(config, Kinds::new([]).unwrap(), Some(clock)).await;
    Arc::new(opened.unwrap())
}

/// The one who had it believes to have it still: it folds, and nothing of it is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_was_overtaken_writes_nothing() {
    let clock = ManualClock::at(NOW);
    let servers = SingleAndMariaDb::servers().await;
    let opened = open_on(servers, None, Kinds::new([]).unwrap(), clock.clone()).await;
    let two_config = opened.1.config.clone();
    let database = opened.1.servers.database.url().to_owned();
    let mut world = World::over(opened, clock.clone(), NotificationLimits::default()).await;
    let two = beside(&two_config, &clock, SHORT).await;
    let notes = two.notes().unwrap();
    assert_eq!(notes.take_duty().await.unwrap(), None, "it is held");
    world.own(1, 1).await;
    world.like(9, 1).await;
    assert_eq!(world.fold().await, 1);
    // Its lease ends, as if it had stood still.
    let mut conn = <sqlx::MySqlConnection as sqlx::Connection>::connect(&database)
        .await
        .unwrap();
    sqlx::query("UPDATE duties SET lease_until = 1")
        .execute(&mut conn)
        .await
        .unwrap();
    let duty = notes.take_duty().await.unwrap().unwrap();
    world.like(10, 1).await;
    world.like(11, 1).await;
    world.settle().await;
    assert_eq!(world.consumer.step().await, Err(ConsumeError::Displaced));
    let before = world.list(1).await;
    assert_eq!(shown(&before), [("POST:1".to_owned(), vec![9], 0)]);
    let engine: Arc<dyn Engine> = two.clone();
    let mut other = load(&engine, &world.settings, &clock, duty).await;
    let stepped = other.step().await.unwrap();
    assert!(
        matches!(&stepped, Stepped::Folded(done) if done.tally.told == 2),
        "each once: {stepped:?}"
    );
    let after = world.list(1).await;
    assert_eq!(shown(&after), [("POST:1".to_owned(), vec![11, 10, 9], 0)]);
    // One that ends by itself is free for others, too.
    until(SOON, "the duty to end", || async {
        let taken = world.engine.notes().unwrap().take_duty().await;
        taken.unwrap().ok_or_else(|| "it is held".to_owned())
    })
    .await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_wake_each_other() {
    let clock = ManualClock::at(NOW);
    let servers = SingleAndMariaDb::servers().await;
    let opened = open_on(servers, None, Kinds::new([]).unwrap(), clock.clone()).await;
    let config = opened.1.config.clone();
    let (one, two) = (opened.0.clone(), beside(&config, &clock, SOON).await);
    let (one, other) = (one.notes().unwrap(), two.notes().unwrap());
    let seen = one.wakes();
    other.commit(Batch::default().waking()).await.unwrap();
    let woken = tokio::time::timeout(SOON, one.woken(seen)).await.unwrap();
    assert!(woken > seen);
    two.stop().await;
}
