//! Recovery, erasure, jobs, the audit log and checks.

use acclaim_core::port::{JobSpec, JobState, Recovered};

use super::words::*;
use super::{Ending, Stage, compare};

async fn some_edges(stage: &mut Stage) {
    let ops = (0..400u64).flat_map(|n| {
        let (user, other) = (n * 7 % 23, n % 19);
        let follow = edge(FOLLOWS, &user.to_string(), &format!("USER:{}", other + 3));
        let like = edge(LIKES, &user.to_string(), &format!("POST:{other}"));
        let dislike = edge(DISLIKES, &other.to_string(), &format!("USER:{user}"));
        [like, dislike, follow].into_iter().map(toggle)
    });
    stage.apply_all(ops.collect()).await;
}

/// Recovery of a target that is as it should be changes nothing.
pub async fn recovering_a_sound_target(mut stage: Stage) {
    some_edges(&mut stage).await;
    for post in ["POST:1", "POST:99"] {
        let key = target_key(LIKES, post);
        let count = stage.model().count(&key).count;
        stage.settle().await;
        let recovered = stage.engine().recover(key).await.unwrap();
        let expected = Recovered {
            count_before: count,
            count_after: count,
            edges: count,
        };
        assert_eq!(recovered, expected);
    }
    stage.finish().await;
}

/// The same for all targets of a kind, as a job.
pub async fn recovering_a_kind(mut stage: Stage) {
    some_edges(&mut stage).await;
    let end = stage.journal_end().await;
    stage.run_job(JobSpec::Recover(LIKES)).await;
    stage.run_job(JobSpec::Recover(BOOKMARKS)).await;
    assert_eq!(stage.journal_end().await, end);
    stage.finish().await;
}

/// What an erased user made and received is gone, under every kind, with counts and lists.
pub async fn erasing_a_user(mut stage: Stage) {
    some_edges(&mut stage).await;
    stage.set(&edge(LIKES, "5", "POST:5")).await;
    stage.set(&edge(LIKES, "6", "USER:5")).await;
    let job = stage.run_job(JobSpec::EraseUser(id("5"))).await;
    assert!(job.done > 0 && job.done == job.total, "{job:?}");
    for kind in [LIKES, DISLIKES, FOLLOWS] {
        let numbers = stage.engine().numbers(user_key(kind, "5")).await.unwrap();
        assert_eq!((numbers.given, numbers.received, numbers.mutual), (0, 0, 0));
    }
    stage.finish().await;
}

/// What was done to an erased target is gone.
pub async fn erasing_a_target(mut stage: Stage) {
    some_edges(&mut stage).await;
    stage.set(&edge(CLAPS, "1", "POST:5")).await;
    stage.run_job(JobSpec::EraseTarget(target("POST:5"))).await;
    let counts = [LIKES, CLAPS, DISLIKES].map(|kind| target_key(kind, "POST:5"));
    let counts = stage.engine().counts(counts.to_vec()).await.unwrap();
    assert!(counts.iter().all(|count| count.count == 0));
    stage.finish().await;
}

/// Thousands of edges both ways, more than one step takes, with a crash close behind.
pub async fn erasing_a_heavy_user(mut stage: Stage) {
    let made = (0..2_600).map(|n| set(edge(LIKES, "1", &format!("POST:{n}"))));
    stage.apply_all(made.collect()).await;
    let received = (10..1_300).map(|n| set(edge(FOLLOWS, &n.to_string(), "USER:1")));
    stage.apply_all(received.collect()).await;
    some_edges(&mut stage).await;
    stage.run_job(JobSpec::EraseUser(id("1"))).await;
    stage.compare().await;
    stage.reopen(Ending::Crash).await;
    stage.finish().await;
}

/// Erasing who or what was never there is done at once.
pub async fn erasing_nobody(mut stage: Stage) {
    some_edges(&mut stage).await;
    let end = stage.journal_end().await;
    let job = stage.run_job(JobSpec::EraseUser(id("nobody"))).await;
    assert_eq!((job.done, job.total), (0, 0));
    stage.run_job(JobSpec::EraseTarget(target("NONE:1"))).await;
    assert_eq!(stage.journal_end().await, end);
    stage.finish().await;
}

/// After the erasure the same user is like a new one.
pub async fn an_erased_user_may_come_back(mut stage: Stage) {
    some_edges(&mut stage).await;
    stage.run_job(JobSpec::EraseUser(id("5"))).await;
    for n in 0..5 {
        let like = edge(LIKES, "5", &format!("POST:{n}"));
        assert!(stage.set(&like).await.changed);
    }
    stage.set(&edge(FOLLOWS, "5", "USER:7")).await;
    stage.finish().await;
}

/// A job that was started ends, over a crash and a stop, and is still known.
pub async fn jobs_outlive_reopening(mut stage: Stage) {
    for (user, ending) in [("1", Ending::Crash), ("2", Ending::Clean)] {
        let made = (0..1_500).map(|n| set(edge(LIKES, user, &format!("POST:{n}"))));
        stage.apply_all(made.collect()).await;
        let spec = JobSpec::EraseUser(id(user));
        let job = stage.start_job(spec.clone()).await;
        stage.reopen_under_way(ending).await;
        assert_eq!(stage.job_ended(job).await.state, JobState::Done);
        stage.follow_erasure(&spec).await;
        stage.compare().await;
    }
    stage.finish().await;
}

/// A job that never was is not known.
pub async fn unknown_jobs(mut stage: Stage) {
    assert_eq!(stage.engine().job(u64::MAX).await, Ok(None));
    let job = stage.run_job(JobSpec::EraseUser(id("1"))).await;
    assert!(job.job.contains("erase user 1"), "{}", job.job);
    assert_eq!(stage.engine().job(job.id + 1_000).await, Ok(None));
    stage.finish().await;
}

/// What is written into the audit log is read newest first, as far back as asked.
pub async fn audit_entries(mut stage: Stage) {
    let actions = ["check", "recover", "backup"];
    for action in actions {
        stage
            .engine()
            .write_audit(action, "for the case")
            .await
            .unwrap();
        stage.advance(90 * MINUTE);
    }
    let entries = async |stage: &Stage, hours| {
        let audit = stage.engine().audit(hours).await.unwrap().into_iter();
        let mine = audit.filter(|entry| entry.detail == "for the case");
        mine.map(|entry| entry.action).collect::<Vec<_>>()
    };
    assert_eq!(entries(&stage, 24).await, ["backup", "recover", "check"]);
    assert_eq!(entries(&stage, 2).await, ["backup"]);
    stage.reopen(Ending::Crash).await;
    assert_eq!(entries(&stage, 24).await, ["backup", "recover", "check"]);
    stage.finish().await;
}

/// A check looks at what is there and finds nothing wrong; a repair changes nothing.
pub async fn a_clean_check(mut stage: Stage) {
    some_edges(&mut stage).await;
    stage.settle().await;
    let engine = stage.engine();
    compare::check_is_clean(engine.as_ref()).await;
    let report = engine.check(true).await.unwrap();
    assert!(report.checked > 0);
    assert_eq!((report.mismatches, report.repaired), (0, 0));
    drop(engine);
    stage.finish().await;
}
