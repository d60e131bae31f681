//! Counts of targets.

use acclaim_core::limits::MAX_BATCH_READS;
use acclaim_core::port::Count;

use super::words::*;
use super::{Ending, Stage};

/// What never was counts zero, with rev zero.
pub async fn counts_of_what_never_was(mut stage: Stage) {
    stage.set(&edge(LIKES, "1", "POST:1")).await;
    let keys = vec![
        target_key(LIKES, "POST:2"),
        target_key(CLAPS, "POST:1"),
        target_key(LIKES, "NEW_TYPE:1"),
        target_key(LIKES, "POST:01"),
    ];
    let counts = stage.engine().counts(keys).await.unwrap();
    assert_eq!(counts, [Count::default(); 4]);
    let none = stage.engine().counts(Vec::new()).await.unwrap();
    assert!(none.is_empty());
    stage.finish().await;
}

/// The count is that of the active edges; its rev that of the last transition.
pub async fn counts_follow_edges(mut stage: Stage) {
    for user in 0..20 {
        stage.set(&edge(LIKES, &user.to_string(), "POST:1")).await;
    }
    for user in (0..20).step_by(3) {
        stage.unset(&edge(LIKES, &user.to_string(), "POST:1")).await;
    }
    let last = stage.now();
    stage.unset(&edge(LIKES, "0", "POST:1")).await;
    let counts = vec![target_key(LIKES, "POST:1")];
    let counts = stage.engine().counts(counts).await.unwrap();
    assert_eq!(
        counts,
        [Count {
            count: 13,
            rev: last
        }]
    );
    stage.finish().await;
}

/// As many as a batch takes, in the order asked, repeats included.
pub async fn many_counts_in_order(mut stage: Stage) {
    let ops = (0..900u64).map(|n| {
        let post = n % 43;
        set(edge(
            LIKES,
            &(n * 7 % 97).to_string(),
            &format!("POST:{post}"),
        ))
    });
    stage.apply(ops.collect()).await;
    let keys: Vec<_> = (0..MAX_BATCH_READS)
        .map(|n| target_key(LIKES, &format!("POST:{}", n * 31 % 60)))
        .collect();
    let counts = stage.engine().counts(keys.clone()).await.unwrap();
    let expected: Vec<_> = keys.iter().map(|key| stage.model().count(key)).collect();
    assert_eq!(counts, expected);
    let edges: Vec<_> = (0..MAX_BATCH_READS)
        .map(|n| edge(LIKES, &(n % 100).to_string(), &format!("POST:{}", n % 50)))
        .collect();
    let statuses = stage.engine().statuses(edges.clone()).await.unwrap();
    let expected: Vec<_> = edges.iter().map(|e| stage.model().status(e)).collect();
    assert_eq!(statuses, expected);
    stage.finish().await;
}

/// Counts are the same after a stop and a crash, and move on from there.
pub async fn counts_outlive_reopening(mut stage: Stage) {
    for (round, ending) in [Ending::Crash, Ending::Clean, Ending::Crash]
        .into_iter()
        .enumerate()
    {
        let ops = (0..200).map(|n| {
            let user = (n + round * 50) % 150;
            toggle(edge(LIKES, &user.to_string(), &format!("POST:{}", n % 3)))
        });
        stage.apply(ops.collect()).await;
        stage.reopen(ending).await;
    }
    stage.finish().await;
}

/// One target that everybody does, and a part of them undoes.
pub async fn a_hot_target(mut stage: Stage) {
    let like = |n: u64| edge(LIKES, &n.to_string(), "POST:1");
    stage
        .apply_all((0..3_000).map(|n| set(like(n))).collect())
        .await;
    stage
        .apply_all((0..3_000).step_by(2).map(|n| unset(like(n))).collect())
        .await;
    let counts = vec![target_key(LIKES, "POST:1")];
    let counts = stage.engine().counts(counts).await.unwrap();
    assert_eq!(counts[0].count, 1_500);
    stage.finish().await;
}
