//! Writes under an idempotency key.

use acclaim_core::limits::IDEMPOTENCY_SECONDS;
use acclaim_core::port::{Idempotency, Write};
use acclaim_core::{Rev, WriteError};

use super::words::*;
use super::{Ending, Stage};

/// The same key and request give the first answer, and apply once.
pub async fn a_repeat_gets_the_first_answer(mut stage: Stage) {
    let like = edge(LIKES, "1", "POST:1");
    let toggled = || vec![toggle(like.clone())];
    let first = stage.apply_keyed("k", "toggle", toggled()).await.unwrap();
    assert!(!first.1);
    for _ in 0..3 {
        stage.advance(MINUTE);
        let again = stage.apply_keyed("k", "toggle", toggled()).await.unwrap();
        assert_eq!(again, (first.0.clone(), true));
    }
    stage.finish().await;
}

/// A repeat after others changed the edge still answers as the first time and changes nothing.
pub async fn a_repeat_does_nothing_later(mut stage: Stage) {
    let like = edge(LIKES, "1", "POST:1");
    let ops = || vec![set(like.clone())];
    let first = stage.apply_keyed("k", "set", ops()).await.unwrap();
    stage.unset(&like).await;
    stage.set(&edge(LIKES, "2", "POST:1")).await;
    let again = stage.apply_keyed("k", "set", ops()).await.unwrap();
    assert_eq!(again, (first.0, true));
    stage.finish().await;
}

/// The same key with another request is refused and changes nothing; other keys are free.
pub async fn another_request_under_the_key(mut stage: Stage) {
    let ops = |user| vec![set(edge(LIKES, user, "POST:1"))];
    stage.apply_keyed("k", "one", ops("1")).await.unwrap();
    let other = stage.apply_keyed("k", "two", ops("2")).await;
    assert_eq!(other, Err(WriteError::IdempotencyMismatch));
    let free = stage.apply_keyed("l", "two", ops("2")).await.unwrap();
    assert!(!free.1);
    stage.finish().await;
}

/// A repeat of a batch has the answer of every op.
pub async fn every_op_is_answered_again(mut stage: Stage) {
    let like = |n: usize| edge(LIKES, &(n % 10).to_string(), &format!("POST:{}", n % 7));
    let ops = || (0..300).map(|n| toggle(like(n))).collect::<Vec<_>>();
    let first = stage.apply_keyed("k", "batch", ops()).await.unwrap();
    assert_eq!(first.0.len(), 300);
    let again = stage.apply_keyed("k", "batch", ops()).await.unwrap();
    assert_eq!(again, (first.0, true));
    stage.finish().await;
}

/// A write that changes nothing is remembered all the same.
pub async fn an_unchanging_write_is_remembered(mut stage: Stage) {
    let like = edge(LIKES, "1", "POST:1");
    let ops = || vec![unset(like.clone())];
    let first = stage.apply_keyed("k", "unset", ops()).await.unwrap();
    stage.set(&like).await;
    let again = stage.apply_keyed("k", "unset", ops()).await.unwrap();
    assert_eq!(again, (first.0, true));
    stage.finish().await;
}

/// Until a day is over the answer is repeated; then the key is new.
pub async fn keys_end_after_a_day(mut stage: Stage) {
    let like = edge(LIKES, "1", "POST:1");
    let begin = stage.now();
    let ops = || vec![toggle(like.clone())];
    stage.apply_keyed("k", "toggle", ops()).await.unwrap();
    stage.set_clock(Rev(begin.0 + IDEMPOTENCY_SECONDS * SECOND - 1));
    let last = stage.apply_keyed("k", "toggle", ops()).await.unwrap();
    assert!(last.1, "a microsecond before a day is over");
    stage.set_clock(Rev(begin.0 + IDEMPOTENCY_SECONDS * SECOND));
    let new = stage.apply_keyed("k", "other", ops()).await.unwrap();
    assert!(!new.1, "after a day the key may be used for something else");
    assert!(!new.0[0].active);
    let repeat = stage.apply_keyed("k", "other", ops()).await.unwrap();
    assert_eq!(repeat, (new.0, true));
    stage.finish().await;
}

/// Answers are as durable as what they answer.
pub async fn answers_outlive_reopening(mut stage: Stage) {
    let like = edge(LIKES, "1", "POST:1");
    let ops = || vec![toggle(like.clone())];
    for (key, ending) in [("k", Ending::Clean), ("l", Ending::Crash)] {
        let first = stage.apply_keyed(key, "toggle", ops()).await.unwrap();
        stage.reopen(ending).await;
        let again = stage.apply_keyed(key, "toggle", ops()).await.unwrap();
        assert_eq!(again, (first.0, true), "{ending:?}");
        let other = stage.apply_keyed(key, "other", ops()).await;
        assert_eq!(other, Err(WriteError::IdempotencyMismatch));
    }
    stage.finish().await;
}

/// Thousands of keys, each with its own answer, over a crash and a day.
pub async fn many_keys(mut stage: Stage) {
    let ops = |n: usize| vec![toggle(edge(LIKES, &(n % 50).to_string(), "POST:1"))];
    let mut firsts = Vec::new();
    for n in 0..2_000 {
        let first = stage.apply_keyed(&n.to_string(), "toggle", ops(n)).await;
        firsts.push(first.unwrap().0);
    }
    stage.reopen(Ending::Crash).await;
    for (n, first) in firsts.into_iter().enumerate().step_by(17) {
        let again = stage.apply_keyed(&n.to_string(), "toggle", ops(n)).await;
        assert_eq!(again.unwrap(), (first, true), "key {n}");
    }
    stage.advance(DAY);
    for n in (0..2_000).step_by(97) {
        let late = stage.apply_keyed(&n.to_string(), "toggle", ops(n)).await;
        assert!(!late.unwrap().1, "key {n} after a day");
    }
    stage.finish().await;
}

/// Repeats sent at once apply once: each gets the one answer, or hears that it is under way.
pub async fn repeats_at_once_apply_once(mut stage: Stage) {
    let like = edge(LIKES, "1", "POST:1");
    for round in 0..20 {
        let write = Write {
            idempotency: Some(Idempotency::new("many", &round.to_string(), &[b"toggle"])),
            ..Write::plain(vec![toggle(like.clone())])
        };
        let engine = stage.engine();
        let sent: Vec<_> = (0..16)
            .map(|_| {
                let (engine, write) = (engine.clone(), write.clone());
                tokio::spawn(async move { engine.apply(write).await })
            })
            .collect();
        drop(engine);
        let (mut fresh, mut answers) = (0, Vec::new());
        for answer in sent {
            match answer.await.unwrap() {
                Ok(applied) => {
                    fresh += u32::from(!applied.replayed);
                    answers.push(applied.transitions);
                }
                Err(WriteError::IdempotencyInFlight) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(fresh, 1, "one of them was the first");
        answers.dedup();
        assert_eq!(answers.len(), 1, "one answer for all");
        stage.followed(vec![toggle(like.clone())], &answers[0]);
    }
    stage.finish().await;
}
