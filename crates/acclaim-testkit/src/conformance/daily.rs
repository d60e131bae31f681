//! The numbers of each day.

use acclaim_core::limits::MAX_REPORT_DAYS;
use acclaim_core::port::{Daily, JobSpec};

use super::words::*;
use super::{Ending, Stage};

/// Transitions and distinct users of today.
pub async fn sets_unsets_and_users(mut stage: Stage) {
    for (user, post) in [("1", "POST:1"), ("1", "POST:2"), ("2", "POST:1")] {
        stage.set(&edge(LIKES, user, post)).await;
    }
    stage.set(&edge(LIKES, "1", "POST:1")).await;
    stage.unset(&edge(LIKES, "1", "POST:1")).await;
    stage.unset(&edge(LIKES, "3", "POST:1")).await;
    let daily = stage.daily(LIKES, None, 1).await;
    let expected = Daily {
        day: START.day(),
        set: 3,
        unset: 1,
        users: 2,
    };
    assert_eq!(daily, [expected]);
    stage.finish().await;
}

/// A user who acts on two types counts once in the whole, and once in each.
pub async fn users_are_distinct_across_types(mut stage: Stage) {
    for n in 0..30 {
        let of_type = ["POST", "TRACK", "COMMENT"][n % 3];
        stage
            .set(&edge(
                LIKES,
                &(n % 4).to_string(),
                &format!("{of_type}:{n}"),
            ))
            .await;
    }
    let users = |daily: Vec<Daily>| daily[0].users;
    assert_eq!(users(stage.daily(LIKES, None, 1).await), 4);
    let none = stage.daily(LIKES, Some(target_type("NONE")), 3).await;
    assert!(
        none.iter()
            .all(|day| (day.set, day.unset, day.users) == (0, 0, 0))
    );
    stage.finish().await;
}

/// Days without anything are there, with zeros.
pub async fn days_without_anything(mut stage: Stage) {
    stage.set(&edge(LIKES, "1", "POST:1")).await;
    stage.advance(5 * DAY);
    let daily = stage.daily(LIKES, None, 10).await;
    let today = stage.now().day();
    let days: Vec<u32> = daily.iter().map(|day| day.day).collect();
    assert_eq!(days, (0..10).map(|back| today - back).collect::<Vec<_>>());
    assert_eq!(daily[5].set, 1);
    stage.finish().await;
}

/// Imports count on the day of their time, in whatever order they come.
pub async fn imports_count_on_their_day(mut stage: Stage) {
    let ops = (0..300u64).map(|n| {
        let of_type = ["POST", "TRACK"][n as usize % 2];
        let like = edge(LIKES, &(n % 7).to_string(), &format!("{of_type}:{}", n / 2));
        import(like, before_start(n * 29 % 300 * DAY / 5))
    });
    stage.apply(ops.collect()).await;
    stage.compare_dailies(MAX_REPORT_DAYS).await;
    // The same days again, by the same users and others.
    let ops = (0..100u64).map(|n| {
        let like = edge(LIKES, &(n % 9).to_string(), &format!("POST:x{n}"));
        import(like, before_start(n * 17 % 60 * DAY))
    });
    stage.apply(ops.collect()).await;
    stage.compare_dailies(MAX_REPORT_DAYS).await;
    stage.finish().await;
}

/// A user who comes every other day is counted on each of those days.
pub async fn every_other_day(mut stage: Stage) {
    for turn in 0..50u64 {
        for (user, every) in [("1", 1), ("2", 2), ("3", 3)] {
            if turn % every == 0 {
                stage
                    .toggle(&edge(LIKES, user, &format!("POST:{}", turn % 2)))
                    .await;
                stage.toggle(&edge(LIKES, user, "TRACK:1")).await;
            }
        }
        stage.advance(DAY);
    }
    stage.compare_dailies(60).await;
    stage.finish().await;
}

/// The longest report, with something on its first day and something before it.
pub async fn a_year_of_days(mut stage: Stage) {
    for day in [0, 1, 30, 200, 364, 365, 366, 400] {
        let like = edge(LIKES, "1", &format!("POST:{day}"));
        stage
            .apply(vec![import(like, before_start(day * DAY))])
            .await;
    }
    stage.compare_dailies(MAX_REPORT_DAYS).await;
    let daily = stage.daily(LIKES, None, MAX_REPORT_DAYS).await;
    assert_eq!(daily.last().map(|day| (day.set, day.users)), Some((1, 1)));
    stage.advance(100 * DAY);
    stage.set(&edge(LIKES, "1", "POST:new")).await;
    stage.compare_dailies(MAX_REPORT_DAYS).await;
    stage.finish().await;
}

/// A user who is erased is no longer among the users of any day, and one who comes back on the
/// same day is counted once.
pub async fn an_erased_user_is_counted_once(mut stage: Stage) {
    let users = async |stage: &Stage| {
        let daily = stage.daily(LIKES, None, 3).await;
        daily.iter().map(|day| day.users).collect::<Vec<_>>()
    };
    for _day in 0..2 {
        for (user, post) in [("1", "POST:1"), ("1", "TRACK:1"), ("2", "POST:1")] {
            stage.toggle(&edge(LIKES, user, post)).await;
        }
        stage.advance(DAY);
    }
    for (user, post) in [("1", "POST:1"), ("1", "TRACK:2"), ("2", "POST:2")] {
        stage.toggle(&edge(LIKES, user, post)).await;
    }
    assert_eq!(users(&stage).await, [2, 2, 2]);
    for ending in [Ending::Crash, Ending::Clean] {
        stage.run_job(JobSpec::EraseUser(id("1"))).await;
        assert_eq!(users(&stage).await, [1, 1, 1]);
        stage.reopen(ending).await;
        stage.set(&edge(LIKES, "1", "POST:1")).await;
        stage.set(&edge(LIKES, "1", "TRACK:1")).await;
        assert_eq!(users(&stage).await, [2, 1, 1]);
        stage.compare_dailies(10).await;
    }
    stage.run_job(JobSpec::EraseUser(id("nobody"))).await;
    stage.finish().await;
}

/// Numbers go on through a stop and a crash on the same day.
pub async fn daily_outlives_reopening(mut stage: Stage) {
    for ending in [Ending::Crash, Ending::Clean, Ending::Crash] {
        for n in 0..20 {
            stage
                .toggle(&edge(
                    LIKES,
                    &(n % 4).to_string(),
                    &format!("POST:{}", n % 7),
                ))
                .await;
        }
        stage.reopen(ending).await;
        for n in 0..20 {
            stage
                .toggle(&edge(
                    LIKES,
                    &(n % 5).to_string(),
                    &format!("TRACK:{}", n % 7),
                ))
                .await;
        }
        stage.advance(DAY / 2);
    }
    stage.finish().await;
}
