//! The kills, each a round with users and targets of its own.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::load::Load;
use crate::round::Round;
use crate::rounds;
use crate::stage::Stage;
use crate::world::{Tally, World};

/// The target type of edges that no round makes; there are none here.
pub const OTHERS_TYPE: &str = "TRACK";

/// A batch has a part in each partition, and each part happens as a whole or not at all.
pub const BATCHES_ARE_WHOLE: bool = false;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Serve,
    Worker,
    MariaDb,
    Redis,
    Bus,
}

/// Nodes, workers and the ledger, by turns.
#[test]
fn nothing_is_lost_by_kills_of_nodes_workers_and_the_ledger() {
    run(&[Victim::Serve, Victim::Worker, Victim::MariaDb]);
}

/// Redis, which flushes before it answers.
#[test]
fn nothing_is_lost_by_kills_of_redis() {
    run(&[Victim::Redis]);
}

/// The bus, and what stands before and behind it.
#[test]
fn nothing_is_lost_by_kills_of_the_bus_workers_and_the_ledger() {
    run(&[Victim::Bus, Victim::Worker, Victim::MariaDb]);
}

fn run(victims: &[Victim]) {
    let seed = acclaim_testkit::settings::seed();
    let tell = Tell(seed);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(kill_all(victims, StdRng::seed_from_u64(seed)));
    std::mem::forget(tell);
}

async fn kill_all(victims: &[Victim], mut chance: StdRng) {
    let began = Instant::now();
    let mut stage = match victims.contains(&Victim::Bus) {
        true => Stage::with_bus().await,
        false => Stage::begin().await,
    };
    let (mut world, mut tally) = (World::default(), Tally::default());
    let kills = rounds() * victims.len() as u64;
    for (round, victim) in (1..=kills).map(Round).zip(victims.iter().cycle()) {
        let address = stage.serve.as_ref().unwrap().address;
        let load = Load::begin(address, round, &mut chance);
        // The moment of death is drawn: from the first calls on to the midst of many.
        pause(&mut chance, 500).await;
        kill(&mut stage, *victim, &mut chance).await;
        // Where callers are still there, they see it come back.
        pause(&mut chance, 200).await;
        load.end();
        let ticks = load.ticks.clone();
        let records = load.records().await;
        stage.rest().await;
        let judge = stage.other.as_ref().unwrap().address;
        tally.add(world.judge(judge, round, records, &ticks).await);
    }
    let judge = stage.other.as_ref().unwrap().address;
    world.look_again(judge).await;
    stage.check_is_clean();
    // And without Redis: the ledger alone.
    stage.redis.flush_all().await;
    stage.rest().await;
    world.look_again(judge).await;
    stage.check_is_clean();
    for process in [&mut stage.serve, &mut stage.other, &mut stage.worker] {
        process.take().unwrap().stop_cleanly();
    }
    assert!(tally.acknowledged > 0, "the load wrote something");
    report(victims, tally, began.elapsed());
}

async fn pause(chance: &mut StdRng, longest_millis: u64) {
    // A moment of chance is the subject; there is nothing to wait for.
    let millis = chance.random_range(1..longest_millis);
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// Kills it and has it back.
async fn kill(stage: &mut Stage, victim: Victim, chance: &mut StdRng) {
    match victim {
        Victim::Serve => {
            stage.serve.take().unwrap().kill();
            stage.start_serve();
        }
        Victim::Worker => {
            stage.worker.take().unwrap().kill();
            // Sometimes longer than its leases.
            pause(chance, 1_500).await;
            stage.start_worker();
        }
        Victim::MariaDb => {
            stage.mariadb.kill();
            pause(chance, 500).await;
            stage.mariadb.restart().await;
        }
        Victim::Redis => {
            stage.redis.kill();
            pause(chance, 500).await;
            stage.redis.restart().await;
        }
        Victim::Bus => {
            let kafka = stage.kafka.as_ref().unwrap();
            kafka.kill();
            pause(chance, 500).await;
            kafka.restart().await;
        }
    }
}

/// Prints the seed when it is dropped, which only a panic does.
pub struct Tell(pub u64);

impl Drop for Tell {
    #[expect(
        clippy::print_stderr,
        reason = "the seed is part of the failure's text"
    )]
    fn drop(&mut self) {
        eprintln!("ACCLAIM_SEED={} asks for the same again", self.0);
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the figures of a long run are what it is run for"
)]
fn report(victims: &[Victim], tally: Tally, took: Duration) {
    let Tally {
        acknowledged,
        unknown,
        repeated,
    } = tally;
    println!(
        "{} kills each of {victims:?}: {acknowledged} writes acknowledged, none lost, no count \
         wrong; {unknown} unknown, {repeated} repeated under their keys; {took:?}",
        rounds()
    );
}
