//! The check against damage planted on purpose: each sort is found, mended, and then gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use acclaim_core::port::{Admin, Invariant, JobState, Reads, Recovered, Write, Writes};
use acclaim_core::{
    Action, EdgeKey, Id, KindId, Kinds, Op, Rev, Start, Target, TargetKey, TargetType,
};
use prometheus_client::registry::Registry;
use tempfile::TempDir;

use super::super::EmbeddedEngine;
use super::super::base::looks;
use super::super::jobs::What;
use super::super::key::{EdgeRef, TargetRef, UserRef};
use super::super::log::{Entry, UserAdjustment};
use super::super::options::Options;
use super::super::workspace::Workspace;
use super::{CheckProgress, recover};
use crate::SystemClock;

const LIKES: KindId = KindId(0);
const FOLLOWS: KindId = KindId(1);

fn set(kind: KindId, user: u64, target_type: &str, target: u64) -> Op {
    let target_type = TargetType::parse(target_type).unwrap();
    let target = Target {
        target_type,
        id: Id::Number(target),
    };
    Op::new(
        Action::Set,
        EdgeKey {
            kind,
            user: Id::Number(user),
            target,
        },
    )
}

async fn store() -> (TempDir, Arc<EmbeddedEngine>) {
    let dir = TempDir::new().unwrap();
    let options = Options {
        log_segment_bytes: 1 << 20,
        ..Options::default()
    };
    let clock = Arc::new(SystemClock);
    let registry = &mut Registry::default();
    let engine =
        EmbeddedEngine::open(dir.path(), Kinds::default(), options, clock, registry).unwrap();
    let mut ops = Vec::new();
    // User 1 has a list of their own, the others do not.
    ops.extend((0..700).map(|n| set(LIKES, 1, "POST", n)));
    ops.extend((2..40).flat_map(|u| (0..9).map(move |n| set(LIKES, u, "POST", n))));
    ops.extend((1..20).flat_map(|u| (1..20).map(move |v| set(FOLLOWS, u, "USER", v))));
    engine.apply(Write::plain(ops)).await.unwrap();
    (dir, engine)
}

async fn plant(
    engine: &EmbeddedEngine,
    damage: impl FnOnce(&mut Workspace<'_>, &EdgeRef, Rev) + Send + 'static,
) {
    engine.checkpoint().await.unwrap();
    engine
        .work(|work| {
            let target_type = work
                .dictionary()
                .type_number(&TargetType::parse("POST").unwrap());
            let (user, target) = (Id::Number(1), Id::Number(3));
            let edge = EdgeRef {
                kind: 0,
                user,
                target_type: target_type.unwrap(),
                target,
            };
            let rev = work.edge(&edge)?.rev;
            damage(work, &edge, rev);
            Ok(())
        })
        .await
        .unwrap();
}

async fn found_and_mended(engine: &EmbeddedEngine, invariants: &[Invariant]) {
    let report = engine.check(false).await.unwrap();
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|finding| finding.invariant)
        .collect();
    assert_eq!(found, invariants, "{:#?}", report.findings);
    let report = engine.check(true).await.unwrap();
    assert_eq!(report.repaired, report.mismatches);
    let report = engine.check(false).await.unwrap();
    assert_eq!(report.findings, [], "mended");
}

#[tokio::test]
async fn a_sound_store_is_clean() {
    let (_dir, engine) = store().await;
    found_and_mended(&engine, &[]).await;
}

#[tokio::test]
async fn a_wrong_count_is_found() {
    let (_dir, engine) = store().await;
    plant(&engine, |work, edge, _| {
        work.enter(Entry::AdjustTarget(edge.target_ref(), 5))
            .unwrap()
    })
    .await;
    found_and_mended(&engine, &[Invariant::TargetCount]).await;
    let target = set(LIKES, 1, "POST", 3).edge.target;
    let counts = engine
        .counts(vec![TargetKey {
            kind: LIKES,
            target,
        }])
        .await
        .unwrap();
    assert_eq!(counts[0].count, 39);
}

#[tokio::test]
async fn a_missing_and_a_surplus_list_entry_are_found() {
    let (_dir, engine) = store().await;
    plant(&engine, |work, edge, rev| {
        work.note(edge.target_list_key(rev), None);
        work.note(edge.user_list_key(rev), None);
        let ghost = EdgeRef {
            target: Id::Number(8),
            ..edge.clone()
        };
        work.note(ghost.target_list_key(Rev(7)), Some(Vec::new()));
    })
    .await;
    let lists = [
        Invariant::UserList,
        Invariant::TargetList,
        Invariant::TargetList,
    ];
    found_and_mended(&engine, &lists).await;
    let target = set(LIKES, 1, "POST", 3).edge.target;
    let listing = engine
        .users(
            TargetKey {
                kind: LIKES,
                target,
            },
            Start::top(),
            100,
        )
        .await
        .unwrap();
    assert_eq!(listing.page.entries.len(), 39);
}

#[tokio::test]
async fn a_target_without_record_or_list_is_found() {
    let (_dir, engine) = store().await;
    plant(&engine, |work, edge, _| {
        let lost = TargetRef {
            id: Id::Number(600),
            ..edge.target_ref()
        };
        work.enter(Entry::ForgetTarget(lost.clone())).unwrap();
        let edge = EdgeRef {
            target: Id::Number(600),
            ..edge.clone()
        };
        let rev = work.edge(&edge).unwrap().rev;
        work.note(edge.target_list_key(rev), None);
    })
    .await;
    found_and_mended(&engine, &[Invariant::TargetList, Invariant::TargetCount]).await;
}

#[tokio::test]
async fn wrong_numbers_of_a_user_are_found() {
    let (_dir, engine) = store().await;
    plant(&engine, |work, edge, _| {
        let target_type = edge.target_type;
        let by = UserAdjustment {
            target_type,
            given: -2,
            ..UserAdjustment::default()
        };
        work.enter(Entry::AdjustUser(edge.user_ref(), by)).unwrap();
        let by = UserAdjustment {
            mutual: 1,
            ..UserAdjustment::default()
        };
        let follower = UserRef {
            kind: 1,
            id: Id::Number(4),
        };
        work.enter(Entry::AdjustUser(follower, by)).unwrap();
    })
    .await;
    found_and_mended(&engine, &[Invariant::UserCount, Invariant::MutualCount]).await;
}

async fn looks_of_recovery(engine: &Arc<EmbeddedEngine>, target: u64) -> (Recovered, u64) {
    let engine = Arc::clone(engine);
    let recovery = move || {
        let target = set(LIKES, 1, "POST", target).edge.target_key();
        let target = engine.shared.dictionary.load().target(&target).unwrap();
        looks::of(|| recover(&engine.shared, &engine.lane, &target).unwrap())
    };
    tokio::task::spawn_blocking(recovery).await.unwrap()
}

async fn listed(engine: &EmbeddedEngine, target: u64) -> (u64, usize) {
    let target = set(LIKES, 1, "POST", target).edge.target_key();
    let listing = engine.users(target, Start::top(), 100).await.unwrap();
    (listing.total, listing.page.entries.len())
}

#[tokio::test]
async fn recovering_a_target_looks_at_what_it_has_and_no_more() {
    let (_dir, engine) = store().await;
    for (more, checkpoint) in [(0, true), (3_000, true), (3_000, false)] {
        let others = (0..more).map(|n| set(LIKES, 100 + n % 90, "POST", 1_000 + n));
        engine.apply(Write::plain(others.collect())).await.unwrap();
        if checkpoint {
            engine.checkpoint().await.unwrap();
        }
        let (recovered, looks) = looks_of_recovery(&engine, 3).await;
        assert_eq!((recovered.count_before, recovered.count_after), (39, 39));
        // An entry costs itself, its edge and its user's record; one user has a list of their own.
        // Its count is looked at too, unless it is in memory.
        let edges = 39 * 3 + 1;
        assert!((edges..=edges + 1).contains(&looks), "{looks}");
    }
    // What lies in memory only costs no look into the tables, but for the counts.
    let new = (0..20)
        .map(|user| set(LIKES, user, "POST", 999_999))
        .collect();
    engine.apply(Write::plain(new)).await.unwrap();
    let (recovered, looks) = looks_of_recovery(&engine, 999_999).await;
    assert_eq!((recovered.edges, looks), (20, 0));
}

#[tokio::test]
async fn recovering_a_target_mends_what_it_can_see_at_the_price_of_what_it_has() {
    let (_dir, engine) = store().await;
    plant(&engine, |work, edge, rev| {
        let by = Entry::AdjustTarget(edge.target_ref(), -5);
        work.enter(by).unwrap();
        work.note(edge.user_list_key(rev), None);
        let ghost = EdgeRef {
            user: Id::Number(777),
            ..edge.clone()
        };
        work.note(ghost.target_list_key(Rev(7)), Some(Vec::new()));
    })
    .await;
    engine.checkpoint().await.unwrap();
    let (recovered, looks) = looks_of_recovery(&engine, 3).await;
    assert_eq!((recovered.count_before, recovered.count_after), (34, 39));
    assert!(looks < 40 * 8, "{looks}");
    assert_eq!(listed(&engine, 3).await, (39, 39));
    found_and_mended(&engine, &[]).await;
}

#[tokio::test]
async fn recovering_a_target_finds_what_its_list_lost() {
    let (_dir, engine) = store().await;
    plant(&engine, |work, edge, rev| {
        work.note(edge.target_list_key(rev), None);
    })
    .await;
    engine.checkpoint().await.unwrap();
    let (recovered, _) = looks_of_recovery(&engine, 3).await;
    assert_eq!((recovered.count_before, recovered.count_after), (39, 39));
    assert_eq!(listed(&engine, 3).await, (39, 39));
    found_and_mended(&engine, &[]).await;
}

#[tokio::test]
async fn recovering_a_target_lowers_a_count_that_is_too_high() {
    let (_dir, engine) = store().await;
    plant(&engine, |work, edge, _| {
        work.enter(Entry::AdjustTarget(edge.target_ref(), 5))
            .unwrap();
    })
    .await;
    let (recovered, _) = looks_of_recovery(&engine, 3).await;
    assert_eq!((recovered.count_before, recovered.count_after), (44, 39));
    found_and_mended(&engine, &[]).await;
}

#[tokio::test]
async fn two_entries_that_changed_places_are_found() {
    let (_dir, engine) = store().await;
    plant(&engine, |work, edge, rev| {
        work.note(edge.target_list_key(rev), None);
        let ghost = EdgeRef {
            user: Id::Number(777),
            ..edge.clone()
        };
        work.note(ghost.target_list_key(rev), Some(Vec::new()));
    })
    .await;
    found_and_mended(&engine, &[Invariant::TargetList]).await;
}

#[tokio::test]
async fn a_check_says_how_far_it_is() {
    let (_dir, engine) = store().await;
    let unset = (0..50).map(|n| Op::new(Action::Unset, set(LIKES, 1, "POST", n).edge));
    engine.apply(Write::plain(unset.collect())).await.unwrap();
    let progress = Arc::<CheckProgress>::default();
    let watched = Arc::clone(&progress);
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (seer, done) = (Arc::clone(&seen), Arc::new(AtomicBool::new(false)));
    let ended = Arc::clone(&done);
    let watcher = std::thread::spawn(move || {
        while !ended.load(Ordering::Acquire) {
            seer.lock().push((watched.done(), watched.total()));
            std::thread::yield_now();
        }
    });
    let report = engine.check_watched(false, Arc::clone(&progress)).await;
    done.store(true, Ordering::Release);
    watcher.join().unwrap();
    assert_eq!(report.unwrap().mismatches, 0);
    // Active edges, then those that were unset too, then the lists of the active ones.
    let (all, active) = (700 + 38 * 9 + 19 * 19, 700 + 38 * 9 + 19 * 19 - 50);
    assert_eq!(
        (progress.done(), progress.total()),
        (2 * all + active, 2 * all + active)
    );
    let seen = seen.lock();
    assert!(
        seen.windows(2).all(|pair| pair[0].0 <= pair[1].0),
        "{seen:?}"
    );
    let estimates = seen.iter().filter(|(_, total)| *total > 0);
    assert!(
        estimates
            .clone()
            .all(|(done, total)| done <= total && *total >= 3 * active)
    );
}

#[tokio::test]
async fn a_recovery_of_a_kind_says_how_far_it_is() {
    let (_dir, engine) = store().await;
    // Written down and not sent to the runner, so that it stands where the test puts it.
    let likes = "likes".to_owned();
    let written = engine.jobs.write_down(What::Recover { kind: likes }, 0);
    let id = written.await.unwrap();
    let stands = async || {
        let job = engine.job(id).await.unwrap().unwrap();
        (job.state, job.done, job.total)
    };
    assert_eq!(stands().await, (JobState::Queued, 0, 0));
    let progress = Arc::<CheckProgress>::default();
    *engine.shared.running_job.lock() = Some((id, Arc::clone(&progress)));
    assert_eq!(stands().await, (JobState::Running, 0, 0));
    engine.check_watched(false, progress).await.unwrap();
    let (state, done, total) = stands().await;
    assert!(state == JobState::Running && done == total && total > 0);
    *engine.shared.running_job.lock() = None;
    engine.jobs.run(id);
    while stands().await.0 != JobState::Done {
        tokio::task::yield_now().await;
    }
    // The job's last answer comes through this runtime, which dropping the engine would block.
    engine.stop().await.unwrap();
}
