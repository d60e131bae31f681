//! Random histories: what nobody thought of writing as a case.
//!
//! A history is a list of steps over few users and targets, so that they meet often. It is played
//! on a [`Stage`], where the engine's every answer is compared with the model's. A history that
//! fails is shrunk to a short one and printed with the seed that brings it back.
//!
//! - `ACCLAIM_HISTORY_SECONDS`: how long to go on, 4 by default.
//! - `ACCLAIM_SEED`: where to begin, by default chosen by chance.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use acclaim_core::limits::IDEMPOTENCY_SECONDS;
use acclaim_core::port::JobSpec;
use acclaim_core::{Action, EdgeKey, KindId, Op, Rev, Transition, WriteError};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use tokio::runtime::Runtime;

use crate::conformance::{
    DAY, Ending, HOUR, Harness, MINUTE, SECOND, Stage, edge, id, import, kinds, set, target,
};
use crate::settings;

const USERS: [&str; 7] = ["1", "2", "3", "01", "u", "u:1", "18446744073709551615"];
const TARGETS: [&str; 11] = [
    "POST:1",
    "POST:2",
    "POST:01",
    "TRACK:1",
    "A:u",
    "USER:1",
    "USER:2",
    "USER:3",
    "USER:01",
    "USER:u",
    "USER:18446744073709551615",
];
const KEYS: u8 = 4;

/// An op in small numbers, which shrink well.
#[derive(Clone, Copy, Debug)]
struct Small {
    kind: u8,
    user: usize,
    target: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Set,
    Unset,
    Toggle,
    /// An import of an edge this many minutes old.
    Import(u64),
}

#[derive(Clone, Debug)]
enum Step {
    /// One write.
    Write(Vec<Small>),
    /// One write under an idempotency key.
    Keyed(u8, Vec<Small>),
    /// Toggles of one user on many targets.
    Many(Small, usize),
    /// Time passes, in microseconds.
    Pass(u64),
    /// The clock goes back, in microseconds.
    SetBack(u64),
    /// The engine ends and is opened again.
    Reopen(Ending),
    /// Everything is compared.
    Compare,
}

/// What a history ends with, since what an erased edge leaves behind is not promised.
#[derive(Clone, Copy, Debug)]
enum Last {
    Nothing,
    EraseUser(usize),
    EraseTarget(usize),
}

fn small() -> impl Strategy<Value = Small> {
    let what = prop_oneof![
        4 => Just(What::Set),
        3 => Just(What::Unset),
        4 => Just(What::Toggle),
        1 => (0u64..3 * 24 * 60).prop_map(What::Import),
        1 => (0u64..450 * 24 * 60).prop_map(What::Import),
    ];
    let kind = prop_oneof![3 => 0u8..3, 1 => 3u8..7];
    (kind, 0..USERS.len(), 0..TARGETS.len(), what).prop_map(|(kind, user, target, what)| Small {
        kind,
        user,
        target,
        what,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let ops = || prop::collection::vec(small(), 1..6);
    let passes = prop_oneof![
        1u64..SECOND,
        1u64..2 * HOUR,
        1u64..2 * DAY,
        20 * DAY..40 * DAY
    ];
    let ending = prop_oneof![Just(Ending::Clean), Just(Ending::Crash)];
    prop_oneof![
        30 => ops().prop_map(Step::Write),
        4 => (0..KEYS, ops()).prop_map(|(key, ops)| Step::Keyed(key, ops)),
        1 => (small(), 1usize..700).prop_map(|(small, many)| Step::Many(small, many)),
        8 => passes.prop_map(Step::Pass),
        1 => (1u64..3 * HOUR).prop_map(Step::SetBack),
        2 => ending.prop_map(Step::Reopen),
        2 => Just(Step::Compare),
    ]
}

fn last() -> impl Strategy<Value = Last> {
    prop_oneof![
        2 => Just(Last::Nothing),
        1 => (0..USERS.len()).prop_map(Last::EraseUser),
        1 => (0..TARGETS.len()).prop_map(Last::EraseTarget),
    ]
}

/// Plays random histories on engines of a harness until the time is over.
///
/// # Panics
/// When an engine differs from the model, with the shortest history found that shows it.
pub fn run<H: Harness>() {
    run_for::<H>(settings::seconds("ACCLAIM_HISTORY_SECONDS", 4));
}

/// The same for so long.
///
/// # Panics
/// As [`run`].
pub fn run_for<H: Harness>(time: Duration) {
    let seed = settings::seed();
    let end = Instant::now() + time;
    let runtime = Runtime::new().expect("a runtime starts");
    let mut played = 0u64;
    while played == 0 || Instant::now() < end {
        if let Err(failure) = play_one::<H>(&runtime, seed.wrapping_add(played)) {
            panic!(
                "ACCLAIM_SEED={} brings this back\n{failure}",
                seed.wrapping_add(played)
            );
        }
        played += 1;
    }
}

fn play_one<H: Harness>(runtime: &Runtime, seed: u64) -> Result<(), String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: 1,
        max_shrink_iters: 400,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let history = (prop::collection::vec(step(), 1..60), last());
    let played = runner.run(&history, |(steps, last)| {
        runtime.block_on(async {
            let limit = Duration::from_secs(120);
            let player = Player::open::<H>().await;
            let played = tokio::time::timeout(limit, player.play(steps, last)).await;
            played.map_err(|_| TestCaseError::fail("a history took longer than two minutes"))
        })
    });
    played.map_err(|failure| failure.to_string())
}

/// A stage, and what has to be known about the past to say what is next.
struct Player {
    stage: Stage,
    answers: HashMap<u8, (String, Rev, Vec<Transition>)>,
    /// The latest time that the clock showed.
    latest: Rev,
}

impl Player {
    async fn open<H: Harness>() -> Self {
        let stage = Stage::open::<H>().await;
        let latest = stage.now();
        Self {
            stage,
            answers: HashMap::new(),
            latest,
        }
    }

    async fn play(mut self, steps: Vec<Step>, last: Last) {
        for step in steps {
            self.step(step).await;
            self.latest = self.latest.max(self.stage.now());
        }
        self.catch_up();
        self.stage.compare().await;
        match last {
            Last::Nothing => {}
            Last::EraseUser(user) => self.erase(JobSpec::EraseUser(id(USERS[user]))).await,
            Last::EraseTarget(of) => self.erase(JobSpec::EraseTarget(target(TARGETS[of]))).await,
        }
        self.stage.reopen(Ending::Clean).await;
        self.stage.finish().await;
    }

    async fn erase(&mut self, spec: JobSpec) {
        self.stage.advance(SECOND);
        self.stage.run_job(spec).await;
        self.stage.compare().await;
    }

    /// Rankings, daily numbers and the age of answers follow the clock; after it went back they
    /// are compared again when it is where it was.
    fn catch_up(&self) {
        if self.stage.now() < self.latest {
            self.stage.set_clock(self.latest);
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Write(small) => {
                let ops = self.ops(&small);
                self.stage.apply(ops).await;
            }
            Step::Keyed(key, small) => self.keyed(key, &small).await,
            Step::Many(small, many) => {
                let ops = many_of(small, many);
                self.stage.apply(ops).await;
            }
            Step::Pass(micros) => self.stage.advance(micros),
            Step::SetBack(micros) => self.stage.set_clock(Rev(self.stage.now().0 - micros)),
            Step::Reopen(ending) => {
                self.catch_up();
                self.stage.reopen(ending).await;
            }
            Step::Compare => {
                self.catch_up();
                self.stage.compare().await;
            }
        }
    }

    async fn keyed(&mut self, key: u8, small: &[Small]) {
        self.catch_up();
        let request = format!("{small:?}");
        let (now, ops) = (self.stage.now(), self.ops(small));
        let known = self.answers.get(&key);
        let known = known.filter(|(_, at, _)| now.0 < at.0 + IDEMPOTENCY_SECONDS * SECOND);
        let known = known.cloned();
        let name = key.to_string();
        let answer = self.stage.apply_keyed(&name, &request, ops).await;
        match known {
            Some((first, _, transitions)) if first == request => {
                assert_eq!(answer, Ok((transitions, true)), "a repeat of {request}");
            }
            Some(_) => assert_eq!(answer, Err(WriteError::IdempotencyMismatch)),
            None => {
                let (transitions, replayed) = answer.expect("a new key is taken");
                assert!(!replayed, "{name} is new");
                self.answers.insert(key, (request, now, transitions));
            }
        }
    }

    /// The ops that the service would let pass.
    fn ops(&self, small: &[Small]) -> Vec<Op> {
        let kinds = kinds();
        let ops = small.iter().map(|small| {
            let edge = small.edge();
            match small.what {
                What::Set => set(edge),
                What::Unset => Op::new(Action::Unset, edge),
                What::Toggle => Op::new(Action::Toggle, edge),
                What::Import(minutes) => {
                    let at = self.stage.now().0 - minutes * MINUTE;
                    import(edge, Rev(at))
                }
            }
        });
        ops.filter(|op| kinds.check(&op.edge).is_ok()).collect()
    }
}

impl Small {
    fn edge(&self) -> EdgeKey {
        edge(KindId(self.kind), USERS[self.user], TARGETS[self.target])
    }
}

/// Toggles of one user on many targets of one type, or of many users on one target.
fn many_of(small: Small, many: usize) -> Vec<Op> {
    let kinds = kinds();
    let toggles = (0..many).map(|n| {
        let mut edge = small.edge();
        if small.target.is_multiple_of(2) {
            edge.user = id(&format!("m{}", n % 650));
        } else {
            edge.target.id = id(&n.to_string());
        }
        Op::new(Action::Toggle, edge)
    });
    toggles.filter(|op| kinds.check(&op.edge).is_ok()).collect()
}
