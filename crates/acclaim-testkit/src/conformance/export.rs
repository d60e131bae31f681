//! Export of every active edge.

use std::collections::BTreeSet;

use super::Stage;
use super::words::*;

async fn some_edges(stage: &mut Stage) {
    let ops = (0..700u64).map(|n| {
        let of_type = ["POST", "TRACK"][n as usize % 2];
        let user = if n % 3 == 0 {
            format!("u{}", n % 60)
        } else {
            (n % 60).to_string()
        };
        toggle(edge(LIKES, &user, &format!("{of_type}:{}", n % 50)))
    });
    stage.apply(ops.collect()).await;
    let old = import(edge(LIKES, "1", "POST:old"), before_start(9 * DAY));
    stage
        .apply(vec![old, set(edge(CLAPS, "1", "POST:1"))])
        .await;
}

/// Pages of every size give each edge once, in one order.
pub async fn pages_are_whole(mut stage: Stage) {
    some_edges(&mut stage).await;
    let whole = stage.exported(LIKES, 10_000).await;
    for size in [1, 7, 100] {
        assert_eq!(stage.exported(LIKES, size).await, whole);
    }
    stage.finish().await;
}

/// Edges that are no more, and those of other kinds, are not in it.
pub async fn only_active_edges(mut stage: Stage) {
    some_edges(&mut stage).await;
    let claps = stage.exported(CLAPS, 10).await;
    assert_eq!(claps.len(), 1);
    stage.unset(&edge(CLAPS, "1", "POST:1")).await;
    let claps = stage.exported(CLAPS, 10).await;
    assert!(claps.is_empty());
    stage.finish().await;
}

/// What was exported and removed comes back by import with the same times.
pub async fn an_export_imports_again(mut stage: Stage) {
    let ops = (0..60u64).map(|n| {
        import(
            edge(LIKES, &(n % 8).to_string(), &format!("POST:{n}")),
            before_start(n * HOUR),
        )
    });
    stage.apply(ops.collect()).await;
    let exported = stage.exported(LIKES, 25).await;
    let again: Vec<_> = exported
        .iter()
        .map(|e| import(e.edge.clone(), e.at))
        .collect();
    let answers = stage.apply(again).await;
    assert!(answers.iter().all(|answer| !answer.changed));
    let moved = exported
        .into_iter()
        .map(|e| import(e.edge.under(CLAPS), e.at));
    stage.apply(moved.collect()).await;
    stage.finish().await;
}

/// Edges that stay are in an export that runs while others come and go.
pub async fn export_while_writing(mut stage: Stage) {
    some_edges(&mut stage).await;
    let before: BTreeSet<_> = stage
        .model()
        .export(LIKES)
        .into_iter()
        .map(|e| e.edge)
        .collect();
    stage.settle().await;
    let (mut seen, mut after, mut turn) = (Vec::new(), None, 0u64);
    loop {
        let part = stage.engine().export(LIKES, after, 40).await.unwrap();
        let Some(last) = part.last() else { break };
        after = Some(last.edge.clone());
        seen.extend(part.into_iter().map(|exported| exported.edge));
        turn += 1;
        stage
            .toggle(&edge(
                LIKES,
                &(turn * 7 % 60).to_string(),
                &format!("POST:{}", turn * 2),
            ))
            .await;
        stage
            .set(&edge(LIKES, &format!("new{turn}"), "POST:1"))
            .await;
    }
    let distinct: BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!(distinct.len(), seen.len(), "no edge twice");
    let now: BTreeSet<_> = stage
        .model()
        .export(LIKES)
        .into_iter()
        .map(|e| e.edge)
        .collect();
    let missing: Vec<_> = before
        .intersection(&now)
        .filter(|e| !distinct.contains(e))
        .collect();
    assert!(
        missing.is_empty(),
        "{missing:?} stayed and were not exported"
    );
    stage.finish().await;
}
