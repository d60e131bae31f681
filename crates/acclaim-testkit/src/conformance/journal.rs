//! The journal: every transition once, in order, to resume from anywhere.

use std::collections::BTreeMap;
use std::time::Duration;

use acclaim_core::Rev;
use acclaim_core::port::Place;

use super::words::*;
use super::{Ending, Stage};

/// Each transition is one event with the state after it.
pub async fn events_in_order(mut stage: Stage) {
    for n in 0..50 {
        stage
            .toggle(&edge(
                LIKES,
                &(n % 7).to_string(),
                &format!("POST:{}", n % 3),
            ))
            .await;
    }
    let events = stage.journal_from(Place::START).await;
    assert_eq!(events.len(), 50);
    assert!(events.windows(2).all(|pair| pair[0].place < pair[1].place));
    stage.finish().await;
}

/// From any place, with any number of events a read.
pub async fn resuming(mut stage: Stage) {
    let like = |n: u64| edge(LIKES, &(n % 7).to_string(), &format!("POST:{}", n % 3));
    stage
        .apply((0..40).map(|n| toggle(like(n))).collect())
        .await;
    let all = stage.model().journal_after(Place::START);
    stage.journal_end().await;
    let places = all.iter().flat_map(|event| {
        let Place { seq, partition } = event.place;
        let before = Rev(seq.0 - 1);
        let of_partition = |partition| Place { seq, partition };
        let of_before = |partition| Place {
            seq: before,
            partition,
        };
        [
            event.place,
            of_partition(partition.saturating_sub(1)),
            of_partition(u16::MAX),
            of_before(partition),
            of_before(u16::MAX),
        ]
    });
    for after in places {
        for max in [1, 2, 7, 1_000] {
            let events = stage.engine().journal_after(after, max).await.unwrap();
            let mut expected = stage.model().journal_after(after);
            expected.truncate(max);
            assert_eq!(events, expected, "after {after}, at most {max}");
        }
    }
    let end = stage.engine().journal_after(Place::MAX, 10).await;
    assert!(end.unwrap().is_empty());
    stage.finish().await;
}

/// The event of the excluded edge comes before that of the set.
pub async fn the_other_kind_comes_first(mut stage: Stage) {
    stage.set(&edge(LIKES, "1", "POST:1")).await;
    stage.set(&edge(DISLIKES, "1", "POST:1")).await;
    let events = stage.journal_from(Place::START).await;
    let told: Vec<_> = events
        .iter()
        .map(|e| (e.edge.kind, e.active, e.count))
        .collect();
    assert_eq!(
        told,
        [(LIKES, true, 1), (LIKES, false, 0), (DISLIKES, true, 1)]
    );
    stage.finish().await;
}

/// What changes nothing is not in the journal.
pub async fn unchanged_is_silent(mut stage: Stage) {
    let like = edge(LIKES, "1", "POST:1");
    stage.set(&like).await;
    let end = stage.journal_end().await;
    stage.set(&like).await;
    stage.unset(&edge(LIKES, "2", "POST:1")).await;
    stage.apply(vec![import(like, stage.now())]).await;
    assert_eq!(stage.journal_end().await, end);
    stage.finish().await;
}

/// An import's place is now, its rev the time it came with.
pub async fn an_import_keeps_its_rev(mut stage: Stage) {
    let at = before_start(3 * DAY);
    stage
        .apply(vec![import(edge(LIKES, "1", "POST:1"), at)])
        .await;
    let events = stage.journal_from(Place::START).await;
    assert_eq!((events[0].place.seq, events[0].rev), (stage.now(), at));
    stage.finish().await;
}

/// A wait for the next event ends when it is there, at once where it already is.
pub async fn passing(mut stage: Stage) {
    stage.set(&edge(LIKES, "1", "POST:1")).await;
    let limit = Duration::from_secs(20);
    let engine = stage.engine();
    let past = engine.journal_passes(Place::START);
    let past = tokio::time::timeout(limit, past).await;
    assert!(past.expect("an event is there"));
    let end = stage.journal_end().await;
    let waiter = engine.clone();
    let waiting = tokio::spawn(async move {
        let passed = waiter.journal_passes(end).await;
        (passed, waiter.journal_end().await)
    });
    // Nothing changes: the wait goes on.
    stage.set(&edge(LIKES, "1", "POST:1")).await;
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    stage.set(&edge(LIKES, "2", "POST:1")).await;
    let ended = tokio::time::timeout(limit, waiting)
        .await
        .expect("an event has come");
    assert_eq!(ended.unwrap(), (true, Ok(stage.journal_end().await)));
    assert!(stage.journal_end().await > end);
    drop(engine);
    stage.finish().await;
}

/// Folding the journal gives the edges and the counts.
pub async fn the_fold_is_the_state(mut stage: Stage) {
    for n in 0..300u64 {
        let kind = [LIKES, DISLIKES, CLAPS][n as usize * 5 % 3];
        let like = edge(kind, &(n * 7 % 11).to_string(), &format!("POST:{}", n % 4));
        stage.toggle(&like).await;
    }
    let (mut edges, mut counts) = (BTreeMap::new(), BTreeMap::<_, u64>::new());
    for event in stage.journal_from(Place::START).await {
        let count = counts.entry(event.edge.target_key()).or_default();
        *count = if event.active { *count + 1 } else { *count - 1 };
        assert_eq!(*count, event.count, "{event:?}");
        let before = edges.insert(event.edge.clone(), event.active);
        assert_ne!(
            before.unwrap_or(false),
            event.active,
            "every event is a change"
        );
    }
    let keys: Vec<_> = counts.keys().cloned().collect();
    let answered = stage.engine().counts(keys).await.unwrap();
    let answered: Vec<u64> = answered.iter().map(|count| count.count).collect();
    assert_eq!(answered, counts.into_values().collect::<Vec<_>>());
    stage.finish().await;
}

/// The journal goes on after a stop and a crash, with nothing twice and nothing missing.
pub async fn journal_outlives_reopening(mut stage: Stage) {
    for ending in [Ending::Crash, Ending::Clean, Ending::Crash] {
        let end = stage.journal_end().await;
        for n in 0..30 {
            stage.toggle(&edge(LIKES, &n.to_string(), "POST:1")).await;
        }
        stage.reopen(ending).await;
        let events = stage.journal_from(end).await;
        assert_eq!(events, stage.model().journal_after(end));
    }
    stage.finish().await;
}
