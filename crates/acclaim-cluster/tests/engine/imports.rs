//! The texts of imports that run as jobs: their limits, when they go, and that any node works them
//! off.

use std::time::Duration;

use acclaim_cluster::engine::Cluster;
use acclaim_core::JobError;
use acclaim_core::port::{Admin, ImportSpec, Job, JobId, JobState};
use acclaim_core::transfer::{Defaults, Format};
use acclaim_servers::until;
use acclaim_testkit::ManualClock;
use acclaim_testkit::conformance::{Harness, START, kinds};

use crate::harness::Clustered;
use crate::nodes::another;

/// A few pieces.
const LIMIT: u64 = 1_000_000;

fn spec() -> ImportSpec {
    ImportSpec {
        format: Format::Ndjson,
        defaults: Defaults::default(),
    }
}

async fn import(engine: &Cluster, bytes: usize) -> Result<JobId, JobError> {
    let mut spool = engine.begin_import(spec()).await?;
    spool.write(&vec![b'\n'; bytes]).await?;
    spool.start().await
}

async fn ended(engine: &Cluster, id: JobId) -> Job {
    let look = || async {
        let job = engine.job(id).await.unwrap().unwrap();
        match job.state {
            JobState::Done | JobState::Failed => Ok(job),
            state => Err(format!("{state:?}")),
        }
    };
    until(Duration::from_secs(60), "the job ends", look).await
}

async fn two_nodes(idle_seconds: u64) -> (Clustered, Cluster) {
    let node = Clustered::open(kinds(), ManualClock::at(START)).await;
    let limited = another(&node, |config| {
        config.limits.spool_max_bytes = LIMIT;
        config.limits.spool_idle_seconds = idle_seconds;
    });
    let limited = limited.await;
    (node, limited)
}

/// Waits until all texts have gone: then one as long as the limit is taken.
async fn whole_room(engine: &Cluster) {
    let take = || async {
        match import(engine, LIMIT as usize).await {
            Ok(id) => Ok(id),
            Err(error @ JobError::SpoolsFull { .. }) => Err(error.to_string()),
            Err(error) => panic!("{error}"),
        }
    };
    let id = until(Duration::from_secs(60), "there is room", take).await;
    let job = ended(engine, id).await;
    assert_eq!((job.state, job.done), (JobState::Done, LIMIT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_have_a_limit_together() {
    let (_node, engine) = two_nodes(600).await;
    let too_long = import(&engine, LIMIT as usize + 1).await;
    assert_eq!(too_long, Err(JobError::TooLarge { limit: LIMIT }));
    let mut spool = engine.begin_import(spec()).await.unwrap();
    // Whole pieces, so that they are written.
    spool.write(&[b'\n'; 512 * 1024]).await.unwrap();
    let (held, limit) = (512 * 1024, LIMIT);
    let left = usize::try_from(limit - held).unwrap();
    let no_room = import(&engine, left + 1).await.unwrap_err();
    assert!(matches!(no_room, JobError::SpoolsFull { .. }), "{no_room}");
    // What was refused is removed beside it; then the rest of the limit is free to the byte.
    let other = || async {
        let id = import(&engine, left).await;
        id.map_err(|error| error.to_string())
    };
    let id = until(Duration::from_secs(60), "there is room", other).await;
    assert_eq!(ended(&engine, id).await.state, JobState::Done);
    let id = spool.start().await.unwrap();
    assert_eq!(ended(&engine, id).await.state, JobState::Done);
    whole_room(&engine).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_that_died_was_taking_goes() {
    let (_node, engine) = two_nodes(1).await;
    let mut spool = engine.begin_import(spec()).await.unwrap();
    spool.write(&[b'\n'; 512 * 1024]).await.unwrap();
    // Nobody drops it.
    let mut spool = std::mem::ManuallyDrop::new(spool);
    whole_room(&engine).await;
    let late = spool.write(&[b'\n'; 400 * 1024]).await;
    assert!(matches!(late, Err(JobError::Spool(_))), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_is_not_there_fails_its_job() {
    let (node, engine) = two_nodes(600).await;
    // Nobody runs jobs but this one, which is told of a text and not given it.
    let text = acclaim_cluster::ledger::journals::texts::TextId::new();
    let ledger = engine.ledger();
    assert!(ledger.begin_text(text).await.unwrap());
    ledger.take_room(text, 10, LIMIT).await.unwrap();
    let work = acclaim_cluster::ledger::journals::imports::ImportWork {
        text,
        format: Format::Ndjson,
        kind: None,
        target_type: None,
        taken: START,
        step_lines: 10,
    };
    let id = ledger.queue_import(&work).await.unwrap().unwrap();
    let job = ended(&engine, id).await;
    assert_eq!(job.state, JobState::Failed);
    assert!(job.error.unwrap().contains("send it again"));
    drop(node);
}
