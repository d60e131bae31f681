//! The check against damage planted on purpose: each sort is found, mended, and then gone.

use std::sync::Arc;

use acclaim_core::port::{Admin, Invariant, Reads, Write, Writes};
use acclaim_core::{
    Action, EdgeKey, Id, KindId, Kinds, Op, Rev, Start, Target, TargetKey, TargetType,
};
use prometheus_client::registry::Registry;
use tempfile::TempDir;

use super::super::EmbeddedEngine;
use super::super::key::{EdgeRef, TargetRef, UserRef};
use super::super::log::{Entry, UserAdjustment};
use super::super::options::Options;
use super::super::workspace::Workspace;
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
