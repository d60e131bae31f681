//! MariaDB dies, hangs, and loses its answers.

use std::time::Duration;

use acclaim_core::port::{Ack, Admin, JobSpec, JobState};
use acclaim_core::{Engine, Id};
use acclaim_servers::{MariaDb, Proxy, until};

use super::load::{Habits, LIMIT};
use super::stage::{Stage, config};
use crate::servers::RedisSide;

/// So few targets that all of them are in Redis by the time that the ledger goes: the others cannot
/// be written to without it.
const WARM: Habits = Habits {
    posts: 5,
    ack: Ack::Default,
    keyed: true,
};

/// Waits until the node's health says this of the ledger.
async fn ledger_is(stage: &Stage, up: bool) {
    let engine = stage.engine();
    until(LIMIT, "the ledger's state to be known", || async {
        let health = engine.health();
        let ledger = health.dependencies.iter().find(|one| one.name == "ledger");
        if ledger.unwrap().up == up {
            Ok(())
        } else {
            Err(format!("{health:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_is_killed_and_comes_back() {
    let (side, mariadb) = tokio::join!(RedisSide::single(), MariaDb::start());
    let database = mariadb.database().await;
    let stage = Stage::with(config(&side, database.url(), "one"), None, WARM).await;
    for _ in 0..2 {
        mariadb.kill();
        // Targets that are in Redis are written to all the while.
        ledger_is(&stage, false).await;
        stage.progress(50).await;
        mariadb.restart().await;
        stage.progress(100).await;
        ledger_is(&stage, true).await;
    }
    stage.finish(&side).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_hangs_and_goes_on() {
    let (side, mariadb) = tokio::join!(RedisSide::single(), MariaDb::start());
    let database = mariadb.database().await;
    let stage = Stage::with(config(&side, database.url(), "one"), None, WARM).await;
    for _ in 0..2 {
        mariadb.pause().await;
        ledger_is(&stage, false).await;
        stage.progress(50).await;
        // Longer than a lease.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        mariadb.resume();
        ledger_is(&stage, true).await;
        stage.progress(50).await;
    }
    stage.finish(&side).await;
}

/// Batches that were committed and whose answers were lost are not counted twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_commits_are_lost() {
    let (side, database) = tokio::join!(RedisSide::single(), crate::servers::database());
    let port = database.url().split(':').next_back().unwrap();
    let port: u16 = port.split('/').next().unwrap().parse().unwrap();
    let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await;
    let by_proxy = database.url_by(proxy.address().port());
    let stage = Stage::begin(config(&side, &by_proxy, "one"), None).await;
    for round in 1..=8 {
        proxy.lose_reply_to(b"COMMIT");
        until(LIMIT, "a commit without an answer", || async {
            match proxy.sprung() {
                sprung if sprung == round => Ok(()),
                sprung => Err(format!("{sprung} of {round}")),
            }
        })
        .await;
        stage.progress(20).await;
    }
    stage.finish(&side).await;
}

/// A job that meets a ledger that is away goes on when it is back, and is not failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_waits_for_the_ledger() {
    let (side, database) = tokio::join!(RedisSide::single(), crate::servers::database());
    let port = database.url().split(':').next_back().unwrap();
    let port: u16 = port.split('/').next().unwrap().parse().unwrap();
    let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await;
    let mut config = config(&side, &database.url_by(proxy.address().port()), "one");
    // An answer that is lost is a ledger that is away.
    config.ledger.attempts = 1;
    config.limits.job_lease_millis = 200;
    let mut stage = Stage::begin(config, None).await;
    stage.rest().await;

    proxy.lose_reply_to(b"FROM users WHERE kind");
    let engine = stage.engine();
    let nobody = Id::Number(u64::MAX);
    let job = engine.start_job(JobSpec::EraseUser(nobody)).await.unwrap();
    until(LIMIT, "the job to be done", || async {
        let found = engine.job(job).await.map_err(|error| error.to_string())?;
        let found = found.unwrap();
        assert_ne!(found.state, JobState::Failed, "{found:?}");
        match found.state {
            JobState::Done => Ok(()),
            _ => Err(format!("{found:?}")),
        }
    })
    .await;
    assert_eq!(proxy.sprung(), 1);
    stage.go_on();
    stage.finish(&side).await;
}
