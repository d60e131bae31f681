//! Callers that toggle edges while servers fail, and what the journals must say of it afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use acclaim_cluster::redis::connection::{Redis, RedisLimits};
use acclaim_cluster::redis::decide::{Answered, DecideOp, Decided};
use acclaim_cluster::redis::event::JournalEvent;
use acclaim_cluster::redis::keys::{Partition, TargetName};
use acclaim_cluster::redis::load::Cold;
use acclaim_core::{Action, Id, Rev};
use acclaim_servers::until;
use tokio::task::JoinHandle;

use crate::ledger::Ledger;

pub const KEEP: Duration = Duration::from_secs(600);
const LIMIT: Duration = Duration::from_secs(90);
const PARTITIONS: u16 = 6;
const USERS: u64 = 2;

/// Short enough for a test to see them pass.
pub fn limits() -> RedisLimits {
    RedisLimits {
        connect_timeout_millis: 500,
        response_timeout_millis: 500,
        call_timeout_millis: 2_000,
        ..RedisLimits::default()
    }
}

pub fn partition(number: u16) -> Partition {
    Partition { epoch: 1, number }
}

pub fn partitions() -> impl Iterator<Item = Partition> {
    (0..PARTITIONS).map(partition)
}

pub fn target() -> TargetName {
    TargetName::parse("0:0:1").unwrap()
}

pub fn toggle(user: u64) -> DecideOp {
    DecideOp::new(Action::Toggle, target(), Id::Number(user))
}

/// Loads a partition and the target in it, of a ledger that has nothing.
pub async fn warm(redis: &Redis, partition: Partition) {
    let ledger = Ledger::default();
    for cold in [Cold::Partition, Cold::Record(target())] {
        until(LIMIT, "a load", || async {
            let loaded = redis.load(&ledger, partition, cold.clone(), KEEP).await;
            loaded.map_err(|error| error.to_string())
        })
        .await;
    }
}

/// All of a partition's journal.
pub async fn journal(redis: &Redis, partition: Partition) -> Vec<JournalEvent> {
    let mut journal: Vec<JournalEvent> = Vec::new();
    loop {
        let after = journal.last().map_or(Rev::ZERO, |event| event.seq);
        let more = until(LIMIT, "the journal", || async {
            let events = redis.journal_after(partition, after, 1_000).await;
            events.map_err(|error| error.to_string())
        })
        .await;
        if more.is_empty() {
            return journal;
        }
        journal.extend(more.into_iter().map(Result::unwrap));
    }
}

/// What a caller was told.
#[derive(Debug, Default)]
pub struct Told {
    /// Decided, at these places.
    done: Vec<Rev>,
    /// How often the outcome was unknown.
    unknown: usize,
    /// How often nothing was done.
    refused: usize,
    /// The longest that a call took.
    slowest: Duration,
}

/// Callers at work.
pub struct Callers {
    redis: Arc<Redis>,
    stop: Arc<AtomicBool>,
    done: BTreeMap<Partition, Arc<AtomicU64>>,
    tasks: Vec<(Partition, u64, JoinHandle<Told>)>,
}

impl Callers {
    /// Users who each toggle an edge of their own in every partition, again and again. When
    /// `replicated`, only what a replica has counts as decided.
    pub async fn start(url: &str, replicated: bool) -> Self {
        let redis = Arc::new(Redis::open(url, limits()).await.unwrap());
        let mut callers = Self {
            redis: Arc::clone(&redis),
            stop: Arc::default(),
            done: BTreeMap::new(),
            tasks: Vec::new(),
        };
        for partition in partitions() {
            warm(&redis, partition).await;
            let done = Arc::new(AtomicU64::new(0));
            for user in 0..USERS {
                let work = Caller {
                    redis: Arc::clone(&redis),
                    stop: Arc::clone(&callers.stop),
                    done: Arc::clone(&done),
                    partition,
                    user,
                    replicated,
                };
                let task = tokio::spawn(work.run());
                callers.tasks.push((partition, user, task));
            }
            callers.done.insert(partition, done);
        }
        callers.await_progress(|_| true).await;
        callers
    }

    /// Waits until each of these partitions has decided some more.
    pub async fn await_progress(&self, of: impl Fn(Partition) -> bool) {
        let counts = || {
            let done = self.done.iter();
            let done = done.map(|(partition, done)| (*partition, done.load(Ordering::SeqCst)));
            done.collect::<BTreeMap<_, _>>()
        };
        let before = counts();
        until(LIMIT, "progress in every partition", || async {
            let now = counts();
            let stuck = before
                .iter()
                .find(|(partition, count)| of(**partition) && now[*partition] < **count + 20);
            stuck.map_or(Ok(()), |(partition, _)| {
                Err(format!("{partition} is stuck"))
            })
        })
        .await;
    }

    /// Ends them and holds what each was told against the journals. Answers how often an outcome
    /// was unknown, how often nothing was done, and how long the slowest call took.
    pub async fn finish(self) -> (usize, usize, Duration) {
        self.stop.store(true, Ordering::SeqCst);
        let mut sums = (0, 0, Duration::ZERO);
        for (partition, user, task) in self.tasks {
            let told = task.await.unwrap();
            let journal = journal(&self.redis, partition).await;
            check(partition, user, &told, &journal);
            sums.0 += told.unknown;
            sums.1 += told.refused;
            sums.2 = sums.2.max(told.slowest);
        }
        sums
    }
}

/// Each acknowledged toggle is in the journal once, and nothing is in it that was not asked for.
fn check(partition: Partition, user: u64, told: &Told, journal: &[JournalEvent]) {
    let own = journal
        .iter()
        .filter(|event| event.user == Id::Number(user));
    let own: Vec<_> = own.collect();
    for rev in &told.done {
        let times = own.iter().filter(|event| event.rev == *rev).count();
        assert_eq!(times, 1, "{partition}: {user}'s toggle at {rev}");
    }
    let surplus = own.len() - told.done.len();
    assert!(
        surplus <= told.unknown,
        "{partition}: {surplus} toggles of {user} beyond those told, {} were unknown",
        told.unknown
    );
    for pair in own.windows(2) {
        assert_ne!(pair[0].active, pair[1].active, "{partition}: {pair:?}");
    }
}

struct Caller {
    redis: Arc<Redis>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    partition: Partition,
    user: u64,
    replicated: bool,
}

impl Caller {
    async fn run(self) -> Told {
        let mut told = Told::default();
        let ops = [toggle(self.user)];
        let patience = Duration::from_millis(200);
        while !self.stop.load(Ordering::SeqCst) {
            let begun = Instant::now();
            let decided = if self.replicated {
                decide_replicated(&self.redis, self.partition, &ops, patience).await
            } else {
                let decided = self.redis.decide(self.partition, None, &ops).await;
                decided.map(|decided| (decided, false))
            };
            told.slowest = told.slowest.max(begun.elapsed());
            match decided {
                Ok((mut decided, has_replica)) => match decided.remove(0) {
                    Decided::Done { transition, .. } if has_replica >= self.replicated => {
                        assert!(transition.changed);
                        told.done.push(transition.rev);
                        self.done.fetch_add(1, Ordering::SeqCst);
                    }
                    Decided::Done { .. } => told.unknown += 1,
                    other => panic!("{}: {other:?}", self.partition),
                },
                Err(error) if error.nothing_done() => told.refused += 1,
                Err(_) => told.unknown += 1,
            }
        }
        told
    }
}

/// Decides ops of one partition and waits for a replica of its server.
pub async fn decide_replicated(
    redis: &Redis,
    partition: Partition,
    ops: &[DecideOp],
    patience: Duration,
) -> Answered {
    let asked = [(partition, ops.to_vec())];
    let (mut answers, left) = redis.decide_together(None, &asked, Some(patience)).await;
    if let Some(left) = left {
        answers.extend(redis.finish_deciding(left).await);
    }
    answers.remove(0).1
}
