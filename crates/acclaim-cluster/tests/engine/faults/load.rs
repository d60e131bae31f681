//! Callers that toggle edges of their own while something fails, and remember what they were told.
//!
//! Each edge has one caller, so an answer says exactly what the next one must be. A caller goes on
//! with an edge after a refusal, since nothing was decided, and leaves it for good after an outcome
//! that is not known. A third of the writes carry idempotency keys and are repeated until they are
//! answered: with these there is no unknown outcome.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use acclaim_cluster::engine::{Cluster, ClusterConfig};
use acclaim_core::port::{Ack, Applied, Clock, Idempotency, Write, Writes};
use acclaim_core::{EdgeKey, Op, Rev, WriteError};
use acclaim_servers::until;
use acclaim_testkit::conformance::{CLAPS, LIKES, edge, kinds, toggle};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

pub const LIMIT: Duration = Duration::from_secs(90);
const CALLERS: u64 = 4;
/// How long a caller rests after a refusal.
const REST: Duration = Duration::from_millis(5);

/// A node in a runtime of its own, so that it can go in the middle of everything.
pub struct Node {
    pub engine: Arc<Cluster>,
    runtime: Mutex<Option<Runtime>>,
}

impl Node {
    /// Opens one.
    pub async fn open(config: ClusterConfig, clock: Option<Arc<dyn Clock>>) -> Arc<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let opening = runtime.spawn(async move { Cluster::open(config, kinds(), clock).await });
        let engine = Arc::new(opening.await.unwrap().unwrap());
        Arc::new(Self {
            engine,
            runtime: Mutex::new(Some(runtime)),
        })
    }

    /// Ends everything that it does where it stands.
    pub fn crash(&self) {
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }

    async fn apply(&self, write: Write) -> Result<Applied, WriteError> {
        let gone = || WriteError::Unknown {
            reason: "the node went".to_owned(),
        };
        let engine = Arc::clone(&self.engine);
        let call = {
            let runtime = self.runtime.lock();
            let Some(runtime) = &*runtime else {
                return Err(WriteError::Stopping);
            };
            runtime.spawn(async move { engine.apply(write).await })
        };
        call.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.crash();
    }
}

/// What a caller was told of an edge.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The answers, oldest first.
    pub answers: Vec<(bool, Rev)>,
    /// Whether one more toggle may have been decided.
    pub is_open: bool,
}

impl Told {
    pub fn last(&self) -> (bool, Rev) {
        self.answers.last().copied().unwrap_or((false, Rev::ZERO))
    }
}

/// What all callers were told.
#[derive(Debug, Default)]
pub struct Record {
    pub edges: BTreeMap<EdgeKey, Told>,
    pub refused: u64,
    pub unknown: u64,
}

/// How callers work.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// How many posts each of them toggles.
    pub posts: u64,
    pub ack: Ack,
    /// Whether a third of the writes carry keys.
    pub keyed: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            posts: 30,
            ack: Ack::Default,
            keyed: true,
        }
    }
}

/// Where the callers find their nodes; each may be replaced.
pub type Seats = Arc<Mutex<Vec<Arc<Node>>>>;

/// Callers at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    callers: Vec<JoinHandle<Caller>>,
}

impl Load {
    /// Callers who go on from what was told before.
    pub fn start(seats: &Seats, habits: Habits, before: Record) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let seed = acclaim_testkit::settings::seed();
        let mut parts: Vec<_> = (0..CALLERS).map(|_| Record::default()).collect();
        for (edge, told) in before.edges {
            let user: u64 = edge.user.to_string().parse().unwrap();
            parts[user as usize].edges.insert(edge, told);
        }
        let callers = (0..CALLERS).zip(parts).map(|(user, record)| {
            let caller = Caller {
                user,
                seats: Arc::clone(seats),
                habits,
                stop: Arc::clone(&stop),
                answered: Arc::clone(&answered),
                chance: StdRng::seed_from_u64(seed.wrapping_add(user)),
                record,
            };
            tokio::spawn(caller.run())
        });
        let callers = callers.collect();
        Self {
            stop,
            answered,
            callers,
        }
    }

    /// Waits for so many more answers.
    pub async fn progress(&self, writes: u64) {
        let goal = self.answered.load(Ordering::SeqCst) + writes;
        until(LIMIT, "answers", || async {
            let answered = self.answered.load(Ordering::SeqCst);
            if self.callers.iter().any(JoinHandle::is_finished) {
                // What it was told was wrong; `stop` says what.
                return Ok(());
            }
            if answered < goal {
                return Err(format!("{answered} of {goal}"));
            }
            Ok(())
        })
        .await;
    }

    /// Ends them, and says what they were told.
    pub async fn stop(self) -> Record {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Record::default();
        for caller in self.callers {
            let record = caller.await.unwrap().record;
            all.edges.extend(record.edges);
            all.refused += record.refused;
            all.unknown += record.unknown;
        }
        all
    }
}

struct Caller {
    user: u64,
    seats: Seats,
    habits: Habits,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    chance: StdRng,
    record: Record,
}

impl Caller {
    async fn run(mut self) -> Self {
        let mut writes = 0u64;
        while !self.stop.load(Ordering::SeqCst) {
            writes += 1;
            let ops = self.ops();
            let is_keyed = self.habits.keyed && self.chance.random_range(0..3) == 0;
            let key = is_keyed.then(|| {
                let key = format!("{}:{writes}:{}", self.user, self.chance.random::<u64>());
                Idempotency::new("load", &key, &[b"toggle"])
            });
            self.write(ops, key).await;
        }
        self
    }

    fn ops(&mut self) -> Vec<Op> {
        let mut ops: Vec<Op> = Vec::new();
        for _ in 0..self.chance.random_range(1..5) {
            let kind = if self.chance.random() { LIKES } else { CLAPS };
            let mut post = self.chance.random_range(0..self.habits.posts);
            let user = self.user.to_string();
            let mut next = edge(kind, &user, &format!("POST:{post}"));
            while self
                .record
                .edges
                .get(&next)
                .is_some_and(|told| told.is_open)
            {
                post += self.habits.posts;
                next = edge(kind, &user, &format!("POST:{post}"));
            }
            if ops.iter().all(|op| op.edge != next) {
                ops.push(toggle(next));
            }
        }
        ops
    }

    /// Has one write answered, or its outcome not known.
    async fn write(&mut self, ops: Vec<Op>, idempotency: Option<Idempotency>) {
        let write = Write {
            ops,
            ack: self.habits.ack,
            idempotency,
        };
        loop {
            let node = {
                let seats = self.seats.lock();
                Arc::clone(&seats[self.chance.random_range(0..seats.len())])
            };
            match node.apply(write.clone()).await {
                Ok(applied) => return self.note(&write.ops, &applied),
                Err(WriteError::Unknown { .. }) if idempotency.is_none() => {
                    self.record.unknown += 1;
                    for op in write.ops {
                        self.record.edges.entry(op.edge).or_default().is_open = true;
                    }
                    return;
                }
                Err(
                    WriteError::Unknown { .. }
                    | WriteError::Unavailable { .. }
                    | WriteError::Overloaded { .. }
                    | WriteError::IdempotencyInFlight
                    | WriteError::Stopping,
                ) => self.record.refused += 1,
                Err(other) => panic!("{:?}: {other}", write.ops),
            }
            drop(node);
            tokio::time::sleep(REST).await;
        }
    }

    fn note(&mut self, ops: &[Op], applied: &Applied) {
        assert_eq!(ops.len(), applied.transitions.len());
        for (op, answer) in ops.iter().zip(&applied.transitions) {
            let told = self.record.edges.entry(op.edge.clone()).or_default();
            let (active, rev) = told.last();
            assert!(
                answer.changed && answer.active != active && answer.rev > rev,
                "{:?}: {answer:?} after {told:?}",
                op.edge
            );
            told.answers.push((answer.active, answer.rev));
        }
        self.answered.fetch_add(1, Ordering::SeqCst);
    }
}
