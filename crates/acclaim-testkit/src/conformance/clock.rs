//! Clocks that stand still, jump and go back: revs go on increasing.
//!
//! Rankings and daily numbers follow the clock and are compared again once it has caught up.

use acclaim_core::Rev;

use super::words::*;
use super::{Ending, Stage};

async fn toggles(stage: &mut Stage, from: u64) {
    for n in from..from + 25 {
        stage
            .toggle(&edge(
                LIKES,
                &(n % 4).to_string(),
                &format!("POST:{}", n % 3),
            ))
            .await;
    }
}

/// Revs are the successors of the last one until the clock has caught up.
pub async fn set_back(mut stage: Stage) {
    toggles(&mut stage, 0).await;
    let end = stage.journal_end().await;
    stage.set_clock(before_start(DAY));
    let next = stage.set(&edge(LIKES, "new", "POST:1")).await;
    assert_eq!(next.rev, Rev(end.seq.0 + 1));
    toggles(&mut stage, 7).await;
    stage.set_clock(Rev(START.0 + HOUR));
    toggles(&mut stage, 11).await;
    stage.finish().await;
}

/// On a clock that stands still every transition has a rev of its own.
pub async fn standing_still(mut stage: Stage) {
    for n in 0..100u64 {
        let like = edge(LIKES, &(n % 9).to_string(), &format!("POST:{}", n % 4));
        stage.apply_now(vec![toggle(like)]).await;
    }
    stage.finish().await;
}

/// A store opened under an earlier clock goes on after its own last rev.
pub async fn set_back_over_reopening(mut stage: Stage) {
    for ending in [Ending::Clean, Ending::Crash] {
        toggles(&mut stage, 0).await;
        let now = stage.now();
        stage.reopen(ending).await;
        stage.set_clock(Rev(now.0 - DAY));
        toggles(&mut stage, 5).await;
        stage.set_clock(Rev(now.0 + MINUTE));
    }
    stage.finish().await;
}

/// A clock that was years ahead for a moment.
pub async fn set_far_ahead(mut stage: Stage) {
    toggles(&mut stage, 0).await;
    let now = stage.now();
    stage.advance(4_000 * DAY);
    let ahead = stage.set(&edge(LIKES, "new", "POST:1")).await;
    stage.set_clock(now);
    let next = stage.set(&edge(LIKES, "newer", "POST:1")).await;
    assert_eq!(next.rev, Rev(ahead.rev.0 + 1));
    stage.set_clock(Rev(next.rev.0 + MINUTE));
    toggles(&mut stage, 3).await;
    stage.finish().await;
}
