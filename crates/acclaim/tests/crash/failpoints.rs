//! Deaths at named places, under load, and in the midst of a job.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use hyper::Method;
use rand::Rng;
use rand::rngs::StdRng;

use crate::client::{Client, Sent};
use crate::damage::{newest_segment, used};
use crate::load::Load;
use crate::round::Round;
use crate::server::{Server, check_is_clean};
use crate::world::World;
use crate::{rounds, seeded};

const LIMIT: Duration = Duration::from_secs(60);

/// Dies at a place and judges, half as often as there are kills. Which time it dies there is drawn,
/// up to `latest`.
fn die_at(place: &str, latest: u64) {
    seeded(async |_, mut chance| {
        let deaths = rounds().div_ceil(2);
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let mut world = World::default();
        let mut round = 0;
        for _ in 0..deaths {
            let nth = chance.random_range(1..=latest);
            let armed = format!("{place}:{nth}");
            let mut server = Server::try_start(&data, &[("ACCLAIM_FAILPOINT", &armed)]).unwrap();
            let begin = Instant::now();
            let mut loads = Vec::new();
            // One load after the other until the place is reached.
            while server.runs() {
                assert!(
                    begin.elapsed() < LIMIT,
                    "{armed} was not reached in {LIMIT:?}"
                );
                round += 1;
                let load = Load::begin(server.address, Round(round), &mut chance);
                let ticks = load.ticks.clone();
                loads.push((Round(round), load.records().await, ticks));
            }
            died(server);
            let server = Server::start(&data);
            for (round, records, ticks) in loads {
                world.judge(server.address, round, records, &ticks).await;
            }
            server.stop_cleanly();
            check_is_clean(&data);
        }
        let server = Server::start(&data);
        world.look_again(server.address).await;
        server.stop_cleanly();
    });
}

/// Waits for the death, which must be the sudden one.
fn died(server: Server) {
    let status = server.wait();
    assert_eq!(status.signal(), Some(9), "{status}");
}

#[test]
fn before_the_log_is_written() {
    die_at("commit.before-write", 300);
}

#[test]
fn before_the_log_is_durable() {
    die_at("commit.before-sync", 300);
}

#[test]
fn before_anybody_is_answered() {
    die_at("commit.before-answer", 300);
}

#[test]
fn before_the_store_takes_a_checkpoint() {
    die_at("checkpoint.before-ingest", 2);
}

#[test]
fn after_the_store_took_a_checkpoint() {
    die_at("checkpoint.after-ingest", 2);
}

/// A commit that was written and never made durable may be torn; it takes nothing with it.
#[test]
fn a_torn_commit_is_no_loss() {
    seeded(async |_, mut chance| {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let nth = chance.random_range(20..200);
        let armed = format!("commit.before-sync:{nth}");
        let server = Server::try_start(&data, &[("ACCLAIM_FAILPOINT", &armed)]).unwrap();
        let load = Load::begin(server.address, Round(1), &mut chance);
        let ticks = load.ticks.clone();
        let records = load.records().await;
        died(server);
        tear(&data, &mut chance);
        let server = Server::start(&data);
        let mut world = World::default();
        world.judge(server.address, Round(1), records, &ticks).await;
        server.stop_cleanly();
        check_is_clean(&data);
    });
}

/// Zeroes a few of the last bytes, which are of the commit that nobody was answered for.
fn tear(data: &std::path::Path, chance: &mut StdRng) {
    let segment = newest_segment(data);
    let mut bytes = fs::read(&segment).unwrap();
    let used = used(&bytes);
    let torn = used - chance.random_range(1..20);
    bytes[torn..].fill(0);
    fs::write(&segment, bytes).unwrap();
}

/// An erasure goes on after a death between two of its steps, and is whole in the end.
#[test]
fn in_a_job() {
    seeded(async |_, mut chance| {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let few = ("ACCLAIM_ENGINE__JOB_STEP_EDGES", "3");
        let server = Server::start(&data);
        let load = Load::begin(server.address, Round(1), &mut chance);
        let records = load.records().await;
        assert!(!records.is_empty());
        server.stop_cleanly();
        let armed = [("ACCLAIM_FAILPOINT", "job.step:2"), few];
        let server = Server::try_start(&data, &armed).unwrap();
        let user = Round(1).user(1);
        let erase = Sent {
            method: Method::DELETE,
            path: format!("/users/{user}"),
            body: None,
            key: None,
        };
        // The answer may be lost with the server, the job may not.
        let _ = Client::new(server.address).call(&erase).await;
        died(server);
        let server = Server::try_start(&data, &[few]).unwrap();
        let mut client = Client::new(server.address);
        erased(&mut client, &user).await;
        let mut world = World::default();
        world.accept(server.address, Round(1)).await;
        world.look_again(server.address).await;
        server.stop_cleanly();
        check_is_clean(&data);
    });
}

/// Waits until nothing is left of a user.
async fn erased(client: &mut Client, user: &str) {
    let begin = Instant::now();
    loop {
        let mut left = 0;
        for kind in ["likes", "dislikes", "follows"] {
            let numbers = client
                .ask(&format!("/{kind}/statistics?userId={user}"))
                .await;
            let numbers = numbers.json();
            left += numbers["given"].as_u64().unwrap() + numbers["received"].as_u64().unwrap();
        }
        if left == 0 {
            return;
        }
        assert!(begin.elapsed() < LIMIT, "{left} edges of {user} are left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
