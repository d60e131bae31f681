//! Deaths at named places, of nodes and of workers, under load.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use acclaim_servers::until;
use hyper::Method;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::client::{Client, Sent};
use crate::kill::Tell;
use crate::load::Load;
use crate::process::Process;
use crate::round::{Round, USERS};
use crate::rounds;
use crate::stage::Stage;
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(60);

/// Places where a process dies, each with the latest time that it comes there.
type Places = &'static [(&'static str, u64)];

/// Where a node that serves dies.
const OF_SERVE: Places = &[
    ("decide.before-call", 300),
    ("decide.before-answer", 300),
    ("load.claimed", 3),
];

/// Where a worker dies.
const OF_WORKER: Places = &[
    ("leases.taken", 1),
    ("drain.before-apply", 6),
    ("apply.before-commit", 6),
    ("drain.before-tell", 6),
];

/// Where a worker dies that has a bus.
const OF_WORKER_WITH_BUS: Places = &[
    ("relay.before-publish", 6),
    ("relay.before-mark", 6),
    ("record.before-apply", 6),
    ("record.before-tell", 6),
    ("record.before-acknowledge", 6),
];

/// One stage for all places, half as often as there are kills; each death is judged by itself.
#[test]
fn nothing_is_lost_by_deaths_at_named_places() {
    run(|chance| die_everywhere(Stage::begin(), OF_SERVE, OF_WORKER, chance));
}

#[test]
fn nothing_is_lost_by_deaths_before_and_behind_a_bus() {
    run(|chance| die_everywhere(Stage::with_bus(), &[], OF_WORKER_WITH_BUS, chance));
}

/// Runs something by chance, whose seed is told if it fails.
fn run<F: Future<Output = ()>>(what: impl FnOnce(StdRng) -> F) {
    let seed = acclaim_testkit::settings::seed();
    let tell = Tell(seed);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(what(StdRng::seed_from_u64(seed)));
    std::mem::forget(tell);
}

async fn die_everywhere(
    stage: impl Future<Output = Stage>,
    of_serve: Places,
    of_worker: Places,
    mut chance: StdRng,
) {
    let mut stage = stage.await;
    let (mut world, mut round) = (World::default(), Round(0));
    let serve = of_serve.iter().map(|place| (Dying::Serve, place));
    let worker = of_worker.iter().map(|place| (Dying::Worker, place));
    let all: Vec<_> = serve.chain(worker).collect();
    for _ in 0..rounds().div_ceil(2) {
        for (dying, (place, latest)) in &all {
            let armed = format!("{place}:{}", chance.random_range(1..=*latest));
            dying.arm(&mut stage, &armed).await;
            die(
                &mut stage,
                *dying,
                &armed,
                &mut round,
                &mut world,
                &mut chance,
            )
            .await;
        }
    }
    let judge = stage.other.as_ref().unwrap().address;
    world.look_again(judge).await;
    stage.check_is_clean();
    for process in [&mut stage.serve, &mut stage.other, &mut stage.worker] {
        process.take().unwrap().stop_cleanly();
    }
}

/// An erasure whose node dies between two steps is ended by another node.
#[test]
fn a_job_goes_on_after_its_node_died() {
    run(die_in_a_job);
}

async fn die_in_a_job(mut chance: StdRng) {
    let mut stage = Stage::begin().await;
    let round = Round(1);
    let load = Load::begin(stage.serve.as_ref().unwrap().address, round, &mut chance);
    assert!(!load.records().await.is_empty());
    stage.serve.take().unwrap().stop_cleanly();
    let armed = Process::start_armed("serve", &stage.config(), "job.step:2");
    let (armed_at, judge) = (armed.address, stage.other.as_ref().unwrap().address);
    stage.serve = Some(armed);
    // The other node may be quicker to take one; then there is another.
    for user in 0..USERS {
        let user = round.user(user.into());
        let erase = Sent {
            method: Method::DELETE,
            path: format!("/users/{user}"),
            body: None,
            key: None,
        };
        // The answer may be lost with the node, the job may not.
        let _ = Client::new(armed_at).call(&erase).await;
        until(LIMIT, "the user to be gone", || left_of(judge, &user)).await;
        if !stage.serve.as_mut().unwrap().runs() {
            break;
        }
    }
    stage.serve.take().unwrap().died();
    stage.start_serve();
    stage.rest().await;
    let mut world = World::default();
    world.accept(judge, round).await;
    world.look_again(judge).await;
    stage.check_is_clean();
}

/// An error while anything is left of a user.
async fn left_of(address: SocketAddr, user: &str) -> Result<(), String> {
    let mut client = Client::new(address);
    for kind in ["likes", "dislikes", "follows"] {
        let path = format!("/{kind}/statistics?userId={user}");
        let numbers = client.ask(&path).await.json();
        if numbers["given"] != 0 || numbers["received"] != 0 {
            return Err(format!("{kind}: {numbers}"));
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Dying {
    Serve,
    Worker,
}

impl Dying {
    /// Has one die at a place.
    async fn arm(self, stage: &mut Stage, armed: &str) {
        match self {
            Self::Serve => {
                // With everything in the ledger, what was loaded is made cold again.
                stage.check_is_clean();
                stage.serve.take().unwrap().stop_cleanly();
                stage.redis.flush_all().await;
                stage.serve = Some(Process::start_armed("serve", &stage.config(), armed));
            }
            Self::Worker => {
                stage.worker.take().unwrap().stop_cleanly();
                stage.worker = Some(Process::start_armed("worker", &stage.config(), armed));
            }
        }
    }

    fn process(self, stage: &mut Stage) -> &mut Process {
        let process = match self {
            Self::Serve => &mut stage.serve,
            Self::Worker => &mut stage.worker,
        };
        process.as_mut().unwrap()
    }
}

async fn dead(process: &mut Process) {
    while process.runs() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Loads until the armed process is dead, has it back, and judges.
async fn die(
    stage: &mut Stage,
    dying: Dying,
    armed: &str,
    round: &mut Round,
    world: &mut World,
    chance: &mut StdRng,
) {
    let begin = Instant::now();
    let mut loads = Vec::new();
    while dying.process(stage).runs() {
        assert!(
            begin.elapsed() < LIMIT,
            "{armed} was not reached in {LIMIT:?}"
        );
        round.0 += 1;
        let address = stage.serve.as_ref().unwrap().address;
        let mut load = Load::begin(address, *round, chance);
        let ticks = load.ticks.clone();
        // It ends with the node that takes it, or by itself; without a worker it need not go on.
        tokio::select! {
            () = load.run_out() => {}
            () = dead(dying.process(stage)) => load.end(),
        }
        loads.push((*round, load.records().await, ticks));
    }
    match dying {
        Dying::Serve => {
            stage.serve.take().unwrap().died();
            stage.start_serve();
        }
        Dying::Worker => {
            stage.worker.take().unwrap().died();
            stage.start_worker();
        }
    }
    stage.rest().await;
    let judge = stage.other.as_ref().unwrap().address;
    for (round, records, ticks) in loads {
        world.judge(judge, round, records, &ticks).await;
    }
}
