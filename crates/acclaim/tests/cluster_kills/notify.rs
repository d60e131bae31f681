//! Notifications through kills: of the node that folds and delivers, at any moment and between what
//! it wrote and its commit, and of the ledger. Whoever was answered is told of, in the list and by
//! the webhook, and once.

use acclaim_servers::until;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

use crate::client::Client;
use crate::kill::Tell;
use crate::process::Process;
use crate::rounds;
use crate::stage::{Stage, is_on_duty};
use crate::told::{Likes, all_are_told, receiver, set_up, write};

const SOON: Duration = Duration::from_secs(60);
const WRITERS: u64 = 4;
/// Likes of one writer in one round.
const LIKES: u64 = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// The node that folds and delivers.
    Holder,
    /// The ledger.
    MariaDb,
}

#[test]
fn kills_lose_no_notification_and_no_delivery() {
    let seed = acclaim_testkit::settings::seed();
    let tell = Tell(seed);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(kill_all(StdRng::seed_from_u64(seed)));
    std::mem::forget(tell);
}

async fn kill_all(mut chance: StdRng) {
    let mut stage = Stage::begin().await;
    let (hook, told) = receiver().await;
    set_up(stage.other.as_ref().unwrap().address, hook).await;
    let mut answered = Likes::new();
    let mut first_user = 1_000;
    for _ in 0..rounds() {
        for victim in [Victim::Holder, Victim::MariaDb] {
            let mut writers = Vec::new();
            for writer in 0..WRITERS {
                let node = [&stage.serve, &stage.other][(writer % 2) as usize];
                let address = node.as_ref().unwrap().address;
                writers.push(tokio::spawn(write(address, first_user, LIKES)));
                first_user += LIKES;
            }
            // A moment of chance is the subject; there is nothing to wait for.
            tokio::time::sleep(Duration::from_millis(chance.random_range(10..400))).await;
            match victim {
                Victim::Holder => kill_the_holder(&mut stage).await,
                Victim::MariaDb => {
                    stage.mariadb.kill();
                    tokio::time::sleep(Duration::from_millis(chance.random_range(1..1_500))).await;
                    stage.mariadb.restart().await;
                }
            }
            for writer in writers {
                answered.extend(writer.await.unwrap());
            }
        }
    }
    stage.rest().await;
    assert!(!answered.is_empty(), "somebody was answered");
    let mut client = Client::new(stage.other.as_ref().unwrap().address);
    all_are_told(&mut client, &answered, &told).await;
    stage.check_is_clean();
    for process in [&mut stage.serve, &mut stage.other, &mut stage.worker] {
        process.take().unwrap().stop_cleanly();
    }
}

/// Kills the node that folds, and has it back as another one.
async fn kill_the_holder(stage: &mut Stage) {
    let first = stage.serve.as_ref().unwrap().address;
    let second = stage.other.as_ref().unwrap().address;
    let is_first = until(SOON, "a node to fold", || async move {
        match (is_on_duty(first).await, is_on_duty(second).await) {
            (true, _) => Ok(true),
            (_, true) => Ok(false),
            _ => Err("nobody does".to_owned()),
        }
    })
    .await;
    let config = stage.config();
    let seat = if is_first {
        &mut stage.serve
    } else {
        &mut stage.other
    };
    seat.take().unwrap().kill();
    *seat = Some(Process::start("serve", &config));
}

/// Both nodes die in turn with a batch written and not committed; what it was is done by the other.
#[cfg(feature = "failpoints")]
#[test]
fn a_holder_that_dies_before_its_commit_is_followed() {
    let seed = acclaim_testkit::settings::seed();
    let tell = Tell(seed);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(die_before_commits(StdRng::seed_from_u64(seed)));
    std::mem::forget(tell);
}

#[cfg(feature = "failpoints")]
async fn die_before_commits(mut chance: StdRng) {
    let mut stage = Stage::begin().await;
    let (hook, told) = receiver().await;
    set_up(stage.other.as_ref().unwrap().address, hook).await;
    let mut answered = Likes::new();
    for round in 0..2 {
        stage.serve.take().unwrap().stop_cleanly();
        let armed = format!("notes.before-commit:{}", chance.random_range(2..20));
        let mut dying = Process::start_armed("serve", &stage.config(), &armed);
        // The other gives way, so that the armed one folds.
        stage.other.take().unwrap().stop_cleanly();
        let writer = tokio::spawn(write(dying.address, 1_000 + round * 500, 500));
        until(SOON, "the armed node to die", || {
            let outcome = match dying.runs() {
                true => Err("it runs".to_owned()),
                false => Ok(()),
            };
            async { outcome }
        })
        .await;
        dying.died();
        answered.extend(writer.await.unwrap());
        stage.start_serve();
        stage.other = Some(Process::start("serve", &stage.config()));
    }
    stage.rest().await;
    let mut client = Client::new(stage.other.as_ref().unwrap().address);
    all_are_told(&mut client, &answered, &told).await;
    stage.check_is_clean();
}
