//! How much one step reads and one commit writes, at the edges.

use acclaim_core::notify::NotificationLimits;
use acclaim_core::notify::consume::{Done, MAX_BEHIND, Stepped};
use acclaim_core::notify::desk::WebhookForm;

use super::cases::World;

/// A thousand owners are to be told, each by one event.
async fn a_thousand_to_tell(endpoints: u64) -> World {
    let world = World::new(NotificationLimits::default()).await;
    let form = WebhookForm {
        url: "https://example.com/".to_owned(),
        kinds: None,
        target_types: None,
    };
    for name in 0..endpoints {
        let put = world.desk();
        put.put_webhook(&format!("w{name}"), &form, &[7; 32])
            .await
            .unwrap();
    }
    for about in 0..1_000 {
        world.own(about, 10_000 + about).await;
        world.like(9, about).await;
    }
    world
}

async fn step(world: &mut World) -> Done {
    match world.consumer.step().await.unwrap() {
        Stepped::Folded(done) => done,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_commit_queues_ten_thousand_deliveries_and_not_more() {
    let mut world = a_thousand_to_tell(10).await;
    let whole = step(&mut world).await;
    assert_eq!((whole.events, whole.queued), (1_000, 10_000));

    let mut world = a_thousand_to_tell(11).await;
    let first = step(&mut world).await;
    assert_eq!((first.events, first.queued), (500, 5_500));
    // What was read ahead is read again, behind what was committed.
    assert!(!world.consumer.has_more());
    let second = step(&mut world).await;
    assert_eq!((second.events, second.queued), (500, 5_500));
    assert_eq!(world.consumer.step().await.unwrap(), Stepped::Idle);
}

#[tokio::test]
async fn five_thousand_events_are_read_at_once_and_not_more() {
    let mut world = World::new(NotificationLimits::default()).await;
    for user in 0..5_001 {
        world.like(user, 1).await;
    }
    let mut steps = Vec::new();
    while let Stepped::Folded(done) = world.consumer.step().await.unwrap() {
        steps.push((done.events, world.consumer.has_more()));
    }
    let read_ahead = [true, true, true, true, false].map(|more| (1_000, more));
    assert_eq!(steps[..5], read_ahead);
    assert_eq!(steps[5..], [(1, false)], "the last is read by itself");
}

#[tokio::test]
async fn what_is_behind_is_counted_up_to_a_limit() {
    let world = World::new(NotificationLimits::default()).await;
    for user in 0..MAX_BEHIND as u64 - 1 {
        world.like(user, 1).await;
    }
    assert_eq!(world.consumer.behind().await.unwrap(), MAX_BEHIND - 1);
    for user in 0..2 {
        world.like(user, 2).await;
    }
    assert_eq!(world.consumer.behind().await.unwrap(), MAX_BEHIND);
}
