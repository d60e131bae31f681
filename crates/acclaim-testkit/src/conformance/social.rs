//! Numbers, mutual and common edges, relationships, and who is known.

use acclaim_core::limits::{MAX_BATCH_READS, MAX_KNOWN_FOLLOWED};
use acclaim_core::port::UserNumbers;
use acclaim_core::{EdgeKey, KindId, Start};

use super::words::*;
use super::{Ending, Stage, compare};

fn to_user(kind: KindId, user: u64, other: u64) -> EdgeKey {
    edge(kind, &user.to_string(), &format!("USER:{other}"))
}

fn follow(user: u64, other: u64) -> EdgeKey {
    to_user(FOLLOWS, user, other)
}

async fn numbers(stage: &Stage, kind: KindId, user: &str) -> UserNumbers {
    stage.engine().numbers(user_key(kind, user)).await.unwrap()
}

/// Given, received and mutual, and who never did anything.
pub async fn numbers_count_both_ways(mut stage: Stage) {
    for (user, other) in [(1, 2), (1, 3), (2, 1), (4, 1), (5, 1)] {
        stage.set(&follow(user, other)).await;
    }
    stage.set(&to_user(LIKES, 1, 2)).await;
    stage.set(&to_user(LIKES, 2, 1)).await;
    let expected = UserNumbers {
        given: 2,
        received: 3,
        mutual: 1,
    };
    assert_eq!(numbers(&stage, FOLLOWS, "1").await, expected);
    // Likes take any target, so they have no mutual count.
    let expected = UserNumbers {
        given: 1,
        received: 1,
        mutual: 0,
    };
    assert_eq!(numbers(&stage, LIKES, "1").await, expected);
    assert_eq!(numbers(&stage, FOLLOWS, "99").await, UserNumbers::default());
    stage.finish().await;
}

/// Either side makes and ends it.
pub async fn mutual_comes_and_goes(mut stage: Stage) {
    let pair = [follow(1, 2), follow(2, 1)];
    for turn in [0, 1, 0, 1, 1, 0, 0, 1] {
        stage.toggle(&pair[turn]).await;
        stage.compare().await;
    }
    stage
        .apply(vec![toggle(follow(1, 2)), toggle(follow(2, 1))])
        .await;
    stage.finish().await;
}

/// One way is not mutual, and a target of another type with the user's id is not the user.
pub async fn mutual_needs_both(mut stage: Stage) {
    stage.set(&follow(1, 2)).await;
    stage.set(&follow(3, 1)).await;
    stage.set(&edge(LIKES, "1", "POST:2")).await;
    stage.set(&edge(LIKES, "2", "USER:1")).await;
    for kind in [FOLLOWS, LIKES] {
        let key = user_key(kind, "1");
        let mutual = stage.engine().mutual(key, Start::top(), 10).await.unwrap();
        assert!(mutual.entries.is_empty());
    }
    stage.finish().await;
}

/// Pages of mutual edges among many that are not.
pub async fn mutual_in_pages(mut stage: Stage) {
    stage
        .apply_all((2..2_600).map(|n| set(follow(1, n))).collect())
        .await;
    let back = (2..2_600).filter(|n| n % 61 == 0 || (900..1_000).contains(n));
    stage
        .apply_all(back.map(|n| set(follow(n, 1))).collect())
        .await;
    let key = user_key(FOLLOWS, "1");
    let all = stage
        .model()
        .mutual(&key, &Start::top(), usize::MAX)
        .entries;
    for size in [1, 10, 100] {
        let walked = compare::walk_mutual(stage.engine().as_ref(), &key, size).await;
        assert_eq!(walked, all);
    }
    stage.finish().await;
}

/// A kind that allows oneself: one's own edge is given and received, and not mutual.
pub async fn oneself(mut stage: Stage) {
    stage.set(&to_user(BEFRIENDS, 1, 1)).await;
    stage.set(&to_user(BEFRIENDS, 1, 2)).await;
    stage.set(&to_user(BEFRIENDS, 2, 1)).await;
    let expected = UserNumbers {
        given: 2,
        received: 2,
        mutual: 1,
    };
    assert_eq!(numbers(&stage, BEFRIENDS, "1").await, expected);
    stage.toggle(&to_user(BEFRIENDS, 1, 1)).await;
    stage.compare().await;
    stage.apply(vec![toggle(to_user(BEFRIENDS, 3, 3)); 3]).await;
    stage.finish().await;
}

/// What both did, by when the first did.
pub async fn common_targets(mut stage: Stage) {
    for n in 0..60 {
        if n % 2 == 0 {
            stage.set(&edge(LIKES, "1", &format!("POST:{n}"))).await;
        }
        if n % 3 == 0 {
            stage
                .set(&edge(LIKES, "2", &format!("POST:{}", 60 - n)))
                .await;
        }
        stage.set(&edge(LIKES, "1", &format!("USER:{n}"))).await;
    }
    for (user, other) in [("1", "2"), ("2", "1"), ("1", "1"), ("1", "9"), ("9", "1")] {
        let key = user_key(LIKES, user);
        let expected = stage
            .model()
            .common(&key, &id(other), &Start::top(), usize::MAX);
        for size in [1, 4, 100] {
            let (engine, other) = (stage.engine(), id(other));
            let walked = compare::walk_common(engine.as_ref(), &key, &other, size).await;
            assert_eq!(walked, expected.entries, "{user} and {other}");
        }
    }
    stage.finish().await;
}

/// One answer an other, in order, repeats and oneself included.
pub async fn relationships_in_order(mut stage: Stage) {
    for n in 2..300 {
        if n % 2 == 0 {
            stage.set(&follow(1, n)).await;
        }
        if n % 3 == 0 {
            stage.set(&follow(n, 1)).await;
        }
    }
    let others: Vec<_> = (0..MAX_BATCH_READS as u64)
        .map(|n| (n * 7 % 310).into())
        .collect();
    let key = user_key(FOLLOWS, "1");
    let answers = stage
        .engine()
        .relationships(key.clone(), others.clone())
        .await;
    let expected: Vec<_> = others
        .iter()
        .map(|o| stage.model().relationship(&key, o))
        .collect();
    assert_eq!(answers.unwrap(), expected);
    stage.finish().await;
}

/// Who among those I follow liked it.
pub async fn known_users(mut stage: Stage) {
    for n in 2..40 {
        stage.set(&follow(1, n)).await;
        if n % 3 == 0 {
            stage.set(&edge(LIKES, &n.to_string(), "POST:1")).await;
        }
        stage
            .set(&edge(LIKES, &(n + 100).to_string(), "POST:1"))
            .await;
    }
    stage.unset(&follow(1, 9)).await;
    stage.unset(&edge(LIKES, "12", "POST:1")).await;
    let target = target_key(LIKES, "POST:1");
    for size in [1, 5, 100] {
        let known = stage
            .engine()
            .known(id("1"), FOLLOWS, target.clone(), size)
            .await;
        let known = known.unwrap();
        assert_eq!(known, stage.model().known(&id("1"), FOLLOWS, &target, size));
        assert_eq!((known.count, known.partial), (11, false));
    }
    stage.finish().await;
}

/// Beyond a thousand followed the answer is about the newest thousand and says so.
pub async fn known_looks_at_the_newest_thousand(mut stage: Stage) {
    let limit = MAX_KNOWN_FOLLOWED as u64;
    let target = target_key(LIKES, "POST:1");
    // By itself, since within one write no order across targets is promised.
    stage.set(&follow(1, 2)).await;
    stage
        .apply_all((3..limit + 2).map(|n| set(follow(1, n))).collect())
        .await;
    let likers = (2..limit + 100).step_by(50);
    let likes = likers.map(|n| set(edge(LIKES, &n.to_string(), "POST:1")));
    stage.apply_all(likes.collect()).await;
    let known = |stage: &Stage| {
        let (engine, target) = (stage.engine(), target.clone());
        async move { engine.known(id("1"), FOLLOWS, target, 100).await.unwrap() }
    };
    let at_the_limit = known(&stage).await;
    assert_eq!((at_the_limit.count, at_the_limit.partial), (20, false));
    stage.set(&follow(1, limit + 2)).await;
    let beyond = known(&stage).await;
    assert_eq!(beyond, stage.model().known(&id("1"), FOLLOWS, &target, 100));
    assert_eq!(
        (beyond.count, beyond.partial),
        (20, true),
        "2 is the oldest, {}",
        limit + 2
    );
    stage.finish().await;
}

/// One who follows thousands, among others who follow few, in every question between two users.
pub async fn a_heavy_user_among_others(mut stage: Stage) {
    stage
        .apply_all((10..1_600).map(|n| set(follow(1, n))).collect())
        .await;
    stage
        .apply_all((10..1_600).step_by(9).map(|n| set(follow(n, 1))).collect())
        .await;
    stage
        .apply_all((10..1_600).step_by(70).map(|n| set(follow(2, n))).collect())
        .await;
    stage.set(&follow(2, 1)).await;
    stage.set(&follow(1, 2)).await;
    stage
        .apply_all(
            (10..1_600)
                .step_by(2)
                .map(|n| unset(follow(1, n)))
                .collect(),
        )
        .await;
    for (user, other) in [("1", "2"), ("2", "1")] {
        let key = user_key(FOLLOWS, user);
        let expected = stage
            .model()
            .common(&key, &id(other), &Start::top(), usize::MAX);
        let walked = compare::walk_common(stage.engine().as_ref(), &key, &id(other), 10).await;
        assert_eq!(walked, expected.entries);
    }
    stage.finish().await;
}

/// Numbers go on after a stop and a crash.
pub async fn numbers_outlive_reopening(mut stage: Stage) {
    for (round, ending) in [Ending::Crash, Ending::Clean, Ending::Crash]
        .into_iter()
        .enumerate()
    {
        for n in 0..60 {
            let (user, other) = ((n + round as u64) % 6, n * 5 % 7);
            if user != other {
                stage.toggle(&follow(user, other)).await;
            }
        }
        stage.reopen(ending).await;
    }
    stage.finish().await;
}
