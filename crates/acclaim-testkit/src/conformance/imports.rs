//! Edges that come with the time they were set at.

use acclaim_core::Start;

use super::Stage;
use super::words::*;

/// The time becomes the edge's rev and its place in the lists; the journal stays in order.
pub async fn an_import_keeps_its_time(mut stage: Stage) {
    let at = before_start(400 * DAY);
    stage.set(&edge(LIKES, "2", "POST:1")).await;
    let answer = stage
        .apply(vec![import(edge(LIKES, "1", "POST:1"), at)])
        .await[0];
    assert_eq!((answer.rev, answer.count), (at, 2));
    let key = target_key(LIKES, "POST:1");
    let users = stage.engine().users(key, Start::top(), 10).await.unwrap();
    assert_eq!(users.page.entries[1].at, at);
    stage.finish().await;
}

/// The same import again changes nothing, with an earlier or a later time too.
pub async fn an_import_is_idempotent(mut stage: Stage) {
    let like = edge(LIKES, "1", "POST:1");
    for (at, changed) in [(5, true), (5, false), (6, false), (4, false)] {
        let op = import(like.clone(), before_start(at * DAY));
        assert_eq!(stage.apply(vec![op]).await[0].changed, changed);
    }
    stage.finish().await;
}

/// An import gives way to a transition of the edge that is as new or newer.
pub async fn an_import_gives_way(mut stage: Stage) {
    let like = edge(LIKES, "1", "POST:1");
    stage.set(&like).await;
    let unset = stage.unset(&like).await;
    for at in [before_start(1), unset.rev] {
        let answer = stage.apply(vec![import(like.clone(), at)]).await[0];
        assert!(!answer.changed && !answer.active);
        assert_eq!(answer.rev, unset.rev);
    }
    stage.finish().await;
}

/// An import newer than the last unset sets again.
pub async fn an_import_after_an_unset(mut stage: Stage) {
    let like = edge(LIKES, "1", "POST:1");
    stage.set(&like).await;
    let unset = stage.unset(&like).await;
    stage.advance(DAY);
    let at = acclaim_core::Rev(unset.rev.0 + 1);
    let answer = stage.apply(vec![import(like.clone(), at)]).await[0];
    assert!(answer.changed && answer.rev == at);
    stage.finish().await;
}

/// An imported edge lives on like any other.
pub async fn a_toggle_after_an_import(mut stage: Stage) {
    let like = edge(LIKES, "1", "POST:1");
    let old = import(like.clone(), before_start(40 * DAY));
    stage.apply(vec![old]).await;
    let off = stage.toggle(&like).await;
    assert!(!off.active && off.count == 0);
    let on = stage.toggle(&like).await;
    assert!(on.active && on.rev == stage.now());
    stage.finish().await;
}

/// A larger import in no order, twice.
pub async fn a_large_import(mut stage: Stage) {
    let ops: Vec<_> = (0..4_000u64)
        .map(|n| {
            // An odd multiplier spreads users, targets and times without a source of chance.
            let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
            let like = edge(
                LIKES,
                &(mixed % 613).to_string(),
                &format!("POST:{}", (mixed >> 10) % 211),
            );
            import(like, before_start((mixed >> 4) % (500 * DAY)))
        })
        .collect();
    stage.apply_all(ops.clone()).await;
    let end = stage.journal_end().await;
    // Again: what stands stays; a line that came twice with two times keeps the first.
    stage.apply_all(ops).await;
    assert_eq!(stage.journal_end().await, end);
    stage.finish().await;
}
