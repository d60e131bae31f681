//! What is given back comes again, in order and after a wait, and ends as a dead letter.

use std::time::{Duration, Instant};

use acclaim_bus::port::Acknowledged;

use crate::harness::{Harness, Rig, event, events, gather, limits, nothing_comes, read, read_all};

pub async fn what_is_given_back_comes_again_in_order<H: Harness>() {
    let rig = Rig::new(H::shared().await, limits());
    let publisher = rig.publisher().await;
    publisher.publish(&events(0, 0..10)).await.unwrap();
    let mut consumer = rig.consumer().await;
    let first = gather(&mut consumer, 4).await;
    let second = gather(&mut consumer, 4).await;
    let returned = consumer.give_back(&first[2..3], "not now").await.unwrap();
    let begin = Instant::now();
    assert_eq!(
        (returned.again, returned.lost, returned.buried),
        (1, 0, Vec::new())
    );
    // Another bus partition goes on in the meantime.
    publisher.publish(&[event(1, 0)]).await.unwrap();
    assert_eq!(read_all(&gather(&mut consumer, 1).await), [(1, 0)]);
    // What stood behind it is not ours any more, what stood before it is.
    let acknowledged = consumer.acknowledge(&second).await.unwrap();
    assert_eq!(acknowledged, Acknowledged { events: 0, lost: 4 });
    let acknowledged = consumer.acknowledge(&first).await.unwrap();
    assert_eq!(acknowledged, Acknowledged { events: 2, lost: 2 });

    let again = gather(&mut consumer, 8).await;
    assert!(begin.elapsed() >= Duration::from_millis(rig.limits.backoff_min_millis));
    let expected: Vec<_> = (2..10).map(|number| (0, number)).collect();
    assert_eq!(read_all(&again), expected);
    let attempts: Vec<_> = again.iter().map(|event| event.attempt).collect();
    assert_eq!(attempts, [2, 1, 1, 1, 1, 1, 1, 1]);
    assert_eq!(consumer.acknowledge(&again).await.unwrap().events, 8);
    nothing_comes(&mut consumer).await;
}

pub async fn after_three_tries_it_is_a_dead_letter<H: Harness>() {
    let rig = Rig::new(H::shared().await, limits());
    let mut garbage = event(0, 1);
    garbage.payload = b"\x00\xff not an event"[..].into();
    let published = [event(0, 0), garbage.clone(), event(0, 2)];
    rig.publisher().await.publish(&published).await.unwrap();
    let mut consumer = rig.consumer().await;
    let mut buried = Vec::new();
    let reason = format!("{}ü", "x".repeat(rig.limits.max_reason_bytes - 1));
    for attempt in 1..=3 {
        let batch = gather(&mut consumer, if attempt == 1 { 3 } else { 2 }).await;
        let bad = batch
            .iter()
            .find(|e| e.payload == garbage.payload)
            .unwrap()
            .clone();
        assert_eq!(bad.attempt, attempt);
        if attempt == 1 {
            consumer.acknowledge(&batch[..1]).await.unwrap();
        }
        let begin = Instant::now();
        let returned = consumer.give_back(&[bad], &reason).await.unwrap();
        assert_eq!(returned.again, usize::from(attempt < 3));
        buried.extend(returned.buried);
        if attempt < 3 {
            let early = rig.limits.backoff(attempt).saturating_sub(begin.elapsed()) / 2;
            let batch = consumer.receive(1, early).await.unwrap();
            assert_eq!(batch, Vec::new(), "it came back without a wait");
        } else {
            // What stood behind it is still ours.
            assert_eq!(consumer.acknowledge(&batch[1..]).await.unwrap().events, 1);
        }
    }
    assert_eq!(buried.len(), 1);
    assert_eq!(
        (&buried[0].payload, buried[0].attempt),
        (&garbage.payload, 3)
    );
    nothing_comes(&mut consumer).await;
    drop(consumer);

    // It is on the other topic as it was, and on this one it is done with.
    let mut dead = rig.dead().consumer().await;
    let letters = gather(&mut dead, 1).await;
    assert_eq!(
        (&letters[0].payload, &letters[0].key[..]),
        (&garbage.payload, &b"0"[..])
    );
    nothing_comes(&mut dead).await;
    let mut consumer = rig.consumer().await;
    rig.publisher().await.publish(&[event(0, 3)]).await.unwrap();
    assert_eq!(read_all(&gather(&mut consumer, 1).await), [(0, 3)]);
}

pub async fn one_event_can_be_buried_at_once<H: Harness>() {
    let rig = Rig::new(H::shared().await, limits());
    rig.publisher()
        .await
        .publish(&events(0, 0..3))
        .await
        .unwrap();
    let mut consumer = rig.consumer().await;
    let batch = gather(&mut consumer, 3).await;
    consumer
        .bury(&batch[1], "of another version")
        .await
        .unwrap();
    // Given back, the others come again, and it does not.
    consumer.give_back(&batch[..1], "not now").await.unwrap();
    let again = gather(&mut consumer, 2).await;
    assert_eq!(read_all(&again), [(0, 0), (0, 2)]);
    consumer.acknowledge(&again).await.unwrap();
    let lag: u64 = consumer
        .lag()
        .await
        .unwrap()
        .iter()
        .map(|lag| lag.events)
        .sum();
    assert_eq!(lag, 0, "all three are acknowledged");
    let mut dead = rig.dead().consumer().await;
    assert_eq!(read(&gather(&mut dead, 1).await[0]), (0, 1));
}
