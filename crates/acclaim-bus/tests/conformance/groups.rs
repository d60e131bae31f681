//! Consumers of a group: they share, and take over from each other.

use std::time::{Duration, Instant};

use crate::harness::{
    BUS_PARTITIONS, Harness, PATIENCE, Rig, by_partition, event, events, gather, has_partitions,
    limits, nothing_comes, read_all,
};

const ALL: usize = BUS_PARTITIONS as usize;

fn for_every_partition(each: usize) -> Vec<acclaim_bus::port::Outgoing> {
    let partitions = 0..u16::try_from(BUS_PARTITIONS).unwrap();
    partitions
        .flat_map(|partition| events(partition, 0..each))
        .collect()
}

pub async fn two_consumers_share<H: Harness>() {
    let rig = Rig::new(H::shared().await, limits());
    let mut one = rig.consumer().await;
    has_partitions(&mut one, ALL..ALL + 1).await;
    let mut other = rig.consumer().await;
    has_partitions(&mut other, 1..ALL).await;
    has_partitions(&mut one, 1..ALL).await;
    rig.publisher()
        .await
        .publish(&for_every_partition(50))
        .await
        .unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    while ours.len() + theirs.len() < 50 * ALL {
        assert!(
            begin.elapsed() < PATIENCE,
            "{} and {}",
            ours.len(),
            theirs.len()
        );
        ours.extend(
            one.receive(1_000, Duration::from_millis(100))
                .await
                .unwrap(),
        );
        theirs.extend(
            other
                .receive(1_000, Duration::from_millis(100))
                .await
                .unwrap(),
        );
    }
    let (ours, theirs) = (by_partition(&ours), by_partition(&theirs));
    assert!(!ours.is_empty() && !theirs.is_empty());
    assert_eq!(
        ours.len() + theirs.len(),
        ALL,
        "no partition is on both sides"
    );
    for numbers in ours.values().chain(theirs.values()) {
        assert_eq!(*numbers, (0..50).collect::<Vec<_>>());
    }
}

/// Two groups do not share.
pub async fn another_group_gets_everything_too<H: Harness>() {
    let rig = Rig::new(H::shared().await, limits());
    rig.publisher()
        .await
        .publish(&events(0, 0..5))
        .await
        .unwrap();
    for group in ["one", "other"] {
        let mut consumer = rig.bus.consumer(group).await.unwrap();
        let received = gather(&mut consumer, 5).await;
        assert_eq!(consumer.acknowledge(&received).await.unwrap().events, 5);
    }
}

pub async fn a_consumer_that_goes_leaves_its_batch_to_the_next<H: Harness>() {
    let rig = Rig::new(H::shared().await, limits());
    rig.publisher()
        .await
        .publish(&events(0, 0..20))
        .await
        .unwrap();
    let mut first = rig.consumer().await;
    let batch = gather(&mut first, 10).await;
    first.acknowledge(&batch[..4]).await.unwrap();
    // In the middle of the batch, out of order.
    first.acknowledge(&batch[6..8]).await.unwrap();
    drop(first);
    let mut second = rig.consumer().await;
    let received = gather(&mut second, 16).await;
    let expected: Vec<_> = (4..20).map(|number| (0, number)).collect();
    assert_eq!(read_all(&received), expected);
    // An old delivery is nobody's to acknowledge.
    assert_eq!(second.acknowledge(&batch[4..5]).await.unwrap().lost, 1);
    assert_eq!(second.acknowledge(&received).await.unwrap().events, 16);
    drop(second);
    let mut third = rig.consumer().await;
    nothing_comes(&mut third).await;
}

/// Another consumer comes while a batch is out: what moves over to it is not acknowledged by the
/// one that had it, and nothing is left out.
pub async fn a_rebalance_in_the_middle_of_a_batch<H: Harness>() {
    let rig = Rig::new(H::shared().await, limits());
    let publisher = rig.publisher().await;
    publisher.publish(&for_every_partition(20)).await.unwrap();
    let mut first = rig.consumer().await;
    let batch = gather(&mut first, 20 * ALL).await;
    let mut second = rig.consumer().await;
    // The first is busy with its batch and calls nothing; the second gets its share all the same.
    let mut moved = gather(&mut second, 20).await;
    let acknowledged = first.acknowledge(&batch).await.unwrap();
    assert!(acknowledged.lost >= 20, "{acknowledged:?}");
    assert_eq!(acknowledged.events + acknowledged.lost, 20 * ALL);
    moved.extend(gather(&mut second, acknowledged.lost - 20).await);
    let moved_lines = by_partition(&moved);
    for numbers in moved_lines.values() {
        assert_eq!(*numbers, (0..20).collect::<Vec<_>>());
    }
    assert_eq!(moved_lines.len() * 20, acknowledged.lost);
    assert_eq!(second.acknowledge(&moved).await.unwrap().lost, 0);
    // Everything is acknowledged by one of the two: a third finds only what is new.
    drop((first, second));
    publisher.publish(&[event(0, 99)]).await.unwrap();
    let mut third = rig.consumer().await;
    assert_eq!(read_all(&gather(&mut third, 1).await), [(0, 99)]);
    nothing_comes(&mut third).await;
}
