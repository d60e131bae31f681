//! Notifications kept by the embedded engine: in order over checkpoints and restarts, erased with
//! their users, and behind a journal that was trimmed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use acclaim_core::notify::consume::{Consumer, Stepped};
use acclaim_core::notify::desk::Desk;
use acclaim_core::notify::ownership::Ownership;
use acclaim_core::notify::{Batch, CommitError, Duty, Key, Notes, Settings};
use acclaim_core::port::{Admin, Clock, JobSpec, JobState, Place, Write, Writes};
use acclaim_core::{Action, EdgeKey, Engine, Id, KindId, Kinds, Op, Rev, Target, TargetType};
use acclaim_engine::embedded::{EmbeddedEngine, Options};
use acclaim_testkit::ManualClock;
use prometheus_client::registry::Registry;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const NOW: Rev = Rev(1_795_168_800_000_000);

fn open(dir: &Path, options: Options, clock: &Arc<ManualClock>) -> Arc<EmbeddedEngine> {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let kinds = Kinds::new([]).unwrap();
    EmbeddedEngine::open(dir, kinds, options, clock, &mut Registry::default()).unwrap()
}

fn small() -> Options {
    Options {
        delta_max_edges: 60,
        log_segment_bytes: 64 << 10,
        cache_bytes: 8 << 20,
        ..Options::default()
    }
}

fn random_key(chance: &mut StdRng) -> Key {
    let length = chance.random_range(1..4);
    (0..length)
        .map(|_| chance.random_range(b'a'..b'd'))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_read_in_order_wherever_they_lie() {
    let seed = acclaim_testkit::settings::seed();
    let mut chance = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NOW);
    let mut plain: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
    for round in 0..4 {
        let engine = open(dir.path(), small(), &clock);
        for step in 0..150u32 {
            let writes: Vec<(Key, Option<Vec<u8>>)> = (0..chance.random_range(1..5))
                .map(|_| {
                    let value = chance.random_bool(0.6).then(|| step.to_be_bytes().to_vec());
                    (random_key(&mut chance), value)
                })
                .collect();
            for (key, value) in &writes {
                match value {
                    Some(value) => plain.insert(key.clone(), value.clone()),
                    None => plain.remove(key),
                };
            }
            engine.commit(Batch::of(writes)).await.unwrap();
            let (prefix, max) = (random_key(&mut chance), chance.random_range(1..80));
            let prefix = if chance.random_bool(0.3) {
                Key::new()
            } else {
                prefix
            };
            let after = chance.random_bool(0.5).then(|| random_key(&mut chance));
            let found = engine
                .scan(prefix.clone(), after.clone(), max)
                .await
                .unwrap();
            let expected: Vec<_> = plain
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix))
                .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after))
                .take(max)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            assert_eq!(found, expected, "round {round}, step {step}, seed {seed}");
        }
        if round % 2 == 0 {
            engine.stop().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_batch_that_expects_something_else_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), small(), &ManualClock::at(NOW));
    let write = |value: &[u8]| Batch::of(vec![(b"k".to_vec(), Some(value.to_vec()))]);
    let expecting = |batch: Batch, value: Option<&[u8]>| {
        batch.expecting(b"k".to_vec(), value.map(<[u8]>::to_vec))
    };
    engine.commit(expecting(write(b"1"), None)).await.unwrap();
    let refused = engine.commit(expecting(write(b"2"), None)).await;
    assert_eq!(refused, Err(CommitError::Conflict));
    assert_eq!(engine.wakes(), 0);
    engine
        .commit(expecting(write(b"2"), Some(b"1")).waking())
        .await
        .unwrap();
    assert_eq!((engine.wakes(), engine.woken(0).await), (1, 1));
    let found = engine
        .get(vec![b"k".to_vec(), b"l".to_vec()])
        .await
        .unwrap();
    assert_eq!(found, [Some(b"2".to_vec()), None]);
}

async fn like(engine: &Arc<EmbeddedEngine>, user: u64, target: Target) {
    let edge = EdgeKey {
        kind: KindId(0),
        user: Id::Number(user),
        target,
    };
    let write = Write::plain(vec![Op::new(Action::Set, edge)]);
    engine.apply(write).await.unwrap();
}

async fn load(engine: &Arc<EmbeddedEngine>, clock: &Arc<ManualClock>) -> Consumer {
    let engine: Arc<dyn Engine> = engine.clone();
    let loaded = Consumer::load(engine, Settings::default(), clock.clone(), Duty::ALONE).await;
    loaded.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_user_leaves_no_notes() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NOW);
    let engine = open(dir.path(), small(), &clock);
    let settings = Settings::default();
    let me = Id::parse("somebody").unwrap();
    let post = Target {
        target_type: TargetType::parse("POST").unwrap(),
        id: Id::Number(5),
    };
    let desk = Desk::of(engine.as_ref(), &settings, NOW).unwrap();
    desk.own(&post, &Ownership::of(me.clone())).await.unwrap();
    for user in 1..50 {
        like(&engine, user, post.clone()).await;
        like(&engine, user, Target::user(me.clone())).await;
    }
    let mut consumer = load(&engine, &clock).await;
    assert!(matches!(consumer.step().await, Ok(Stepped::Folded(_))));
    assert_eq!(desk.list(&me, 10, None).await.unwrap().items.len(), 2);
    let job = engine
        .start_job(JobSpec::EraseUser(me.clone()))
        .await
        .unwrap();
    loop {
        let state = engine.job(job).await.unwrap().unwrap().state;
        if state == JobState::Done {
            break;
        }
        assert_ne!(state, JobState::Failed);
        tokio::task::yield_now().await;
    }
    assert!(desk.list(&me, 10, None).await.unwrap().items.is_empty());
    while matches!(
        consumer.step().await.unwrap(),
        Stepped::Folded(_) | Stepped::Overtaken
    ) {}
    consumer.settle().await.unwrap();
    // The mark goes with the next event that is folded after it.
    like(&engine, 1, Target::user(Id::Number(2))).await;
    while matches!(
        consumer.step().await.unwrap(),
        Stepped::Folded(_) | Stepped::Overtaken
    ) {}
    let all = engine.scan(Key::new(), None, 1_000).await.unwrap();
    for (key, value) in &all {
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(key),
            String::from_utf8_lossy(value)
        );
        assert!(!text.contains("somebody"), "{text:?}");
    }
    engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_journal_keeps_no_more_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NOW);
    let options = Options {
        journal_max_bytes: 0,
        ..small()
    };
    let engine = open(dir.path(), options, &clock);
    let me = Target::user(Id::Number(1));
    like(&engine, 2, me.clone()).await;
    let mut consumer = load(&engine, &clock).await;
    consumer.step().await.unwrap();
    let first = consumer.position();
    assert!(first > Place::START);
    // Until a segment is full and the one before it is gone.
    let mut trimmed = None;
    for user in 3..20_000 {
        like(&engine, user, Target::user(Id::Number(user))).await;
        if user % 500 == 0 {
            engine.export(KindId(0), None, 1).await.unwrap();
            let mut late = load(&engine, &clock).await;
            if let Stepped::Trimmed { from, to } = late.step().await.unwrap() {
                trimmed = Some((late, from, to));
                break;
            }
        }
    }
    let (mut late, from, to) = trimmed.expect("the journal is trimmed at last");
    assert_eq!(from, first);
    assert!(to > first);
    like(&engine, 3, me).await;
    while !matches!(late.step().await.unwrap(), Stepped::Idle) {}
    let settings = Settings::default();
    let desk = Desk::of(engine.as_ref(), &settings, NOW).unwrap();
    let list = desk.list(&Id::Number(1), 10, None).await.unwrap();
    assert_eq!(
        list.items[0].actors[0].user,
        Id::Number(3),
        "it goes on after that"
    );
    engine.stop().await.unwrap();
}
