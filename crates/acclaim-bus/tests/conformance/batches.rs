//! The sizes and waits of batches, and every other limit, at their edges.

use std::sync::Arc;
use std::time::{Duration, Instant};

use acclaim_bus::limits::{MAX_BATCH_EVENTS, MAX_BATCH_WAIT_MILLIS};
use acclaim_bus::port::Outgoing;
use acclaim_bus::{ConsumeError, Limits, PublishError};

use crate::harness::{Harness, Rig, all, event, events, gather, limits, nothing_comes, read_all};

pub async fn batches_have_a_size_and_a_wait<H: Harness>() {
    let rig = Rig::new(H::shared().await, limits());
    rig.publisher()
        .await
        .publish(&events(0, 0..2_500))
        .await
        .unwrap();
    let mut consumer = rig.consumer().await;
    let longest = Duration::from_millis(MAX_BATCH_WAIT_MILLIS);
    for given in [0, MAX_BATCH_EVENTS + 1] {
        let refused = consumer.receive(given, longest).await;
        assert_eq!(refused, Err(ConsumeError::BatchEvents { given }));
    }
    let too_long = longest + Duration::from_millis(1);
    let given_millis = u128::from(MAX_BATCH_WAIT_MILLIS) + 1;
    let refused = consumer.receive(1, too_long).await;
    assert_eq!(refused, Err(ConsumeError::BatchWait { given_millis }));

    // A full batch does not wait.
    let one = consumer.receive(1, longest).await.unwrap();
    assert_eq!(read_all(&one), [(0, 0)]);
    let begin = Instant::now();
    let full = consumer.receive(MAX_BATCH_EVENTS, longest).await.unwrap();
    assert_eq!(full.len(), MAX_BATCH_EVENTS);
    assert!(begin.elapsed() < longest / 2, "{:?}", begin.elapsed());
    gather(&mut consumer, 2_500 - 1 - MAX_BATCH_EVENTS).await;

    // One that does not fill ends with its wait.
    let begin = Instant::now();
    nothing_comes(&mut consumer).await;
    let waited = begin.elapsed();
    assert!(
        waited >= Duration::from_millis(500) && waited < longest / 2,
        "{waited:?}"
    );
    assert_eq!(
        consumer.receive(1, Duration::ZERO).await.unwrap(),
        Vec::new()
    );
}

/// What was published together may be more than a consumer asks for at once, and a bus may send it
/// whole all the same. What comes later must come too.
pub async fn more_may_come_at_once_than_is_held<H: Harness>() {
    let held = 10;
    let limits = Limits {
        max_held_events: held,
        ..limits()
    };
    let rig = Rig::new(H::shared().await, limits);
    let publisher = rig.publisher().await;
    let mut consumer = rig.consumer().await;
    let mut all = Vec::new();
    for round in 0..3 {
        for batch in round * 6..(round + 1) * 6 {
            let numbers = batch * 50..(batch + 1) * 50;
            publisher.publish(&events(0, numbers)).await.unwrap();
        }
        while all.len() < (round + 1) * 300 {
            let some = gather(&mut consumer, held).await;
            consumer.acknowledge(&some).await.unwrap();
            all.extend(read_all(&some));
        }
    }
    let wanted: Vec<_> = (0..900).map(|number| (0, number)).collect();
    assert_eq!(all, wanted);
}

pub async fn what_is_published_has_limits<H: Harness>() {
    let limits = Limits {
        max_publish_events: 3,
        max_event_bytes: 100,
        max_queued_bytes: 2_048,
        ..limits()
    };
    let rig = Rig::new(H::shared().await, limits);
    let publisher = rig.publisher().await;
    let sized = |number: usize, bytes: usize| Outgoing {
        payload: vec![b'x'; bytes].into(),
        ..event(0, number)
    };
    let refused = publisher.publish(&events(0, 0..4)).await;
    assert_eq!(refused, Err(PublishError::TooMany { given: 4, limit: 3 }));
    let refused = publisher.publish(&[sized(0, 1), sized(1, 101)]).await;
    let id = "1-0".to_owned();
    assert_eq!(
        refused,
        Err(PublishError::TooLong {
            id,
            bytes: 101,
            limit: 100
        })
    );
    // Many calls at once, far more than the queue takes: each waits for room.
    let calls = (0..100).map(|n| {
        let publisher = Arc::clone(&publisher);
        async move {
            publisher
                .publish(&[sized(n, 100), sized(n, 0), sized(n, 100)])
                .await
        }
    });
    for published in all(calls).await {
        published.unwrap();
    }
    // Nothing of what was refused is there.
    let mut consumer = rig.consumer().await;
    let received = gather(&mut consumer, 300).await;
    assert_eq!(
        received
            .iter()
            .filter(|event| event.payload.is_empty())
            .count(),
        100
    );
    nothing_comes(&mut consumer).await;
}

pub async fn only_so_many_events_are_held<H: Harness>() {
    let limits = Limits {
        max_held_events: 5,
        ..limits()
    };
    let rig = Rig::new(H::shared().await, limits);
    rig.publisher()
        .await
        .publish(&events(0, 0..12))
        .await
        .unwrap();
    let mut consumer = rig.consumer().await;
    let wait = Duration::from_secs(5);
    let mut held = gather(&mut consumer, 4).await;
    // A batch is cut at the limit; behind it there is none.
    held.extend(consumer.receive(10, wait).await.unwrap());
    assert_eq!(held.len(), 5);
    let refused = consumer.receive(1, wait).await;
    assert_eq!(
        refused,
        Err(ConsumeError::TooManyHeld { held: 5, limit: 5 })
    );
    // The second does not make room before the first, which the bus would lose.
    consumer.acknowledge(&held[1..2]).await.unwrap();
    let refused = consumer.receive(1, wait).await;
    assert_eq!(
        refused,
        Err(ConsumeError::TooManyHeld { held: 5, limit: 5 })
    );
    consumer.acknowledge(&held[..1]).await.unwrap();
    let more = consumer.receive(10, wait).await.unwrap();
    assert_eq!(read_all(&more), [(0, 5), (0, 6)]);
}

pub async fn a_dropped_call_loses_nothing<H: Harness>() {
    let rig = Rig::new(H::shared().await, limits());
    let mut consumer = rig.consumer().await;
    let publisher = rig.publisher().await;
    for number in 0..20 {
        publisher.publish(&[event(0, number)]).await.unwrap();
        let call = consumer.receive(1_000, Duration::from_secs(5));
        // Given up at once, or in the middle of its wait.
        let limit = Duration::from_millis(number as u64 * 10);
        assert!(tokio::time::timeout(limit, call).await.is_err());
    }
    let received = gather(&mut consumer, 20).await;
    let expected: Vec<_> = (0..20).map(|number| (0, number)).collect();
    assert_eq!(read_all(&received), expected);
    assert_eq!(consumer.acknowledge(&received).await.unwrap().events, 20);
}
