//! The bus dies and hangs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use acclaim_bus::port::SeekTo;
use acclaim_bus::{ConsumeError, Limits, OpenError, PublishError};

use crate::harness::{Harness, PATIENCE, Rig, all, by_partition, event, events, gather, limits};

const PARTITIONS: u16 = 4;
const CHUNK: usize = 25;
const KILLS: usize = 2;
/// Chunks of each partition that must get through between two kills.
const CHUNKS_BETWEEN: usize = 4;
/// How much later than its time a call may come back on a busy machine.
const SLACK: Duration = Duration::from_millis(3_000);

/// What the publishers of the partitions have through, and whether they may stop.
#[derive(Default)]
struct Load {
    published: [AtomicUsize; PARTITIONS as usize],
    done: AtomicBool,
}

/// Killed and started again under load: nothing lost, order kept, duplicates allowed.
pub async fn a_bus_that_is_killed_loses_nothing<H: Harness>(harness: &H) {
    let rig = Rig::new(
        harness,
        Limits {
            call_timeout_millis: 5_000,
            publish_timeout_millis: 5_000,
            ..limits()
        },
    );
    let publisher = rig.publisher().await;
    let mut consumer = rig.consumer().await;
    let load = Arc::new(Load::default());
    let publish = |partition: u16| {
        let (publisher, load) = (Arc::clone(&publisher), Arc::clone(&load));
        async move {
            let published = &load.published[usize::from(partition)];
            while !load.done.load(Ordering::Relaxed) {
                let begin = published.load(Ordering::Relaxed);
                let chunk = events(partition, begin..begin + CHUNK);
                // What is not acknowledged is published again, as the relay does.
                while publisher.publish(&chunk).await.is_err() {}
                published.fetch_add(CHUNK, Ordering::Relaxed);
            }
        }
    };
    let published = &load.published;
    let kills = async {
        for _ in 0..KILLS {
            progress(published).await;
            harness.kill();
            harness.restart().await;
        }
        progress(published).await;
        load.done.store(true, Ordering::Relaxed);
    };
    let consume = async {
        let mut received = Vec::new();
        let mut seen = BTreeSet::new();
        let mut done = None;
        loop {
            // A bus that is away refuses calls; they are made again.
            if let Ok(batch) = consumer.receive(200, Duration::from_millis(100)).await {
                let _ = consumer.acknowledge(&batch).await;
                seen.extend(batch.iter().map(crate::harness::read));
                received.extend(batch);
            }
            let total: usize = published.iter().map(|n| n.load(Ordering::Relaxed)).sum();
            if load.done.load(Ordering::Relaxed) {
                if seen.len() >= total {
                    return received;
                }
                let waited = done.get_or_insert_with(Instant::now).elapsed();
                let seen = seen.len();
                assert!(waited < PATIENCE, "{seen} of {total} after {waited:?}");
            }
        }
    };
    let ((), _, received) = tokio::join!(kills, all((0..PARTITIONS).map(publish)), consume);
    for (partition, numbers) in by_partition(&received) {
        let mut seen = BTreeSet::new();
        let first: Vec<_> = numbers
            .into_iter()
            .filter(|number| seen.insert(*number))
            .collect();
        let all = published[usize::from(partition)].load(Ordering::Relaxed);
        assert_eq!(first, (0..all).collect::<Vec<_>>(), "partition {partition}");
    }
}

/// Waits until every partition got some chunks further.
async fn progress(published: &[AtomicUsize]) {
    let before: Vec<_> = published
        .iter()
        .map(|n| n.load(Ordering::Relaxed))
        .collect();
    acclaim_servers::until(PATIENCE, "the load to go on", || async {
        let mut lines = published.iter().zip(&before);
        let on = lines.all(|(n, b)| n.load(Ordering::Relaxed) >= b + CHUNKS_BETWEEN * CHUNK);
        on.then_some(())
            .ok_or_else(|| format!("{published:?} from {before:?}"))
    })
    .await;
}

async fn timed<T>(limit: u64, call: impl Future<Output = T>) -> T {
    let begin = Instant::now();
    let answer = call.await;
    let limit = Duration::from_millis(limit) + SLACK;
    assert!(
        begin.elapsed() < limit,
        "{:?}, not {limit:?}",
        begin.elapsed()
    );
    answer
}

/// Stopped with its connections open: every call ends in its time, and all goes on afterwards.
pub async fn a_bus_that_hangs_holds_up_nobody<H: Harness>(harness: &H) {
    let (call, publish) = (1_500, 2_000);
    let limits = Limits {
        call_timeout_millis: call,
        publish_timeout_millis: publish,
        // The calls below take some ten seconds together; until then it has what it has.
        session_timeout_millis: 60_000,
        ..limits()
    };
    // On a busy machine the first connections take longer than the short times.
    Rig::new(harness, crate::harness::limits())
        .bus
        .check()
        .await
        .unwrap();
    let patient = Rig::new(harness, crate::harness::limits());
    patient.bus.check().await.unwrap();
    let hasty = acclaim_bus::open(&patient.url, &limits).unwrap();
    let publisher = hasty.publisher().await.unwrap();
    // The first connections of a busy machine may take longer than this publisher waits.
    let begin = Instant::now();
    while let Err(error) = publisher.publish(&events(0, 0..10)).await {
        assert!(begin.elapsed() < PATIENCE, "{error}");
    }
    let mut consumer = hasty.consumer("group").await.unwrap();
    let batch = gather(&mut consumer, 10).await;

    harness.pause().await;
    let failed = timed(publish, publisher.publish(&events(0, 10..20))).await;
    assert!(
        matches!(failed, Err(PublishError::Unknown { events: 10, .. })),
        "{failed:?}"
    );
    let wait = Duration::from_millis(300);
    let nothing = timed(call + 300, consumer.receive(10, wait)).await;
    assert_eq!(nothing, Ok(Vec::new()));
    let failed = timed(publish, consumer.bury(&batch[9], "for no reason")).await;
    assert!(
        matches!(failed, Err(ConsumeError::DeadLetter(_))),
        "{failed:?}"
    );
    timed(call, consumer.acknowledge(&batch[..5]))
        .await
        .unwrap_err();
    timed(call, consumer.lag()).await.unwrap_err();
    timed(call, consumer.seek(&SeekTo::Beginning))
        .await
        .unwrap_err();
    let failed = timed(call, hasty.check()).await;
    assert!(
        matches!(failed, Err(OpenError::Unreachable { .. })),
        "{failed:?}"
    );
    timed(call, hasty.consumer("other"))
        .await
        .map(|_| ())
        .unwrap_err();
    harness.resume();

    // Published again, as its caller does; twice where the first came through after all.
    let begin = Instant::now();
    while publisher.publish(&events(0, 10..20)).await.is_err() {
        assert!(begin.elapsed() < PATIENCE);
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 10 {
        assert!(begin.elapsed() < PATIENCE, "{seen:?}");
        if let Ok(batch) = consumer.receive(1_000, wait).await {
            seen.extend(
                batch
                    .iter()
                    .map(crate::harness::read)
                    .filter(|(_, n)| *n >= 10),
            );
        }
    }
    publisher.publish(&[event(1, 0)]).await.unwrap();
}
