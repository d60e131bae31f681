//! Who owns which partition.

use std::time::Duration;

use acclaim_cluster::ledger::{Batch, LedgerError};
use acclaim_cluster::worker::{StartError, Worker, WorkerLimits};
use std::sync::Arc;

use crate::stage::{Stage, limits, watch};

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_spread_over_workers() {
    let mut stage = Stage::with(8).await;
    let one = stage.start("one", limits());
    stage.owned_by(&[("one", 8)]).await;
    let two = stage.start("two", limits());
    stage.owned_by(&[("one", 4), ("two", 4)]).await;
    let three = stage.start("three", limits());
    // At most ceil(8 / 3) each.
    acclaim_servers::until(crate::LIMIT, "a fair share", || async {
        let owners = stage.owners().await;
        let fair = owners.len() == 3 && owners.values().all(|n| (2..=3).contains(n));
        crate::holds(fair, || format!("{owners:?}"))
    })
    .await;
    stage.toggle(1..=40, 1..=3).await;
    stage.drained().await;
    stage.compare().await;

    // One who stops gives back at once; the others do not wait for a lease to end.
    let stopped = three.stop().await;
    assert!(stopped.given_back);
    stage.owned_by(&[("one", 4), ("two", 4)]).await;
    assert!(two.stop().await.given_back);
    stage.owned_by(&[("one", 8)]).await;
    stage.toggle(1..=40, 1..=3).await;
    stage.drained().await;
    stage.compare().await;
    assert!(one.stop().await.given_back);
    stage.owned_by(&[("", 8)]).await;
    assert_eq!(stage.number("SELECT COUNT(*) FROM workers").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_of_a_dead_worker_are_taken_when_they_end() {
    let mut stage = Stage::with(4).await;
    let brief = WorkerLimits {
        lease_millis: 900,
        ..limits()
    };
    let one = stage.start("one", brief.clone());
    stage.owned_by(&[("one", 4)]).await;
    // They are renewed: it holds them for longer than one lease.
    watch(&one, "looks during more than one lease", |n| n.polls > 60).await;
    assert_eq!(one.watched().numbers().leases_taken, 4);
    stage.toggle(1..=10, 1..=3).await;
    drop(one);
    let two = stage.start("two", brief);
    stage.owned_by(&[("two", 4)]).await;
    stage.drained().await;
    stage.compare().await;
    two.stop().await;
}

/// Two workers that both believe they own a partition: the older one cannot write, and learns it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_lease_is_fenced() {
    let mut stage = Stage::with(1).await;
    // It renews so rarely that it learns of the theft by its fence only.
    let slow = WorkerLimits {
        lease_millis: 600_000,
        lease_renew_millis: 200_000,
        lease_retry_millis: 200_000,
        ..limits()
    };
    let one = stage.start("one", slow);
    stage.drained().await;
    stage.execute("UPDATE partitions SET lease_until = 1").await;
    let stolen = stage
        .ledger
        .take_leases("thief", 1, Duration::from_secs(600))
        .await
        .unwrap();
    assert_eq!(stolen.len(), 1);
    stage.toggle(1..=1, 1..=5).await;
    let numbers = watch(&one, "the fence to be met", |n| n.leases_lost == 1).await;
    assert_eq!((numbers.events, numbers.partitions_owned), (0, 0));
    assert_eq!(stage.number("SELECT COUNT(*) FROM edges").await, 0);
    assert!(!one.hurry().ask(0));
    // The thief may write, and gives back; then the first one takes it again by itself.
    let empty = Batch {
        partition: 0,
        epoch: 1,
        fence: stolen[0].fence,
        entries: Vec::new(),
    };
    stage.ledger.apply(&empty).await.unwrap();
    let old = Batch {
        fence: stolen[0].fence - 1,
        ..empty
    };
    let refused = stage.ledger.apply(&old).await;
    assert!(
        matches!(refused, Err(LedgerError::Fenced { .. })),
        "{refused:?}"
    );
    one.stop().await;
    stage.ledger.release_leases(&stolen).await.unwrap();
    let two = stage.start("two", limits());
    stage.drained().await;
    stage.compare().await;
    two.stop().await;
}

/// Whoever opens a partition again ends the lease first; its worker takes it again.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_fenced_off_takes_the_lease_again() {
    let mut stage = Stage::with(2).await;
    let one = stage.start("one", limits());
    stage.drained().await;
    stage.ledger.fence_off(0).await.unwrap();
    stage.ledger.fence_off(1).await.unwrap();
    watch(&one, "both leases to be taken again", |n| {
        n.leases_taken == 4
    })
    .await;
    stage.toggle(1..=10, 1..=3).await;
    stage.drained().await;
    stage.compare().await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused() {
    let stage = Stage::with(1).await;
    let start = |name: &str, limits: WorkerLimits| {
        let redis = Arc::clone(&stage.redis);
        Worker::start(redis, stage.ledger.clone(), name, limits, None).map(drop)
    };
    assert_eq!(start("", limits()), Err(StartError::Name(String::new())));
    assert!(start(&"n".repeat(65), limits()).is_err());
    assert_eq!(start(&"n".repeat(64), limits()), Ok(()));
    let bad = WorkerLimits {
        batch_max_events: 1_001,
        ..limits()
    };
    assert!(matches!(start("one", bad), Err(StartError::Limit(_))));
}
