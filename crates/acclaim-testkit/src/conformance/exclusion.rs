//! Kinds that exclude each other on one target: like, dislike, shrug.

use super::Stage;
use super::words::*;

const POST: &str = "POST:1";

/// Setting one unsets the other in the same transition; the other's event comes first.
pub async fn a_set_unsets_the_other(mut stage: Stage) {
    stage.set(&edge(LIKES, "1", POST)).await;
    let disliked = stage.set(&edge(DISLIKES, "1", POST)).await;
    assert_eq!(disliked.count, 1);
    let counts = [target_key(LIKES, POST), target_key(DISLIKES, POST)];
    let counts = stage.engine().counts(counts.to_vec()).await.unwrap();
    assert_eq!((counts[0].count, counts[1].count), (0, 1));
    assert!(
        counts[0].rev < counts[1].rev,
        "the unset is before the set that caused it"
    );
    stage.finish().await;
}

/// A toggle that turns on is a set.
pub async fn a_toggle_on_unsets_the_other(mut stage: Stage) {
    stage.toggle(&edge(DISLIKES, "1", POST)).await;
    stage.toggle(&edge(LIKES, "1", POST)).await;
    let dislike = stage.unset(&edge(DISLIKES, "1", POST)).await;
    assert!(!dislike.changed);
    stage.finish().await;
}

/// Unsetting one, by unset or toggle, leaves the other as it is.
pub async fn an_unset_leaves_the_other(mut stage: Stage) {
    stage.set(&edge(LIKES, "1", POST)).await;
    stage.unset(&edge(DISLIKES, "1", POST)).await;
    let like = stage.set(&edge(LIKES, "1", POST)).await;
    assert!(!like.changed);
    stage.toggle(&edge(LIKES, "1", POST)).await;
    stage.finish().await;
}

/// Three opinions; whatever comes, at most one stands.
pub async fn three_kinds_exclude_each_other(mut stage: Stage) {
    let kinds = [LIKES, DISLIKES, SHRUGS];
    let orders = [0, 1, 2, 1, 0, 2, 2, 0, 1, 1, 2, 0];
    for (turn, kind) in orders.into_iter().enumerate() {
        let user = (turn % 2).to_string();
        if turn % 3 == 0 {
            stage.toggle(&edge(kinds[kind], &user, POST)).await;
        } else {
            stage.set(&edge(kinds[kind], &user, POST)).await;
        }
    }
    let ops = orders.map(|kind| toggle(edge(kinds[kind], "7", POST)));
    stage.apply(ops.to_vec()).await;
    stage.finish().await;
}

/// A set that changes nothing leaves the journal as it is.
pub async fn a_set_that_changes_nothing_excludes_nothing(mut stage: Stage) {
    stage.set(&edge(DISLIKES, "1", POST)).await;
    let end = stage.journal_end().await;
    stage.set(&edge(DISLIKES, "1", POST)).await;
    assert_eq!(stage.journal_end().await, end);
    stage.finish().await;
}

/// Another user's opinion, or one on another target, is not touched.
pub async fn exclusion_is_per_user(mut stage: Stage) {
    stage.set(&edge(LIKES, "1", POST)).await;
    stage.set(&edge(LIKES, "2", POST)).await;
    stage.set(&edge(LIKES, "1", "POST:2")).await;
    stage.set(&edge(CLAPS, "1", POST)).await;
    let disliked = stage.set(&edge(DISLIKES, "1", POST)).await;
    assert_eq!(disliked.count, 1);
    for (user, post) in [("2", POST), ("1", "POST:2")] {
        assert!(!stage.set(&edge(LIKES, user, post)).await.changed);
    }
    stage.finish().await;
}

/// An imported like that is older than the standing dislike changes nothing.
pub async fn an_older_import_gives_way_to_the_other(mut stage: Stage) {
    stage.set(&edge(DISLIKES, "1", POST)).await;
    let older = import(edge(LIKES, "1", POST), before_start(HOUR));
    let answer = stage.apply(vec![older]).await[0];
    assert!(!answer.active && !answer.changed);
    stage.finish().await;
}

/// An imported like that is newer unsets an imported dislike, at the like's time.
pub async fn a_newer_import_unsets_the_other(mut stage: Stage) {
    let disliked = import(edge(DISLIKES, "1", POST), before_start(2 * HOUR));
    let liked = import(edge(LIKES, "1", POST), before_start(HOUR));
    stage.apply(vec![disliked.clone()]).await;
    assert!(stage.apply(vec![liked]).await[0].changed);
    assert!(!stage.apply(vec![disliked]).await[0].changed);
    stage.finish().await;
}
