//! Walking long lists, also while they change: an edge that stays is seen once.

use std::collections::BTreeMap;

use acclaim_core::page::{Entry, Position};
use acclaim_core::{Id, Rev, Start, Target};

use super::words::*;
use super::{Ending, Stage, compare};

/// Every size of a page gives the same list.
pub async fn every_page_size(mut stage: Stage) {
    let ops = (0..101).map(|n| set(edge(LIKES, &n.to_string(), "POST:1")));
    stage.apply(ops.collect()).await;
    let key = target_key(LIKES, "POST:1");
    for size in 1..=100 {
        compare::who(stage.engine().as_ref(), stage.model(), &key, size).await;
    }
    stage.finish().await;
}

/// A position need not be an entry: the entry may have gone, or never been.
pub async fn a_position_that_is_gone(mut stage: Stage) {
    for n in 0..10 {
        stage.set(&edge(LIKES, &n.to_string(), "POST:1")).await;
    }
    let key = target_key(LIKES, "POST:1");
    let first = stage.engine().users(key.clone(), Start::top(), 4).await;
    let next = first.unwrap().page.next.unwrap();
    stage
        .unset(&edge(LIKES, &next.key.to_string(), "POST:1"))
        .await;
    let made_up = |rev: u64, key: &str| Position {
        rev: Rev(rev),
        key: id(key),
    };
    let positions = [
        next.clone(),
        made_up(next.rev.0 + 1, "zz"),
        made_up(next.rev.0, "0"),
        made_up(0, "0"),
        made_up(Rev::MAX.0, "18446744073709551615"),
    ];
    for position in positions {
        let start = Start::After(position);
        let listing = stage.engine().users(key.clone(), start.clone(), 5).await;
        assert_eq!(
            listing.unwrap(),
            stage.model().users(&key, &start, 5),
            "{start:?}"
        );
    }
    stage.finish().await;
}

/// Checks a walk during which things changed: in order, nothing twice, and all that stayed seen.
fn assert_whole<K: Ord + Clone + std::fmt::Debug>(
    seen: &[Entry<K>],
    before: &[Entry<K>],
    after: &[Entry<K>],
) {
    let newest_first = |pair: &[Entry<K>]| pair[0].position().is_before(pair[1].at, &pair[1].key);
    assert!(seen.windows(2).all(newest_first), "in order, none twice");
    let at: BTreeMap<&K, Rev> = seen.iter().map(|entry| (&entry.key, entry.at)).collect();
    for entry in before.iter().filter(|entry| after.contains(entry)) {
        assert_eq!(at.get(&entry.key), Some(&entry.at), "{entry:?} stayed");
    }
}

/// Users come, go and come back between the pages.
pub async fn changes_while_paging_users(mut stage: Stage) {
    let like = |n: u64| edge(LIKES, &n.to_string(), "POST:1");
    stage.apply((0..300).map(|n| set(like(n))).collect()).await;
    let key = target_key(LIKES, "POST:1");
    let whole = |stage: &Stage| {
        stage
            .model()
            .users(&key, &Start::top(), usize::MAX)
            .page
            .entries
    };
    let before = whole(&stage);
    let (mut seen, mut start, mut turn): (Vec<Entry<Id>>, _, u64) = (Vec::new(), Start::top(), 0);
    loop {
        let page = stage
            .engine()
            .users(key.clone(), start, 13)
            .await
            .unwrap()
            .page;
        seen.extend(page.entries);
        let Some(next) = page.next else { break };
        start = Start::After(next);
        turn += 1;
        stage.unset(&like(turn * 11 % 300)).await;
        stage.set(&like(1_000 + turn)).await;
        stage.toggle(&like(turn * 7 % 300)).await;
        stage.toggle(&like(turn * 7 % 300)).await;
    }
    assert_whole(&seen, &before, &whole(&stage));
    stage.finish().await;
}

/// The same for what a user did.
pub async fn changes_while_paging_targets(mut stage: Stage) {
    let like = |n: u64| {
        edge(
            LIKES,
            "1",
            &format!("{}:{n}", ["POST", "TRACK"][n as usize % 2]),
        )
    };
    stage.apply((0..900).map(|n| set(like(n))).collect()).await;
    let key = user_key(LIKES, "1");
    for of_type in [None, Some(target_type("TRACK"))] {
        let whole = |stage: &Stage| {
            let all = stage
                .model()
                .targets(&key, of_type.as_ref(), &Start::top(), usize::MAX);
            all.page.entries
        };
        let before = whole(&stage);
        let (mut seen, mut start): (Vec<Entry<Target>>, _) = (Vec::new(), Start::top());
        let mut turn = 0;
        loop {
            let page = stage
                .engine()
                .targets(key.clone(), of_type.clone(), start, 17)
                .await;
            let page = page.unwrap().page;
            seen.extend(page.entries);
            let Some(next) = page.next else { break };
            start = Start::After(next);
            turn += 1;
            stage.unset(&like(turn * 11 % 900)).await;
            stage.toggle(&like(2_000 + turn)).await;
            stage.toggle(&like(turn * 7 % 900)).await;
            stage.toggle(&like(turn * 7 % 900)).await;
        }
        assert_whole(&seen, &before, &whole(&stage));
    }
    stage.finish().await;
}

/// Imports land in what was already walked and in what is still to come.
pub async fn imports_while_paging(mut stage: Stage) {
    let like = |name: &str, n: u64, at: u64| {
        import(
            edge(LIKES, &format!("{name}{n}"), "POST:1"),
            before_start(at),
        )
    };
    stage
        .apply((1..200).map(|n| like("a", n, n * HOUR)).collect())
        .await;
    let key = target_key(LIKES, "POST:1");
    let whole = |stage: &Stage| {
        stage
            .model()
            .users(&key, &Start::top(), usize::MAX)
            .page
            .entries
    };
    let before = whole(&stage);
    let (mut seen, mut start, mut turn): (Vec<Entry<Id>>, _, u64) = (Vec::new(), Start::top(), 0);
    loop {
        let page = stage
            .engine()
            .users(key.clone(), start, 9)
            .await
            .unwrap()
            .page;
        seen.extend(page.entries);
        let Some(next) = page.next else { break };
        start = Start::After(next);
        turn += 1;
        // Of the very time of an entry, before it and after it.
        stage.apply(vec![like("A", turn, turn * 8 * HOUR)]).await;
        stage
            .apply(vec![like("b", turn, turn * 11 * HOUR % (190 * HOUR) + 1)])
            .await;
    }
    assert_whole(&seen, &before, &whole(&stage));
    stage.finish().await;
}

async fn long_user_list(stage: &mut Stage, edges: u64) {
    let like = |n: u64| {
        edge(
            LIKES,
            "1",
            &format!("{}:{n}", ["POST", "TRACK"][n as usize % 2]),
        )
    };
    stage
        .apply_all((0..edges).map(|n| set(like(n))).collect())
        .await;
    let removed = (0..edges).step_by(5).map(|n| unset(like(n)));
    stage.apply_all(removed.collect()).await;
    let old = (0..40).map(|n| {
        let post = edge(LIKES, "1", &format!("POST:old{n}"));
        import(post, before_start(n % 7 * DAY + 1))
    });
    stage.apply_all(old.collect()).await;
    let key = user_key(LIKES, "1");
    for size in [37, 100] {
        compare::what(stage.engine().as_ref(), stage.model(), &key, None, size).await;
    }
    for of_type in ["POST", "TRACK", "NONE"] {
        let of_type = target_type(of_type);
        let engine = stage.engine();
        compare::what(engine.as_ref(), stage.model(), &key, Some(&of_type), 100).await;
    }
}

/// More edges than a small user has.
pub async fn a_user_with_700_edges(mut stage: Stage) {
    long_user_list(&mut stage, 700).await;
    stage.finish().await;
}

/// Many more.
pub async fn a_user_with_5200_edges(mut stage: Stage) {
    long_user_list(&mut stage, 5_200).await;
    stage.finish().await;
}

/// A target that many users did it to.
pub async fn a_target_with_5200_edges(mut stage: Stage) {
    let like = |n: u64| edge(LIKES, &n.to_string(), "POST:1");
    stage
        .apply_all((0..5_200).map(|n| set(like(n * 3))).collect())
        .await;
    let removed = (0..5_200).step_by(4).map(|n| unset(like(n * 3)));
    stage.apply_all(removed.collect()).await;
    let key = target_key(LIKES, "POST:1");
    compare::who(stage.engine().as_ref(), stage.model(), &key, 100).await;
    stage.finish().await;
}

/// A user's list that shrinks to nothing and grows again.
pub async fn removed_and_added_again(mut stage: Stage) {
    let like = |n: u64| edge(LIKES, "1", &format!("POST:{n}"));
    for (from, to) in [(0, 800), (400, 1_200), (0, 650)] {
        stage
            .apply_all((from..to).map(|n| toggle(like(n))).collect())
            .await;
        let key = user_key(LIKES, "1");
        compare::what(stage.engine().as_ref(), stage.model(), &key, None, 100).await;
    }
    stage
        .apply_all((0..1_200).map(|n| unset(like(n))).collect())
        .await;
    stage.compare().await;
    stage
        .apply_all((0..700).map(|n| set(like(n))).collect())
        .await;
    stage.finish().await;
}

/// One rare type in a long list is found to its last entry.
pub async fn long_lists_with_a_type_filter(mut stage: Stage) {
    let ops = (0..2_500).map(|n| {
        let of_type = if n % 400 == 3 { "TRACK" } else { "POST" };
        set(edge(LIKES, "1", &format!("{of_type}:{n}")))
    });
    stage.apply_all(ops.collect()).await;
    let key = user_key(LIKES, "1");
    let tracks = target_type("TRACK");
    for size in [1, 3, 100] {
        compare::what(
            stage.engine().as_ref(),
            stage.model(),
            &key,
            Some(&tracks),
            size,
        )
        .await;
    }
    stage.finish().await;
}

/// Long lists are the same after a crash and a stop, and take more.
pub async fn long_lists_outlive_reopening(mut stage: Stage) {
    for (round, ending) in [Ending::Crash, Ending::Clean].into_iter().enumerate() {
        let from = round as u64 * 600;
        let mine = (from..from + 800).map(|n| toggle(edge(LIKES, "1", &format!("POST:{n}"))));
        stage.apply_all(mine.collect()).await;
        let theirs = (from..from + 800).map(|n| toggle(edge(LIKES, &n.to_string(), "POST:1")));
        stage.apply_all(theirs.collect()).await;
        stage.reopen(ending).await;
    }
    stage.finish().await;
}
