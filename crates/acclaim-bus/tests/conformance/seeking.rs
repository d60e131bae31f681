//! Going to another place, and how far behind one is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use acclaim_bus::ConsumeError;
use acclaim_bus::port::SeekTo;

use crate::harness::{
    BUS_PARTITIONS, Harness, Rig, event, events, gather, lag_of_all, limits, nothing_comes, read,
    read_all,
};

pub async fn a_group_goes_where_it_is_told<H: Harness>() {
    let rig = Rig::new(H::shared().await, limits());
    let publisher = rig.publisher().await;
    publisher.publish(&events(0, 0..10)).await.unwrap();
    publisher.publish(&events(1, 0..3)).await.unwrap();
    let mut consumer = rig.consumer().await;
    let all = gather(&mut consumer, 13).await;
    let zero: Vec<_> = all.iter().filter(|event| read(event).0 == 0).collect();

    consumer
        .seek(&SeekTo::Positions(vec![(0, zero[7].position)]))
        .await
        .unwrap();
    let again = gather(&mut consumer, 3).await;
    assert_eq!(read_all(&again), [(0, 7), (0, 8), (0, 9)]);
    let acknowledged = consumer.acknowledge(&all).await.unwrap();
    assert_eq!(
        acknowledged.lost, 10,
        "what was received before of what was moved"
    );

    consumer.seek(&SeekTo::Beginning).await.unwrap();
    assert_eq!(gather(&mut consumer, 13).await.len(), 13);

    // Only what is published from this time on.
    let between = zero[9].published_at_millis + 1;
    while SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis()
        <= between.into()
    {
        tokio::task::yield_now().await;
    }
    publisher.publish(&events(0, 10..12)).await.unwrap();
    consumer.seek(&SeekTo::Beginning).await.unwrap();
    consumer.seek(&SeekTo::Time(between)).await.unwrap();
    let mut later = Vec::new();
    while !later.contains(&(0, 11)) {
        later.extend(read_all(&gather(&mut consumer, 1).await));
    }
    // Those of the other partition may be as late.
    later.retain(|(partition, _)| *partition == 0);
    assert_eq!(later, [(0, 10), (0, 11)]);

    // A time that nobody has seen yet is behind everything.
    consumer.seek(&SeekTo::Time(u64::MAX >> 1)).await.unwrap();
    publisher.publish(&[event(0, 12)]).await.unwrap();
    assert_eq!(read_all(&gather(&mut consumer, 1).await), [(0, 12)]);
    consumer.seek(&SeekTo::Beginning).await.unwrap();
    consumer.seek(&SeekTo::End).await.unwrap();
    nothing_comes(&mut consumer).await;

    // The place is the group's: the next consumer begins there.
    consumer
        .seek(&SeekTo::Positions(vec![(0, zero[5].position)]))
        .await
        .unwrap();
    drop(consumer);
    let mut next = rig.consumer().await;
    assert_eq!(read(&gather(&mut next, 1).await[0]), (0, 5));
    let nowhere = next
        .seek(&SeekTo::Positions(vec![(BUS_PARTITIONS, 0)]))
        .await;
    assert!(
        matches!(nowhere, Err(ConsumeError::NoPartition { .. })),
        "{nowhere:?}"
    );
}

pub async fn lag_is_what_is_not_acknowledged<H: Harness>() {
    let rig = Rig::new(H::shared().await, limits());
    let publisher = rig.publisher().await;
    publisher.publish(&events(0, 0..10)).await.unwrap();
    let mut consumer = rig.consumer().await;
    let received = gather(&mut consumer, 4).await;
    let lag = lag_of_all(&mut consumer).await;
    let lines: Vec<_> = lag
        .iter()
        .map(|lag| (lag.bus_partition, lag.events))
        .collect();
    assert_eq!(lines, [(0, 10), (1, 0), (2, 0)]);
    let age = |lag: &acclaim_bus::port::Lag| Duration::from_millis(lag.oldest_millis.unwrap());
    assert!(age(&lag[0]) < Duration::from_secs(60), "{:?}", age(&lag[0]));
    assert_eq!(age(&lag[1]), Duration::ZERO);
    consumer.acknowledge(&received[..3]).await.unwrap();
    assert_eq!(consumer.lag().await.unwrap()[0].events, 7);
    let rest = gather(&mut consumer, 6).await;
    consumer.acknowledge(&received[3..]).await.unwrap();
    consumer.acknowledge(&rest).await.unwrap();
    let lag = consumer.lag().await.unwrap();
    assert_eq!((lag[0].events, lag[0].oldest_millis), (0, Some(0)));
}
