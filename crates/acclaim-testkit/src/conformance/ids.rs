//! Ids at the edges of their grammar, as users and as targets.

use acclaim_core::{EdgeKey, KindId};

use super::words::*;
use super::{Ending, Stage};

/// Every user does it to every target, of two types, and to every other; a part is undone.
async fn everyone_to_everything(stage: &mut Stage, ids: &[&str]) {
    let all = |kind: KindId, of_type: &'static str| {
        ids.iter().flat_map(move |user| {
            let edges = ids
                .iter()
                .map(move |other| edge(kind, user, &format!("{of_type}:{other}")));
            edges.collect::<Vec<EdgeKey>>()
        })
    };
    let oneself = |edge: &EdgeKey| edge.target.is_user(&edge.user);
    let follows = all(FOLLOWS, "USER").filter(|edge| !oneself(edge));
    let edges: Vec<_> = all(LIKES, "POST")
        .chain(all(LIKES, "A"))
        .chain(follows)
        .collect();
    stage
        .apply_all(edges.iter().cloned().map(set).collect())
        .await;
    let undone = edges.iter().step_by(3).cloned();
    stage.apply_all(undone.map(toggle).collect()).await;
    stage.compare().await;
    stage.reopen(Ending::Crash).await;
}

/// `1` is a number, `01` and `1.` are texts, and all are others.
pub async fn numbers_and_texts_are_apart(mut stage: Stage) {
    let ids = ["1", "01", "001", "1.", "-1", "0", "00", "1e0"];
    everyone_to_everything(&mut stage, &ids).await;
    stage.finish().await;
}

/// 64 bytes, and others that begin alike.
pub async fn the_longest_ids(mut stage: Stage) {
    let long = "x".repeat(64);
    let last = format!("{}y", "x".repeat(63));
    let digits = "9".repeat(64);
    let ids = [
        &long,
        &long[..63],
        &long[..1],
        &last,
        &digits,
        &digits[..21],
    ];
    everyone_to_everything(&mut stage, &ids).await;
    stage.finish().await;
}

/// Numbers on both sides of every power that a packed key might use.
pub async fn the_largest_numbers(mut stage: Stage) {
    let numbers = [0, 127, 128, 255, 256, 65_535, 65_536, u64::from(u32::MAX)];
    let large = [
        1 << 32,
        (1 << 53) - 1,
        1 << 53,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ];
    let mut texts: Vec<_> = numbers
        .into_iter()
        .chain(large)
        .map(|n: u64| n.to_string())
        .collect();
    texts.push("18446744073709551616".to_owned());
    let ids: Vec<&str> = texts.iter().map(String::as_str).collect();
    everyone_to_everything(&mut stage, &ids).await;
    stage.finish().await;
}

/// Texts that a key made by joining would confuse.
pub async fn ids_that_look_like_separators(mut stage: Stage) {
    let ids = [
        ":", "::", "a:b", "a", "b", "a:", ":b", "USER:1", "POST:1", "-", ".", "_", "a-b",
    ];
    everyone_to_everything(&mut stage, &ids).await;
    stage.finish().await;
}

/// Texts of every length below a machine word and around it.
pub async fn every_order_of_ids(mut stage: Stage) {
    let ids = [
        "a",
        "B",
        "aa",
        "aB",
        "zzzzzzz",
        "zzzzzzzz",
        "zzzzzzzzz",
        "12345678a",
        "A0",
        "0a",
    ];
    everyone_to_everything(&mut stage, &ids).await;
    stage.finish().await;
}

/// More types than fit a byte, from one letter to the longest name.
pub async fn many_target_types(mut stage: Stage) {
    let long = "T".repeat(32);
    let names = (0..300)
        .map(|n| format!("TYPE_{n}"))
        .chain([long, "T".to_owned()]);
    let ops = names.map(|name| set(edge(LIKES, "1", &format!("{name}:1"))));
    stage.apply(ops.collect()).await;
    stage.reopen(Ending::Clean).await;
    stage.set(&edge(LIKES, "2", "TYPE_299:1")).await;
    stage.set(&edge(LIKES, "2", "YET_ANOTHER:1")).await;
    stage.finish().await;
}
