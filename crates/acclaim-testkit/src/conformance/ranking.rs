//! Rankings: the net transitions of sliding windows.

use acclaim_core::Rev;
use acclaim_core::limits::MAX_RANKING_ENTRIES;
use acclaim_core::port::Ranked;
use acclaim_core::pulse::Window;

use super::words::*;
use super::{Ending, Stage};

fn like(user: u64, post: u64) -> acclaim_core::EdgeKey {
    edge(LIKES, &user.to_string(), &format!("POST:{post}"))
}

async fn ranked(stage: &Stage, window: Window, size: usize) -> Vec<Ranked> {
    let of = target_type("POST");
    stage.ranking(LIKES, of, window, size).await
}

async fn scores(stage: &Stage, window: Window) -> Vec<(String, i64)> {
    let ranked = ranked(stage, window, 100).await;
    ranked
        .into_iter()
        .map(|line| (line.id.to_string(), line.score))
        .collect()
}

/// Sets less unsets, with the count beside it.
pub async fn the_score_is_the_net(mut stage: Stage) {
    for user in 0..10 {
        stage.set(&like(user, 1)).await;
        stage.set(&like(user, 2)).await;
    }
    for user in 0..4 {
        stage.unset(&like(user, 1)).await;
    }
    for window in Window::EVERY {
        let expected = [("2".to_owned(), 10), ("1".to_owned(), 6)];
        assert_eq!(scores(&stage, window).await, expected, "{window:?}");
    }
    stage.finish().await;
}

/// Equal scores stand by id: numbers by value, then texts.
pub async fn equal_scores_by_id(mut stage: Stage) {
    let posts = [
        "b",
        "10",
        "9",
        "a",
        "01",
        "255",
        "256",
        "18446744073709551615",
        "A",
    ];
    for post in posts {
        stage.set(&edge(LIKES, "1", &format!("POST:{post}"))).await;
    }
    stage.finish().await;
}

/// Score by score, what is older leaves each window when its time has come.
pub async fn windows_move_on(mut stage: Stage) {
    for post in 0..6 {
        for user in 0..=post {
            stage.set(&like(user, post)).await;
            stage.advance(7 * MINUTE);
        }
    }
    // Nothing is written from here on; steps that meet every border of a window.
    for step in [MINUTE; 70] {
        stage.advance(step);
        stage.compare_rankings().await;
    }
    for step in [HOUR; 30]
        .into_iter()
        .chain([11 * HOUR; 20])
        .chain([DAY; 26])
    {
        stage.advance(step);
        stage.compare_rankings().await;
    }
    assert!(scores(&stage, Window::Month).await.is_empty());
    assert_eq!(scores(&stage, Window::All).await.len(), 6);
    stage.finish().await;
}

/// A target that lost more than it won comes up when the losses leave the window.
pub async fn unsets_leave_the_window(mut stage: Stage) {
    for user in 0..6 {
        stage.set(&like(user, 1)).await;
    }
    stage.advance(70 * MINUTE);
    for user in 0..4 {
        stage.unset(&like(user, 1)).await;
    }
    stage.advance(30 * MINUTE);
    stage.set(&like(8, 1)).await;
    assert!(scores(&stage, Window::Hour).await.is_empty());
    for _ in 0..75 {
        stage.advance(MINUTE);
        stage.compare_rankings().await;
        if stage.now().0 % (5 * MINUTE) < MINUTE {
            // Others go on, so that what is kept about the best is kept up too.
            stage.toggle(&like(stage.now().0 % 7, 2)).await;
        }
    }
    for step in [5 * HOUR; 12] {
        stage.advance(step);
        stage.compare_rankings().await;
    }
    stage.finish().await;
}

/// What has no positive score is in no ranking.
pub async fn nothing_below_one(mut stage: Stage) {
    stage.set(&like(1, 1)).await;
    stage.advance(2 * DAY);
    stage.unset(&like(1, 1)).await;
    stage.set(&like(1, 2)).await;
    stage.unset(&like(1, 2)).await;
    for window in Window::EVERY {
        assert!(scores(&stage, window).await.is_empty(), "{window:?}");
    }
    stage.finish().await;
}

/// An imported edge counts in the windows that its time lies in, and in those alone.
pub async fn imports_count_where_they_were(mut stage: Stage) {
    let ages = [
        1,
        20 * MINUTE,
        59 * MINUTE,
        HOUR,
        5 * HOUR,
        23 * HOUR,
        DAY,
        3 * DAY,
        7 * DAY,
    ];
    let ages = ages
        .into_iter()
        .chain([20 * DAY, 29 * DAY, 30 * DAY, 31 * DAY, 400 * DAY]);
    let ages: Vec<u64> = ages.collect();
    // Newest and oldest by turns.
    let ops = (0..ages.len() * 3).map(|n| {
        let n = if n % 2 == 0 {
            n / 2
        } else {
            ages.len() * 3 - 1 - n / 2
        };
        let age = ages[n % ages.len()];
        import(like(n as u64, n as u64 % 5), before_start(age))
    });
    stage.apply(ops.collect()).await;
    for step in [0, 30 * MINUTE, 2 * HOUR, DAY, 6 * DAY, 20 * DAY] {
        stage.advance(step);
        stage.compare_rankings().await;
    }
    stage.finish().await;
}

/// Each kind and type has rankings of its own.
pub async fn kinds_and_types_apart(mut stage: Stage) {
    for n in 0..40u64 {
        let kind = [LIKES, CLAPS, DISLIKES][n as usize % 3];
        let of_type = ["POST", "TRACK"][n as usize / 3 % 2];
        stage
            .set(&edge(
                kind,
                &(n % 11).to_string(),
                &format!("{of_type}:{}", n % 5),
            ))
            .await;
    }
    let none = target_type("NONE");
    let none = stage.ranking(LIKES, none, Window::All, 10).await;
    assert!(none.is_empty());
    stage.finish().await;
}

/// More targets than anything may keep as "the best", in every order of arrival.
pub async fn over_a_thousand_targets(mut stage: Stage) {
    // Scores from 1 to 4, spread so that the best come early, late and between.
    let ops = (0..1_300u64).flat_map(|n| {
        let score = if n % 57 == 3 { 4 } else { 1 + n * 7 % 3 };
        (0..score).map(move |user| set(like(user, n * 11 % 1_300)))
    });
    stage.apply_all(ops.collect()).await;
    assert_eq!(
        ranked(&stage, Window::Day, MAX_RANKING_ENTRIES).await.len(),
        100
    );
    stage.advance(40 * MINUTE);
    stage
        .apply_all((0..1_300).step_by(3).map(|n| set(like(9, n))).collect())
        .await;
    stage.compare_rankings().await;
    stage.advance(30 * MINUTE);
    stage.compare_rankings().await;
    stage.finish().await;
}

/// Places change as scores do, up and down.
pub async fn overtaking(mut stage: Stage) {
    for turn in 0..400u64 {
        stage.toggle(&like(turn * 13 % 17, turn * turn % 9)).await;
        if turn % 40 == 0 {
            stage.advance(23 * MINUTE);
            stage.compare_rankings().await;
        }
    }
    stage.finish().await;
}

/// Rankings are the same after a stop and a crash, and move on.
pub async fn ranking_outlives_reopening(mut stage: Stage) {
    for (round, ending) in [Ending::Crash, Ending::Clean, Ending::Crash]
        .into_iter()
        .enumerate()
    {
        let ops = (0..150).map(|n| toggle(like(n % 31, n * (round as u64 + 3) % 13)));
        stage.apply(ops.collect()).await;
        stage.reopen(ending).await;
        stage.advance([50 * MINUTE, 20 * HOUR, 6 * DAY][round]);
        stage.compare_rankings().await;
    }
    stage.set_clock(Rev(stage.now().0 + 25 * DAY));
    stage.finish().await;
}

/// When all the best fall at once, those below them are there.
pub async fn the_top_of_a_long_ranking_falls(mut stage: Stage) {
    let best = (0..1_100).flat_map(|post| (0..2).map(move |user| set(like(user, post))));
    stage.apply_all(best.collect()).await;
    let below = (5_000..5_200).map(|post| set(like(1, post)));
    stage.apply_all(below.collect()).await;
    let fall = (0..1_100).flat_map(|post| (0..2).map(move |user| unset(like(user, post))));
    stage.apply_all(fall.collect()).await;
    assert_eq!(ranked(&stage, Window::Hour, 100).await.len(), 100);
    stage.finish().await;
}
