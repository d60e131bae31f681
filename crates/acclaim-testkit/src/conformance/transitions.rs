//! Setting, unsetting and toggling single edges and batches of them.

use acclaim_core::port::{Place, Write};
use acclaim_core::{Rev, Transition, limits};

use super::words::*;
use super::{Ending, Stage};

fn answer(active: bool, changed: bool, count: u64, rev: Rev) -> Transition {
    Transition {
        active,
        changed,
        count,
        rev,
    }
}

/// A second set changes nothing and answers with the standing rev.
pub async fn setting_is_idempotent(mut stage: Stage) {
    let like = edge(LIKES, "1", "POST:1");
    let first = stage.set(&like).await;
    assert_eq!(first, answer(true, true, 1, stage.now()));
    let again = stage.set(&like).await;
    assert_eq!(again, answer(true, false, 1, first.rev));
    stage.finish().await;
}

/// An unset of what never was answers rev 0 and leaves no trace.
pub async fn unsetting_what_never_was(mut stage: Stage) {
    let unset = stage.unset(&edge(LIKES, "1", "POST:1")).await;
    assert_eq!(unset, answer(false, false, 0, Rev::ZERO));
    assert_eq!(stage.journal_end().await.seq, Rev::ZERO);
    assert!(stage.journal_from(Place::START).await.is_empty());
    stage.finish().await;
}

/// Every toggle changes, with a higher rev.
pub async fn toggles_alternate(mut stage: Stage) {
    let like = edge(LIKES, "1", "POST:1");
    let mut last = Rev::ZERO;
    for turn in 0..7 {
        let toggled = stage.toggle(&like).await;
        let on = turn % 2 == 0;
        assert_eq!(toggled, answer(on, true, u64::from(on), stage.now()));
        assert!(toggled.rev > last);
        last = toggled.rev;
    }
    stage.finish().await;
}

/// Ops of one write see those before them.
pub async fn a_write_decides_its_ops_in_order(mut stage: Stage) {
    let (one, two) = (edge(LIKES, "1", "POST:1"), edge(LIKES, "2", "POST:1"));
    let ops = vec![
        set(one.clone()),
        set(two.clone()),
        unset(one.clone()),
        set(two),
        toggle(one.clone()),
        unset(edge(LIKES, "3", "POST:1")),
    ];
    let answers = stage.apply(ops).await;
    let counts: Vec<u64> = answers.iter().map(|answer| answer.count).collect();
    assert_eq!(counts, [1, 2, 1, 1, 2, 2]);
    let changed: Vec<bool> = answers.iter().map(|answer| answer.changed).collect();
    assert_eq!(changed, [true, true, true, false, true, false]);
    stage.finish().await;
}

/// One edge may change many times in one write; each change is an event.
pub async fn one_edge_many_times_in_one_write(mut stage: Stage) {
    let like = edge(LIKES, "1", "POST:1");
    let answers = stage.apply(vec![toggle(like.clone()); 501]).await;
    assert!(answers.windows(2).all(|pair| pair[0].rev < pair[1].rev));
    assert!(answers[500].active);
    stage.unset(&like).await;
    stage.finish().await;
}

/// As many ops as a write may have.
pub async fn the_largest_write(mut stage: Stage) {
    let edges = (0..limits::MAX_BATCH_OPS)
        .map(|n| edge(LIKES, &(n % 37).to_string(), &format!("POST:{}", n % 101)));
    let answers = stage.apply(edges.map(set).collect()).await;
    assert_eq!(answers.len(), limits::MAX_BATCH_OPS);
    stage.finish().await;
}

/// The same user and target under other kinds are other edges.
pub async fn kinds_do_not_touch_each_other(mut stage: Stage) {
    stage.set(&edge(LIKES, "1", "POST:1")).await;
    stage.set(&edge(BOOKMARKS, "1", "POST:1")).await;
    stage.set(&edge(CLAPS, "1", "POST:1")).await;
    let unset = stage.unset(&edge(BOOKMARKS, "1", "POST:1")).await;
    assert_eq!(unset.count, 0);
    let still = stage.set(&edge(LIKES, "1", "POST:1")).await;
    assert!(!still.changed);
    stage.finish().await;
}

/// A write without ops answers without answers.
pub async fn an_empty_write(stage: Stage) {
    let applied = stage.engine().apply(Write::plain(Vec::new())).await;
    assert!(applied.unwrap().transitions.is_empty());
    stage.finish().await;
}

/// What was answered is there after a stop and after a crash, and goes on from there.
pub async fn transitions_outlive_reopening(mut stage: Stage) {
    for ending in [Ending::Clean, Ending::Crash, Ending::Clean, Ending::Crash] {
        for n in 0..40 {
            let (user, post) = (n % 5, n % 7);
            stage
                .toggle(&edge(LIKES, &user.to_string(), &format!("POST:{post}")))
                .await;
        }
        stage.unset(&edge(LIKES, "0", "POST:0")).await;
        stage.reopen(ending).await;
    }
    stage.finish().await;
}
