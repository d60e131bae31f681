//! The store's directory: opening, locking, damage, backups, limits.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod embedded;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acclaim_core::port::{Admin, Idempotency, Journal, Place, Reads, Write, Writes};
use acclaim_core::{
    Action, EdgeKey, Id, JobError, JournalError, KindId, Kinds, Op, Rev, Target, TargetKey,
    TargetType, WriteError,
};
use acclaim_engine::embedded::{
    BackupError, BackupSummary, EmbeddedEngine, OpenError, Options, restore,
};
use acclaim_testkit::ManualClock;
use prometheus_client::registry::Registry;
use tempfile::TempDir;

const NOW: Rev = Rev(1_795_132_800_000_000);
const DAY: u64 = 86_400_000_000;

fn like(user: u64, target: u64) -> Op {
    let target_type = TargetType::parse("POST").unwrap();
    let target = Target {
        target_type,
        id: Id::Number(target),
    };
    Op::new(
        Action::Set,
        EdgeKey {
            kind: KindId(0),
            user: Id::Number(user),
            target,
        },
    )
}

struct Store {
    clock: Arc<ManualClock>,
    options: Options,
    dir: TempDir,
}

impl Store {
    fn new(options: Options) -> Self {
        Self {
            clock: ManualClock::at(NOW),
            options,
            dir: TempDir::new().unwrap(),
        }
    }

    fn open(&self) -> Result<Arc<EmbeddedEngine>, OpenError> {
        open(self.dir.path(), &self.options, &self.clock)
    }

    fn log_files(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.dir.path().join("log")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|e| e == "log"));
        files.sort();
        files
    }

    fn remove_tables(&self) {
        std::fs::remove_dir_all(self.dir.path().join("base")).unwrap();
    }
}

fn open(
    dir: &Path,
    options: &Options,
    clock: &Arc<ManualClock>,
) -> Result<Arc<EmbeddedEngine>, OpenError> {
    let clock = Arc::clone(clock) as Arc<dyn acclaim_core::port::Clock>;
    let kinds = Kinds::default();
    EmbeddedEngine::open(dir, kinds, options.clone(), clock, &mut Registry::default())
}

/// A backup blocks, so it runs beside the runtime.
async fn backup(engine: &Arc<EmbeddedEngine>, to: &Path) -> Result<BackupSummary, BackupError> {
    let (engine, to) = (Arc::clone(engine), to.to_owned());
    tokio::task::spawn_blocking(move || engine.backup(&to))
        .await
        .unwrap()
}

async fn apply(engine: &EmbeddedEngine, ops: impl IntoIterator<Item = Op>) {
    engine
        .apply(Write::plain(ops.into_iter().collect()))
        .await
        .unwrap();
}

async fn count(engine: &EmbeddedEngine, target: u64) -> u64 {
    let key = TargetKey {
        kind: KindId(0),
        target: like(0, target).edge.target,
    };
    engine.counts(vec![key]).await.unwrap()[0].count
}

/// The bytes of a file that are not zero at its end.
fn written(file: &Path) -> usize {
    let bytes = std::fs::read(file).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let store = Store::new(embedded::small());
    let _first = store.open().unwrap();
    assert!(matches!(
        store.open().map(|_| ()),
        Err(OpenError::Locked { .. })
    ));
}

#[tokio::test]
async fn a_torn_tail_is_cut_off() {
    let store = Store::new(embedded::small());
    let engine = store.open().unwrap();
    for user in 0..10 {
        apply(&engine, [like(user, 1)]).await;
    }
    engine.stop().await.unwrap();
    drop(engine);
    // As if the last commit had been under way: half of it written, nobody answered.
    store.remove_tables();
    std::fs::remove_file(store.dir.path().join("watermark")).unwrap();
    let last = store.log_files().pop().unwrap();
    let end = written(&last);
    let file = std::fs::File::options().write(true).open(&last).unwrap();
    file.write_all_at(&[0; 4], end as u64 - 4).unwrap();
    let engine = store.open().unwrap();
    assert_eq!(count(&engine, 1).await, 9);
    apply(&engine, [like(100, 1)]).await;
    engine.stop().await.unwrap();
    drop(engine);
    assert_eq!(count(&store.open().unwrap(), 1).await, 10);
}

#[tokio::test]
async fn a_lost_tail_that_was_acknowledged_is_refused() {
    let mut store = Store::new(embedded::small());
    let engine = store.open().unwrap();
    for user in 0..10 {
        apply(&engine, [like(user, 1)]).await;
    }
    engine.stop().await.unwrap();
    drop(engine);
    store.remove_tables();
    let last = store.log_files().pop().unwrap();
    let end = written(&last);
    let file = std::fs::File::options().write(true).open(&last).unwrap();
    file.write_all_at(&[0; 4], end as u64 - 4).unwrap();
    let refused = store.open().map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    assert!(refused.to_string().contains("--accept-loss"), "{refused}");
    store.options.accept_loss = true;
    assert_eq!(count(&store.open().unwrap(), 1).await, 9);
}

#[tokio::test]
async fn a_flipped_bit_in_the_log_is_refused_wherever_it_is() {
    let store = Store::new(embedded::small());
    let engine = store.open().unwrap();
    for user in 0..10 {
        apply(&engine, [like(user, 1)]).await;
    }
    engine.stop().await.unwrap();
    drop(engine);
    store.remove_tables();
    let last = store.log_files().pop().unwrap();
    let bytes = std::fs::read(&last).unwrap();
    for at in (0..written(&last)).step_by(37) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        std::fs::write(&last, &flipped).unwrap();
        assert!(
            matches!(store.open().map(|_| ()), Err(OpenError::Damaged { .. })),
            "byte {at}"
        );
    }
    std::fs::write(&last, &bytes).unwrap();
    assert_eq!(count(&store.open().unwrap(), 1).await, 10);
}

#[tokio::test]
async fn a_missing_segment_is_refused() {
    let store = Store::new(Options {
        delta_max_edges: 100_000,
        ..embedded::small()
    });
    let engine = store.open().unwrap();
    for round in 0..20 {
        apply(&engine, (0..1_000).map(|user| like(user, round))).await;
    }
    engine.stop().await.unwrap();
    drop(engine);
    store.remove_tables();
    let files = store.log_files();
    assert!(files.len() > 3, "{}", files.len());
    std::fs::remove_file(&files[1]).unwrap();
    assert!(matches!(
        store.open().map(|_| ()),
        Err(OpenError::Damaged { .. })
    ));
}

#[tokio::test]
async fn tables_of_another_store_are_refused() {
    let (one, other) = (Store::new(embedded::small()), Store::new(embedded::small()));
    for store in [&one, &other] {
        let engine = store.open().unwrap();
        apply(&engine, [like(1, 1)]).await;
        engine.stop().await.unwrap();
    }
    one.remove_tables();
    std::fs::rename(other.dir.path().join("base"), one.dir.path().join("base")).unwrap();
    assert!(matches!(
        one.open().map(|_| ()),
        Err(OpenError::NotAStore { .. })
    ));
}

#[tokio::test]
async fn a_backup_of_a_running_store_is_that_moment() {
    let store = Store::new(embedded::small());
    let engine = store.open().unwrap();
    for round in 0..5 {
        apply(&engine, (0..700).map(|user| like(user, round))).await;
    }
    let to = TempDir::new().unwrap();
    let (backup, restored) = (to.path().join("backup"), to.path().join("restored"));
    let summary = self::backup(&engine, &backup).await.unwrap();
    let end = engine.journal_end().await;
    assert_eq!(end, Ok(Place::unpartitioned(summary.end)));
    apply(&engine, [like(9_999, 0)]).await;
    assert!(
        self::backup(&engine, &backup).await.is_err(),
        "it is not empty"
    );
    restore(&backup, &restored).unwrap();
    assert!(restore(&backup, &restored).is_err(), "it is not empty");
    assert!(
        restore(to.path(), &to.path().join("other")).is_err(),
        "that is no backup"
    );
    let copy = open(&restored, &store.options, &store.clock).unwrap();
    for target in 0..5 {
        assert_eq!(count(&copy, target).await, 700);
    }
    let report = copy.check(false).await.unwrap();
    assert_eq!(report.mismatches, 0, "{:?}", report.findings);
}

#[tokio::test]
async fn the_log_is_trimmed_and_says_from_where_it_can_be_resumed() {
    let options = Options {
        journal_max_bytes: 100 << 10,
        ..embedded::small()
    };
    let store = Store::new(options);
    let engine = store.open().unwrap();
    for round in 0..40 {
        apply(&engine, (0..1_000).map(|user| like(user, round))).await;
    }
    // A checkpoint trims after it is done; an export waits for one.
    engine.export(KindId(0), None, 1).await.unwrap();
    let oldest = loop {
        match engine.journal_after(Place::unpartitioned(Rev(1)), 10).await {
            Err(JournalError::Trimmed { oldest, .. }) => break oldest,
            other => assert!(other.is_ok(), "{other:?}"),
        }
        tokio::task::yield_now().await;
    };
    let events = engine.journal_after(oldest, 10).await.unwrap();
    assert_eq!(events.len(), 10);
    engine.stop().await.unwrap();
    drop(engine);
    assert_eq!(count(&store.open().unwrap(), 39).await, 1_000);
}

#[tokio::test]
async fn old_idempotency_answers_make_room() {
    let store = Store::new(Options {
        answers_max: 50,
        ..embedded::small()
    });
    let engine = store.open().unwrap();
    let keyed = |n: u64| Write {
        idempotency: Some(Idempotency::new("test", &n.to_string(), &[b"body"])),
        ..Write::plain(vec![like(n, 1)])
    };
    for n in 0..300 {
        engine.apply(keyed(n)).await.unwrap();
        store.clock.advance(1_000);
    }
    for _ in 0..2 {
        engine.export(KindId(0), None, 1).await.unwrap();
        apply(&engine, [like(1_000_000, 2)]).await;
    }
    assert!(
        !engine.apply(keyed(0)).await.unwrap().replayed,
        "the oldest went"
    );
    assert!(
        engine.apply(keyed(299)).await.unwrap().replayed,
        "the newest stayed"
    );
    store.clock.advance(DAY);
    assert!(
        !engine.apply(keyed(299)).await.unwrap().replayed,
        "a day is over"
    );
}

#[tokio::test]
async fn the_queue_is_bounded() {
    let store = Store::new(Options {
        queue_max_ops: 10,
        ..embedded::small()
    });
    let engine = store.open().unwrap();
    let writes = (0..200u64).map(|n| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            engine
                .apply(Write::plain((0..10).map(|t| like(n, t)).collect()))
                .await
        })
    });
    let (mut done, mut refused) = (0, 0);
    for write in writes.collect::<Vec<_>>() {
        match write.await.unwrap() {
            Ok(applied) => done += u64::from(applied.transitions.iter().all(|t| t.changed)),
            Err(WriteError::Overloaded { limit: 10, .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(done + refused, 200);
    for target in 0..10 {
        assert_eq!(
            count(&engine, target).await,
            done,
            "what was refused was not decided"
        );
    }
}

#[tokio::test]
async fn waiting_jobs_are_bounded() {
    let store = Store::new(Options {
        jobs_max_queued: 0,
        ..embedded::small()
    });
    let engine = store.open().unwrap();
    let refused = engine
        .start_job(acclaim_core::port::JobSpec::Recover(KindId(0)))
        .await;
    assert!(matches!(refused, Err(JobError::TooMany { queued: 0 })));
}

#[tokio::test]
async fn target_types_are_bounded() {
    let store = Store::new(embedded::small());
    let engine = store.open().unwrap();
    let of_type = |n: usize| {
        let mut op = like(1, 1);
        op.edge.target.target_type = TargetType::parse(&format!("T{n}")).unwrap();
        op
    };
    let limit = acclaim_core::limits::MAX_TARGET_TYPES;
    for chunk in (0..limit).collect::<Vec<_>>().chunks(1_000) {
        apply(&engine, chunk.iter().map(|n| of_type(*n))).await;
    }
    let refused = engine
        .apply(Write::plain(vec![of_type(0), of_type(limit)]))
        .await;
    assert!(
        matches!(refused, Err(WriteError::TooManyTargetTypes { .. })),
        "{refused:?}"
    );
    apply(&engine, [of_type(limit - 1)]).await;
    engine.stop().await.unwrap();
    drop(engine);
    let engine = store.open().unwrap();
    assert!(
        !engine
            .apply(Write::plain(vec![of_type(7)]))
            .await
            .unwrap()
            .transitions[0]
            .changed
    );
}
