//! Who may write a partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use acclaim_cluster::ledger::{Batch, Bounds, Ledger, LedgerError, StoreSpec};

use crate::sql::{Sql, on_each_server};
use crate::stage::{PARTITIONS, ledger};

const LENGTH: Duration = Duration::from_secs(10);

struct Two {
    clock: Arc<AtomicU64>,
    one: Ledger,
    other: Ledger,
}

impl Two {
    async fn new(sql: Sql) -> Self {
        let url = sql.database().await;
        let clock = Arc::new(AtomicU64::new(1_000_000_000));
        let worker =
            || Ledger::with_clock(&url, Bounds::default(), Some(Arc::clone(&clock))).unwrap();
        let (one, other) = (worker(), worker());
        one.migrate().await.unwrap();
        let spec = StoreSpec {
            partitions: PARTITIONS,
        };
        one.create_or_open_store(&spec).await.unwrap();
        Self { clock, one, other }
    }

    fn pass(&self, length: Duration) {
        self.clock
            .fetch_add(length.as_micros() as u64, Ordering::SeqCst);
    }
}

fn empty(partition: u16, fence: u64) -> Batch {
    Batch {
        partition,
        epoch: 1,
        fence,
        entries: Vec::new(),
    }
}

async fn a_lease_is_held_until_it_ends_or_is_given_back(sql: Sql) {
    let two = Two::new(sql).await;
    let first = two.one.take_leases("one", 3, LENGTH).await.unwrap();
    let partitions: Vec<u16> = first.iter().map(|lease| lease.partition).collect();
    assert_eq!(partitions, [0, 1, 2]);
    let rest = two.other.take_leases("other", 9, LENGTH).await.unwrap();
    assert_eq!(rest.len(), 1, "the others are held");
    assert_eq!(rest[0].partition, 3);

    two.pass(LENGTH / 2);
    assert_eq!(two.one.renew_leases(&first, LENGTH).await.unwrap(), first);
    two.pass(LENGTH / 2);
    let taken = two.one.take_leases("one", 9, LENGTH).await.unwrap();
    assert_eq!(
        taken.len(),
        1,
        "what was renewed is still held, what was not is over"
    );
    assert_eq!((taken[0].partition, taken[0].fence), (3, 2));

    two.one.release_leases(&first[..1]).await.unwrap();
    let taken = two.other.take_leases("other", 9, LENGTH).await.unwrap();
    assert_eq!((taken[0].partition, taken[0].fence), (0, 2));
    let seen = two.one.partitions().await.unwrap();
    let owners: Vec<&str> = seen
        .iter()
        .map(|partition| partition.owner.as_str())
        .collect();
    assert_eq!(owners, ["other", "one", "one", "one"]);
    assert_eq!(seen[0].left, LENGTH);
    assert_eq!(seen[1].left, LENGTH / 2);
}

async fn a_worker_that_lost_its_lease_cannot_write(sql: Sql) {
    let two = Two::new(sql).await;
    let old = two.one.take_leases("one", 2, LENGTH).await.unwrap();
    two.one.apply(&empty(0, old[0].fence)).await.unwrap();
    two.pass(LENGTH);
    // Over, not stolen: nobody else writes, so it may.
    two.one.apply(&empty(0, old[0].fence)).await.unwrap();
    let new = two.other.take_leases("other", 1, LENGTH).await.unwrap();
    assert_eq!(new[0].fence, old[0].fence + 1);

    let outcome = two.one.apply(&empty(0, old[0].fence)).await;
    assert!(
        matches!(
            outcome,
            Err(LedgerError::Fenced {
                partition: 0,
                ours: 1,
                found: 2
            })
        ),
        "{outcome:?}"
    );
    two.other.apply(&empty(0, new[0].fence)).await.unwrap();
    let left = two.one.renew_leases(&old, LENGTH).await.unwrap();
    assert_eq!(left, old[1..], "the stolen one is lost, the other one not");
    two.one.release_leases(&old).await.unwrap();
    two.other.apply(&empty(0, new[0].fence)).await.unwrap();
}

async fn a_clock_that_is_set_back_steals_nothing(sql: Sql) {
    let two = Two::new(sql).await;
    let held = two
        .one
        .take_leases("one", PARTITIONS, LENGTH)
        .await
        .unwrap();
    two.clock.fetch_sub(500_000_000, Ordering::SeqCst);
    assert_eq!(two.other.take_leases("other", 9, LENGTH).await.unwrap(), []);
    assert_eq!(two.one.renew_leases(&held, LENGTH).await.unwrap(), held);
}

async fn workers_that_take_at_once_share(sql: Sql) {
    let url = sql.database().await;
    let first = ledger(&url).await;
    first.migrate().await.unwrap();
    first
        .create_or_open_store(&StoreSpec::default())
        .await
        .unwrap();
    let workers = (0..4).map(|n| {
        let url = url.clone();
        tokio::spawn(async move {
            let ledger = ledger(&url).await;
            let mut mine = Vec::new();
            // By the database's own clock.
            // Who looks at the same free ones as another gets none of them, and looks again.
            while ledger
                .partitions()
                .await
                .unwrap()
                .iter()
                .any(|partition| partition.owner.is_empty())
            {
                let owner = format!("w{n}");
                mine.extend(ledger.take_leases(&owner, 4, LENGTH).await.unwrap());
            }
            mine
        })
    });
    let mut all = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        all.extend(worker.await.unwrap());
    }
    all.sort_by_key(|lease| lease.partition);
    let partitions: Vec<u16> = all.iter().map(|lease| lease.partition).collect();
    assert_eq!(partitions, (0..64).collect::<Vec<u16>>(), "each one once");
    let seen = first.partitions().await.unwrap();
    assert!(
        seen.iter()
            .all(|partition| partition.left > LENGTH / 2 && partition.left <= LENGTH)
    );
}

on_each_server!(
    a_lease_is_held_until_it_ends_or_is_given_back,
    a_worker_that_lost_its_lease_cannot_write,
    a_clock_that_is_set_back_steals_nothing,
    workers_that_take_at_once_share,
);
