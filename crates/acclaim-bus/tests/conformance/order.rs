//! Order inside a partition, and what an answered publish means.

use std::sync::Arc;

use crate::harness::{
    BUS_PARTITIONS, Harness, Rig, all, by_partition, event, events, gather, limits,
};

/// More partitions than the topic has: some share a bus partition.
const PARTITIONS: u16 = 7;
const EVENTS: usize = 300;

pub async fn events_of_a_partition_come_in_order<H: Harness>() {
    let rig = Rig::new(H::shared().await, limits());
    let publisher = rig.publisher().await;
    let publish = |partition| {
        let publisher = Arc::clone(&publisher);
        async move {
            for begin in (0..EVENTS).step_by(50) {
                publisher
                    .publish(&events(partition, begin..begin + 50))
                    .await
                    .unwrap();
            }
        }
    };
    all((0..PARTITIONS).map(publish)).await;
    let mut consumer = rig.consumer().await;
    let received = gather(&mut consumer, EVENTS * usize::from(PARTITIONS)).await;
    let lines = by_partition(&received);
    assert_eq!(lines.len(), usize::from(PARTITIONS));
    for (partition, numbers) in lines {
        assert_eq!(numbers, (0..EVENTS).collect::<Vec<_>>(), "{partition}");
    }
    for event in &received {
        let key: u16 = std::str::from_utf8(&event.key).unwrap().parse().unwrap();
        assert_eq!(event.bus_partition, u32::from(key) % BUS_PARTITIONS);
        assert_eq!(event.attempt, 1);
        assert!(event.published_at_millis > 1_700_000_000_000);
    }
}

/// Partitions mixed in one call, each in order.
pub async fn one_call_may_carry_many_partitions<H: Harness>() {
    let rig = Rig::new(H::shared().await, limits());
    let publisher = rig.publisher().await;
    let mixed: Vec<_> = (0..EVENTS).map(|n| event((n % 5) as u16, n)).collect();
    publisher.publish(&mixed).await.unwrap();
    publisher.publish(&[]).await.unwrap();
    let mut consumer = rig.consumer().await;
    for (partition, numbers) in by_partition(&gather(&mut consumer, EVENTS).await) {
        let expected: Vec<_> = (0..EVENTS)
            .filter(|n| n % 5 == usize::from(partition))
            .collect();
        assert_eq!(numbers, expected, "{partition}");
    }
}
