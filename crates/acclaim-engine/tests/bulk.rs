//! The bulk load: the same as an ordinary import, all of it or nothing.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod embedded;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use acclaim_core::KindId;
use acclaim_core::model::Model;
use acclaim_core::port::{Clock, Journal, Place, Reads, Write, Writes};
use acclaim_core::{EdgeKey, JournalError, Kinds, Op, Rev};
use acclaim_engine::embedded::{
    BulkError, BulkLoad, EmbeddedEngine, Loaded, OpenError, Options, restore,
};
use acclaim_testkit::ManualClock;
use acclaim_testkit::conformance::compare::{Compare, check_is_clean, walk_export};
use acclaim_testkit::conformance::{DAY, MINUTE, START, edge, import, kinds, set, toggle};
use prometheus_client::registry::Registry;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How far the clock moves from line to line, in microseconds.
const STEP: u64 = 1_000;
const USERS: [&str; 8] = [
    "1",
    "2",
    "3",
    "300",
    "u",
    "u:1",
    "01",
    "18446744073709551615",
];
const TARGETS: [&str; 12] = [
    "POST:1",
    "POST:2",
    "POST:01",
    "TRACK:1",
    "A:u",
    "USER:1",
    "USER:2",
    "USER:3",
    "USER:300",
    "USER:u",
    "USER:01",
    "USER:18446744073709551615",
];

/// A store that can be loaded and opened, and the model of what is in it.
struct Store {
    dir: TempDir,
    clock: Arc<ManualClock>,
    options: Options,
    kinds: Kinds,
    model: Model,
    /// How long it takes from source to source, in microseconds.
    pause: u64,
}

impl Store {
    fn new(bulk_memory_bytes: usize) -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            clock: ManualClock::at(START),
            options: Options {
                bulk_memory_bytes,
                ..embedded::small()
            },
            kinds: kinds(),
            model: Model::new(kinds()),
            pause: 0,
        }
    }

    fn begin(&self) -> Result<Option<BulkLoad>, OpenError> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        BulkLoad::begin(self.dir.path(), self.kinds.clone(), &self.options, clock)
    }

    fn open(&self) -> Arc<EmbeddedEngine> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let (kinds, options) = (self.kinds.clone(), self.options.clone());
        EmbeddedEngine::open(
            self.dir.path(),
            kinds,
            options,
            clock,
            &mut Registry::default(),
        )
        .unwrap()
    }

    /// Loads sources, each line at a time of its own, and has the model do the same.
    fn load(&mut self, sources: &[Vec<Op>]) -> Vec<Loaded> {
        let mut load = self.begin().unwrap().unwrap();
        let mut expected = Vec::new();
        for ops in sources {
            let mut counted = Loaded::default();
            for op in ops {
                self.clock.advance(STEP);
                load.add(std::slice::from_ref(op)).unwrap();
                match self.model.apply(op, self.clock.now()).changed {
                    true => counted.set += 1,
                    false => counted.unchanged += 1,
                }
            }
            load.end_source();
            self.clock.advance(self.pause);
            expected.push(counted);
        }
        let loaded = load.finish(&mut |done, of| assert!(done <= of)).unwrap();
        assert_eq!(loaded, expected);
        loaded
    }

    /// Writes ops in the ordinary way and compares every answer.
    async fn write(&mut self, engine: &EmbeddedEngine, ops: &[Op]) {
        for op in ops {
            self.clock.advance(STEP);
            let applied = engine.apply(Write::plain(vec![op.clone()])).await.unwrap();
            let expected = self.model.apply(op, self.clock.now());
            assert_eq!(applied.transitions, [expected], "{op:?}");
        }
    }

    async fn compare(&self, engine: &EmbeddedEngine) {
        let now = self.clock.now();
        Compare::default()
            .everything(engine, &mut self.model.clone(), now)
            .await;
        check_is_clean(engine).await;
    }

    async fn open_and_compare(&self) -> Arc<EmbeddedEngine> {
        let engine = self.open();
        self.compare(&engine).await;
        engine
    }
}

fn entries(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// How old an imported edge is, if it says so.
#[derive(Clone, Copy, Debug)]
enum Age {
    Unsaid,
    Minutes(u64),
    /// Ahead of the clock, as far as an import allows.
    Ahead(u64),
}

fn line() -> impl Strategy<Value = Op> {
    let age = prop_oneof![
        3 => Just(Age::Unsaid),
        2 => (0u64..3 * 24 * 60).prop_map(Age::Minutes),
        2 => (0u64..450 * 24 * 60).prop_map(Age::Minutes),
        1 => (1u64..MINUTE).prop_map(Age::Ahead),
    ];
    (0u8..7, 0..USERS.len(), 0..TARGETS.len(), age)
        .prop_map(|(kind, user, target, age)| {
            let edge = edge(KindId(kind), USERS[user], TARGETS[target]);
            match age {
                Age::Unsaid => set(edge),
                Age::Minutes(minutes) => import(edge, Rev(START.0 - minutes * MINUTE)),
                Age::Ahead(micros) => import(edge, Rev(START.0 + micros)),
            }
        })
        .prop_filter("allowed by its kind", |op| kinds().check(&op.edge).is_ok())
}

/// Lines of one user on many targets, some of them twice.
fn many(kind: u8, user: usize, targets: u64) -> Vec<Op> {
    let to = |target: u64| {
        edge(
            KindId(kind),
            USERS[user],
            &format!("POST:{}", target * 7 % 1_000),
        )
    };
    let at = |target: u64| Rev(START.0 - target % 50 * MINUTE);
    let op = |target| match target % 3 {
        0 => import(to(target), at(target)),
        _ => set(to(target)),
    };
    (0..targets).map(op).collect()
}

fn toggles(ops: &[Op]) -> Vec<Op> {
    ops.iter().map(|op| toggle(op.edge.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn answers_as_an_ordinary_import_does(
        first in prop::collection::vec(line(), 0..250),
        second in prop::collection::vec(line(), 0..250),
        busy in prop_oneof![2 => Just(None), 1 => (0u8..5, 0..USERS.len(), 505u64..700).prop_map(Some)],
        passes in prop_oneof![3 => Just(0), 1 => 0..2 * DAY],
        memory in prop_oneof![Just(1usize << 20), 700usize..40_000],
    ) {
        let mut store = Store::new(memory);
        let runtime = Runtime::new().unwrap();
        let mut sources = vec![first, second];
        sources.extend(busy.filter(|(kind, ..)| *kind != 1).map(|(kind, user, targets)| many(kind, user, targets)));
        // A load may last over midnight.
        store.pause = passes;
        store.load(&sources);
        let lines: Vec<Op> = sources.concat();
        runtime.block_on(async {
            let engine = store.open_and_compare().await;
            engine.stop().await.unwrap();
            drop(engine);
            let engine = store.open_and_compare().await;
            store.write(&engine, &lines).await;
            store.write(&engine, &toggles(&lines[..lines.len().min(60)])).await;
            store.compare(&engine).await;
            engine.stop().await.unwrap();
            drop(engine);
            store.open_and_compare().await.stop().await.unwrap();
        });
    }
}

#[tokio::test]
async fn exports_the_bytes_of_an_ordinary_import() {
    let ops: Vec<Op> = [many(0, 0, 600), many(2, 0, 300), many(4, 3, 20)].concat();
    let (mut loaded, mut written) = (Store::new(20_000), Store::new(20_000));
    loaded.load(std::slice::from_ref(&ops));
    let ordinary = written.open();
    written.write(&ordinary, &ops).await;
    let bulk = loaded.open();
    for (kind, _) in kinds().iter() {
        let exports = (
            walk_export(&*bulk, kind, 100).await,
            walk_export(&*ordinary, kind, 100).await,
        );
        assert_eq!(exports.0, exports.1);
    }
}

#[tokio::test]
async fn only_a_store_without_a_commit_is_loaded() {
    let mut store = Store::new(1 << 20);
    let engine = store.open();
    assert!(matches!(store.begin(), Err(OpenError::Locked { .. })));
    // Looked at, not written to.
    assert_eq!(walk_export(&*engine, KindId(0), 10).await, []);
    engine.stop().await.unwrap();
    drop(engine);
    store.load(&[many(0, 0, 10)]);
    assert!(store.begin().unwrap().is_none(), "loaded before");
    let store = Store::new(1 << 20);
    let engine = store.open();
    engine.apply(Write::plain(many(0, 0, 1))).await.unwrap();
    engine.stop().await.unwrap();
    drop(engine);
    assert!(store.begin().unwrap().is_none(), "written to before");
}

#[tokio::test]
async fn what_is_given_up_leaves_nothing() {
    let mut store = Store::new(10_000);
    drop(store.begin().unwrap().unwrap());
    let mut load = store.begin().unwrap().unwrap();
    load.add(&many(0, 0, 2_000)).unwrap();
    load.interrupt().store(true, Ordering::Relaxed);
    assert!(matches!(
        load.add(&many(0, 1, 1)),
        Err(BulkError::Interrupted)
    ));
    let gone = load.finish(&mut |_, _| {});
    assert!(matches!(gone, Err(BulkError::Interrupted)));
    let left = entries(store.dir.path());
    assert_eq!(left, ["lock", "log", "manifest.json", "spool", "watermark"]);
    let mut load = store.begin().unwrap().unwrap();
    let toggle = toggles(&many(0, 0, 1));
    assert!(matches!(load.add(&toggle), Err(BulkError::NotASet)));
    drop(load);
    // What a death in the midst of the removal leaves goes with the next start.
    std::fs::create_dir_all(store.dir.path().join("base.discarded/x")).unwrap();
    store.load(&[many(0, 0, 2_000)]);
    store.open_and_compare().await;
    let left = entries(store.dir.path());
    assert_eq!(
        left,
        ["base", "lock", "log", "manifest.json", "spool", "watermark"]
    );
}

#[tokio::test]
async fn an_empty_load_is_an_empty_store() {
    let mut store = Store::new(1 << 20);
    store.load(&[Vec::new(), Vec::new()]);
    assert!(store.begin().unwrap().is_some(), "still without a commit");
    let engine = store.open_and_compare().await;
    assert_eq!(engine.journal_end().await, Ok(Place::START));
}

#[tokio::test]
async fn a_backup_of_a_loaded_store_is_the_same() {
    let mut store = Store::new(1 << 20);
    store.load(&[many(0, 0, 600)]);
    let engine = store.open();
    let home = TempDir::new().unwrap();
    let (copy, restored) = (home.path().join("copy"), home.path().join("restored"));
    let to = copy.clone();
    let copied = tokio::task::spawn_blocking(move || engine.backup(&to));
    copied.await.unwrap().unwrap();
    restore(&copy, &restored).unwrap();
    let clock = Arc::clone(&store.clock) as Arc<dyn Clock>;
    let (kinds, options) = (store.kinds.clone(), store.options.clone());
    let engine =
        EmbeddedEngine::open(&restored, kinds, options, clock, &mut Registry::default()).unwrap();
    store.compare(&engine).await;
}

#[tokio::test]
async fn the_journal_begins_after_the_load() {
    let mut store = Store::new(1 << 20);
    store.load(&[many(0, 0, 100)]);
    let end = store.model.journal_end();
    // Set back: places rise all the same.
    store.clock.set(Rev(START.0 - DAY));
    let engine = store.open();
    assert_eq!(engine.journal_end().await, Ok(end));
    let before = engine
        .journal_after(Place::unpartitioned(Rev(end.seq.0 - 1)), 10)
        .await;
    assert!(matches!(before, Err(JournalError::Trimmed { oldest, .. }) if oldest == end));
    assert_eq!(engine.journal_after(end, 10).await, Ok(Vec::new()));
    let later: EdgeKey = edge(KindId(0), "9", "POST:9");
    store.write(&engine, &[set(later.clone())]).await;
    let before = engine.journal_after(Place::START, 10).await;
    assert!(matches!(before, Err(JournalError::Trimmed { oldest, .. }) if oldest == end));
    let events = engine.journal_after(end, 10).await.unwrap();
    assert_eq!(events.len(), 1);
    let next = Place::unpartitioned(Rev(end.seq.0 + 1));
    assert_eq!((&events[0].edge, events[0].place), (&later, next));
    assert_eq!(engine.statuses(vec![later]).await.unwrap()[0].count, 1);
}

#[tokio::test]
async fn types_are_limited_as_in_a_commit() {
    let store = Store::new(1 << 20);
    let mut load = store.begin().unwrap().unwrap();
    let of_type = |n: usize| set(edge(KindId(0), "1", &format!("T{n}:1")));
    let most = acclaim_core::limits::MAX_TARGET_TYPES;
    let ops: Vec<Op> = (0..most).map(of_type).collect();
    load.add(&ops).unwrap();
    let more = load.add(&[of_type(most)]);
    assert!(
        matches!(more, Err(BulkError::TooManyTargetTypes { given }) if given == format!("T{most}"))
    );
}
