//! The lists of both directions: order, ties, offsets, the type filter.

use acclaim_core::limits::{MAX_OFFSET_ENTRIES, MAX_PAGE_ENTRIES};
use acclaim_core::{Rev, Start};

use super::words::*;
use super::{Stage, compare};

/// Newest first, for a target and for a user.
pub async fn newest_first_both_ways(mut stage: Stage) {
    for n in 0..30 {
        stage.set(&edge(LIKES, &n.to_string(), "POST:1")).await;
        stage.set(&edge(LIKES, "1", &format!("POST:{n}"))).await;
    }
    let key = target_key(LIKES, "POST:1");
    let users = stage.engine().users(key, Start::top(), 100).await.unwrap();
    assert_eq!(users.total, 30);
    let entries = users.page.entries;
    assert!(entries.windows(2).all(|pair| pair[0].at > pair[1].at));
    assert_eq!(entries[0].key, id("29"));
    stage.finish().await;
}

/// What has no edges has an empty list.
pub async fn empty_lists(mut stage: Stage) {
    stage.set(&edge(LIKES, "1", "POST:1")).await;
    stage.unset(&edge(LIKES, "1", "POST:1")).await;
    for post in ["POST:1", "POST:2", "OTHER:1"] {
        compare::who(
            stage.engine().as_ref(),
            stage.model(),
            &target_key(LIKES, post),
            10,
        )
        .await;
    }
    for user in ["1", "2", "x"] {
        for of_type in [None, Some(target_type("POST")), Some(target_type("NONE"))] {
            let key = user_key(LIKES, user);
            let engine = stage.engine();
            compare::what(engine.as_ref(), stage.model(), &key, of_type.as_ref(), 10).await;
        }
    }
    stage.finish().await;
}

/// An edge that went and came back stands at the top, once.
pub async fn a_set_again_moves_to_the_top(mut stage: Stage) {
    for user in 0..5 {
        stage.set(&edge(LIKES, &user.to_string(), "POST:1")).await;
    }
    stage.toggle(&edge(LIKES, "2", "POST:1")).await;
    stage.toggle(&edge(LIKES, "2", "POST:1")).await;
    let key = target_key(LIKES, "POST:1");
    let users = stage.engine().users(key, Start::top(), 10).await.unwrap();
    let order: Vec<_> = users
        .page
        .entries
        .iter()
        .map(|e| e.key.to_string())
        .collect();
    assert_eq!(order, ["2", "4", "3", "1", "0"]);
    stage.finish().await;
}

const TIED: [&str; 17] = [
    "7",
    "a",
    "10",
    "ab",
    "9",
    "18446744073709551615",
    "A",
    "a-b",
    "01",
    "255",
    "256",
    "65536",
    "a.b",
    "aa",
    "-",
    "0",
    "Z",
];

/// Imported edges of one time stand by id: numbers by value, then texts by bytes.
pub async fn ties_are_ordered_by_key(mut stage: Stage) {
    let at = before_start(HOUR);
    let users = TIED.map(|user| import(edge(LIKES, user, "POST:1"), at));
    let posts = TIED.map(|post| import(edge(LIKES, "1", &format!("POST:{post}")), at));
    stage.apply(users.to_vec()).await;
    stage.apply(posts.to_vec()).await;
    stage.set(&edge(LIKES, "newest", "POST:1")).await;
    for size in 1..=TIED.len() + 3 {
        let engine = stage.engine();
        compare::who(
            engine.as_ref(),
            stage.model(),
            &target_key(LIKES, "POST:1"),
            size,
        )
        .await;
        compare::what(
            engine.as_ref(),
            stage.model(),
            &user_key(LIKES, "1"),
            None,
            size,
        )
        .await;
    }
    stage.finish().await;
}

/// Among targets of one time the types stand by name, in whatever order the store met them.
pub async fn ties_across_types(mut stage: Stage) {
    let at = before_start(HOUR);
    let types = [
        "ZEBRA", "APPLE", "POST_2", "POST", "A", "MELON", "AP", "0", "POST_1",
    ];
    for of_type in types {
        let ops = ["9", "10", "b"].map(|n| import(edge(LIKES, "1", &format!("{of_type}:{n}")), at));
        stage.apply(ops.to_vec()).await;
    }
    for size in [1, 2, 5, 26, 27, 28] {
        let engine = stage.engine();
        let key = user_key(LIKES, "1");
        compare::what(engine.as_ref(), stage.model(), &key, None, size).await;
        let melons = target_type("MELON");
        compare::what(engine.as_ref(), stage.model(), &key, Some(&melons), size).await;
    }
    stage.finish().await;
}

/// Offsets up to the limit, and beyond the end.
pub async fn offsets(mut stage: Stage) {
    let ops = (0..1_150).map(|n| set(edge(LIKES, &n.to_string(), "POST:1")));
    stage.apply_all(ops.collect()).await;
    let ops = (0..130).map(|n| set(edge(LIKES, "1", &format!("POST:{n}"))));
    stage.apply_all(ops.collect()).await;
    let key = target_key(LIKES, "POST:1");
    let user = user_key(LIKES, "1");
    for offset in [
        0,
        1,
        99,
        100,
        101,
        129,
        130,
        131,
        500,
        MAX_OFFSET_ENTRIES - 1,
    ] {
        for size in [1, 20, MAX_PAGE_ENTRIES] {
            let engine = stage.engine();
            let users = engine.users(key.clone(), Start::Offset(offset), size).await;
            let expected = stage.model().users(&key, &Start::Offset(offset), size);
            assert_eq!(users.unwrap(), expected, "users at {offset}, {size}");
            let at = Start::Offset(offset);
            let targets = engine.targets(user.clone(), None, at.clone(), size).await;
            let expected = stage.model().targets(&user, None, &at, size);
            assert_eq!(targets.unwrap(), expected, "targets at {offset}, {size}");
        }
    }
    stage.finish().await;
}

/// A list of one type has that type's entries and that type's total.
pub async fn the_type_filter(mut stage: Stage) {
    for n in 0..60 {
        let of_type = ["POST", "COMMENT", "TRACK"][n % 3];
        stage
            .toggle(&edge(LIKES, "1", &format!("{of_type}:{}", n % 20)))
            .await;
    }
    stage.set(&edge(LIKES, "2", "POST:1")).await;
    for of_type in ["POST", "COMMENT", "TRACK", "NONE"] {
        let of_type = target_type(of_type);
        for user in ["1", "2"] {
            let engine = stage.engine();
            let key = user_key(LIKES, user);
            compare::what(engine.as_ref(), stage.model(), &key, Some(&of_type), 7).await;
            for offset in [1, 5, 30] {
                let at = Start::Offset(offset);
                let some = Some(of_type.clone());
                let listing = engine.targets(key.clone(), some, at.clone(), 7).await;
                let expected = stage.model().targets(&key, Some(&of_type), &at, 7);
                assert_eq!(listing.unwrap(), expected);
            }
        }
    }
    stage.finish().await;
}

/// An import stands where its time puts it, between and below what was set before.
pub async fn an_old_import_takes_its_place(mut stage: Stage) {
    let mut times: Vec<Rev> = Vec::new();
    for n in 0..40 {
        stage.advance(HOUR);
        times.push(Rev(stage.now().0 + 1_000));
        stage.set(&edge(LIKES, &n.to_string(), "POST:1")).await;
    }
    let between = (0..39).map(|n: usize| {
        let at = Rev((times[n].0 + times[n + 1].0) / 2);
        import(edge(LIKES, &format!("old{n}"), "POST:1"), at)
    });
    stage.apply(between.collect()).await;
    let below = import(edge(LIKES, "oldest", "POST:1"), Rev(1));
    stage.apply(vec![below]).await;
    let key = target_key(LIKES, "POST:1");
    compare::who(stage.engine().as_ref(), stage.model(), &key, 6).await;
    stage.finish().await;
}
