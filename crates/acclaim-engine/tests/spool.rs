//! The texts of import jobs: their limits, and when they go.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod embedded;

use std::path::Path;
use std::sync::Arc;

use acclaim_core::port::{Admin, ImportSpec, Job, JobId, JobSpec, JobState};
use acclaim_core::transfer::{Defaults, Format};
use acclaim_core::{JobError, KindId, Kinds, Rev};
use acclaim_engine::embedded::{EmbeddedEngine, Options, restore};
use acclaim_testkit::ManualClock;
use prometheus_client::registry::Registry;
use tempfile::TempDir;

const NOW: Rev = Rev(1_795_132_800_000_000);

fn open(dir: &Path, options: &Options) -> Arc<EmbeddedEngine> {
    let kinds = Kinds::new([]).unwrap();
    let registry = &mut Registry::default();
    EmbeddedEngine::open(dir, kinds, options.clone(), ManualClock::at(NOW), registry).unwrap()
}

fn spec() -> ImportSpec {
    ImportSpec {
        format: Format::Ndjson,
        defaults: Defaults::default(),
    }
}

fn texts(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("spool")).unwrap().count()
}

/// Waits until the directory has no text.
async fn no_text(dir: &Path) {
    while texts(dir) > 0 {
        tokio::task::yield_now().await;
    }
}

async fn import(engine: &EmbeddedEngine, text: &[u8]) -> Result<JobId, JobError> {
    let mut spool = engine.begin_import(spec()).await?;
    spool.write(text).await?;
    spool.start().await
}

async fn ended(engine: &EmbeddedEngine, id: JobId) -> Job {
    loop {
        let job = engine.job(id).await.unwrap().unwrap();
        if matches!(job.state, JobState::Done | JobState::Failed) {
            return job;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_may_be_as_long_as_the_limit() {
    let dir = TempDir::new().unwrap();
    let options = Options {
        spool_max_bytes: 1_000,
        ..embedded::small()
    };
    let engine = open(dir.path(), &options);
    let too_long = import(&engine, &[b'\n'; 1_001]).await;
    assert_eq!(too_long, Err(JobError::TooLarge { limit: 1_000 }));
    let mut spool = engine.begin_import(spec()).await.unwrap();
    spool.write(&[b'\n'; 600]).await.unwrap();
    let no_room = import(&engine, &[b'\n'; 401]).await;
    let (held, limit) = (600, 1_000);
    assert_eq!(no_room, Err(JobError::SpoolsFull { held, limit }));
    spool.write(&[b'\n'; 400]).await.unwrap();
    let id = spool.start().await.unwrap();
    assert_eq!(ended(&engine, id).await.state, JobState::Done);
    no_text(dir.path()).await;
    // What a job was done with, and what was refused, has made room.
    loop {
        match import(&engine, &[b'\n'; 1_000]).await {
            Ok(id) => break assert_eq!(ended(&engine, id).await.done, 1_000),
            Err(error) => assert!(matches!(error, JobError::SpoolsFull { .. }), "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_under_way_count_as_jobs() {
    let dir = TempDir::new().unwrap();
    let options = Options {
        jobs_max_queued: 1,
        ..embedded::small()
    };
    let engine = open(dir.path(), &options);
    let spool = engine.begin_import(spec()).await.unwrap();
    let too_many = JobError::TooMany { queued: 1 };
    let second = engine.begin_import(spec()).await.map(|_| ());
    assert_eq!(second, Err(too_many.clone()));
    let recover = || engine.start_job(JobSpec::Recover(KindId(0)));
    assert_eq!(recover().await, Err(too_many));
    drop(spool);
    assert_eq!(recover().await, Ok(1));
    no_text(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_without_a_job_go_at_the_next_start() {
    let dir = TempDir::new().unwrap();
    let options = Options {
        spool_max_bytes: 10,
        ..embedded::small()
    };
    open(dir.path(), &options).stop().await.unwrap();
    std::fs::write(dir.path().join("spool/left"), "what a crash left").unwrap();
    let engine = open(dir.path(), &options);
    assert_eq!(texts(dir.path()), 0);
    import(&engine, b"0123456789").await.unwrap();
}

/// A backup has the job and not its text: the restored store says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_leaves_texts_out() {
    let dir = TempDir::new().unwrap();
    let options = Options {
        job_step_edges: 1,
        ..embedded::small()
    };
    let engine = open(dir.path(), &options);
    let line = "{\"kind\":\"likes\",\"userId\":1,\"targetType\":\"POST\",\"targetId\":1}\n";
    let id = import(&engine, line.repeat(20_000).as_bytes())
        .await
        .unwrap();
    let (backup, restored) = (dir.path().join("backup"), dir.path().join("restored"));
    let (from, to) = (Arc::clone(&engine), backup.clone());
    tokio::task::spawn_blocking(move || from.backup(&to))
        .await
        .unwrap()
        .unwrap();
    restore(&backup, &restored).unwrap();
    let copy = open(&restored, &options);
    let job = ended(&copy, id).await;
    assert_eq!(job.state, JobState::Failed);
    assert!(job.error.unwrap().contains("send it again"));
    let again = import(&copy, line.as_bytes()).await.unwrap();
    assert_eq!(ended(&copy, again).await.state, JobState::Done);
}
