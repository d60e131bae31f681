//! The same request under the same key is decided once; another request under it is refused.

use acclaim_cluster::redis::decide::{DecideOp, Decided};
use acclaim_cluster::redis::idempotency::Reserved;
use acclaim_cluster::redis::load::Cold;
use acclaim_core::port::Idempotency;
use acclaim_core::{Action, Op, Rev, Transition};

use crate::stage::{PARTITION, Stage, edge};

const DAY: u64 = 86_400_000_000;

fn keyed(stage: &Stage, request: &str) -> DecideOp {
    let op = Op::new(Action::Toggle, edge(3, "1", "POST:1"));
    let idempotency = Idempotency::new("caller", "key", &[request.as_bytes()]);
    DecideOp {
        idempotency: Some((idempotency, 0)),
        ..stage.op(&op)
    }
}

async fn decide(stage: &mut Stage, op: &DecideOp) -> Decided {
    let ops = [op.clone()];
    stage
        .redis
        .decide(PARTITION, Some(stage.now), &ops)
        .await
        .unwrap()
        .remove(0)
}

async fn warm(stage: &mut Stage) {
    let ops = vec![Op::new(Action::Set, edge(3, "9", "POST:1"))];
    stage.apply(ops).await;
}

fn done(decided: Decided) -> (Transition, bool) {
    match decided {
        Decided::Done {
            transition,
            replayed,
        } => (transition, replayed),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_repeat_is_answered_and_not_decided() {
    let mut stage = Stage::open().await;
    warm(&mut stage).await;
    let op = keyed(&stage, "a");
    let (first, replayed) = done(decide(&mut stage, &op).await);
    assert!(!replayed && first.changed && first.active);
    stage.now.0 += DAY - 1;
    assert_eq!(done(decide(&mut stage, &op).await), (first, true));
    let events = stage
        .redis
        .journal_after(PARTITION, Rev::ZERO, 10)
        .await
        .unwrap();
    assert_eq!(events.len(), 2, "the warming and one toggle");
}

#[tokio::test]
async fn after_a_day_it_is_a_new_request() {
    let mut stage = Stage::open().await;
    warm(&mut stage).await;
    let op = keyed(&stage, "a");
    done(decide(&mut stage, &op).await);
    stage.now.0 += DAY;
    let (second, replayed) = done(decide(&mut stage, &op).await);
    assert!(!replayed && !second.active);
}

#[tokio::test]
async fn another_request_under_the_key_is_refused() {
    let mut stage = Stage::open().await;
    warm(&mut stage).await;
    let first = keyed(&stage, "a");
    done(decide(&mut stage, &first).await);
    let second = keyed(&stage, "b");
    assert_eq!(decide(&mut stage, &second).await, Decided::Mismatch);
}

#[tokio::test]
async fn twice_in_one_call_is_decided_once() {
    let mut stage = Stage::open().await;
    warm(&mut stage).await;
    let op = keyed(&stage, "a");
    let ops = [op.clone(), op];
    let both = stage
        .redis
        .decide(PARTITION, Some(stage.now), &ops)
        .await
        .unwrap();
    let both: Vec<_> = both.into_iter().map(done).collect();
    assert_eq!(both[1], (both[0].0, true));
}

#[tokio::test]
async fn what_was_cold_is_not_kept() {
    let mut stage = Stage::open().await;
    stage.load(vec![Cold::Partition]).await;
    let op = keyed(&stage, "a");
    let Decided::Cold(cold) = decide(&mut stage, &op).await else {
        panic!("nothing is loaded yet");
    };
    stage.load(vec![cold]).await;
    assert!(!done(decide(&mut stage, &op).await).1);
}

#[tokio::test]
async fn answers_outlive_an_eviction_and_end_with_their_shelf() {
    let mut stage = Stage::open().await;
    warm(&mut stage).await;
    let op = keyed(&stage, "a");
    let (first, _) = done(decide(&mut stage, &op).await);
    stage.drain().await;
    assert!(stage.evict(100).await > 0);
    assert_eq!(done(decide(&mut stage, &op).await), (first, true));
    for (days, expected) in [(0, 0), (1, 0), (2, 1), (2, 0)] {
        let now = Some(Rev(stage.now.0 + days * DAY));
        let mut removed = 0;
        loop {
            let (some, more) = stage.redis.sweep_answers(PARTITION, now).await.unwrap();
            removed += some;
            if !more {
                break;
            }
        }
        assert_eq!(removed, expected, "after {days} days");
    }
    assert!(matches!(decide(&mut stage, &op).await, Decided::Cold(_)));
}

#[tokio::test]
async fn a_key_belongs_to_its_first_request() {
    let stage = Stage::open().await;
    let request = |body: &str| Idempotency::new("caller", "key", &[body.as_bytes()]);
    for (now, body, expected) in [
        (stage.now, "a", Reserved::New),
        (stage.now, "a", Reserved::Again),
        (stage.now, "b", Reserved::Mismatch),
        (Rev(stage.now.0 + DAY - 1), "b", Reserved::Mismatch),
        (Rev(stage.now.0 + DAY), "b", Reserved::New),
    ] {
        let reserved = stage
            .redis
            .reserve(PARTITION, Some(now), &request(body))
            .await;
        assert_eq!(reserved, Ok(expected), "{body} at {now}");
    }
}
