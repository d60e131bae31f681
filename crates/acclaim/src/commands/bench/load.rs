//! The load: threads of connections, and what they counted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use hdrhistogram::Histogram;
use tokio::task::LocalSet;

use crate::client::Endpoint;

use super::answer::{Batch, BatchResult, Problem, Written};
use super::connection::{Answer, Connection, Lost};
use super::pace::Pace;
use super::request::{Edge, Requests};
use super::{BenchArgs, Scenario};

/// The longest latency that is told apart, in nanoseconds.
const MAX_LATENCY_NANOS: u64 = 120_000_000_000;
/// Decimal digits of a latency that are kept.
const LATENCY_DIGITS: u8 = 3;
/// Acknowledged writes that are remembered to be read back, in one thread.
const MAX_REMEMBERED: usize = 20_000_000;
/// How long to wait after a connection failed.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// A write and its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    pub edge: Edge,
    /// `None` where no answer came, so that it may have been done or not.
    pub written: Option<Written>,
}

/// What came of the load.
pub(super) struct Load {
    pub elapsed: Duration,
    /// Requests answered 200.
    pub answered: u64,
    /// Ops of batches that failed alone count here too, by their codes.
    pub errors: BTreeMap<String, u64>,
    pub latency_nanos: Histogram<u64>,
    /// Requests of an open load that were due and never sent.
    pub unsent: u64,
    pub writes: Vec<Write>,
    /// Whether more was written than is remembered.
    pub forgot: bool,
}

impl Load {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            elapsed: Duration::ZERO,
            answered: 0,
            errors: BTreeMap::new(),
            latency_nanos: Histogram::new_with_bounds(1, MAX_LATENCY_NANOS, LATENCY_DIGITS)?,
            unsent: 0,
            writes: Vec::new(),
            forgot: false,
        })
    }

    fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.elapsed = self.elapsed.max(other.elapsed);
        self.answered += other.answered;
        for (error, times) in other.errors {
            *self.errors.entry(error).or_default() += times;
        }
        self.latency_nanos.add(&other.latency_nanos)?;
        self.unsent += other.unsent;
        self.writes.extend(other.writes);
        self.forgot |= other.forgot;
        Ok(())
    }

    fn error(&mut self, name: String) {
        *self.errors.entry(name).or_default() += 1;
    }

    fn remember(&mut self, edge: Edge, written: Option<Written>) {
        if self.writes.len() < MAX_REMEMBERED {
            self.writes.push(Write { edge, written });
        } else {
            self.forgot = true;
        }
    }

    fn remember_unknown(&mut self, edges: &[Edge]) {
        edges.iter().for_each(|edge| self.remember(*edge, None));
    }
}

/// Runs the load and gathers what its threads counted.
pub(super) fn run(args: &BenchArgs, endpoint: &Endpoint) -> anyhow::Result<Load> {
    let mut sum = Load::new()?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..args.threads)
            .map(|thread| scope.spawn(move || run_thread(args, endpoint, thread)))
            .collect();
        for thread in threads {
            let load = thread
                .join()
                .map_err(|_| anyhow!("a thread of the load failed"))??;
            sum.add(load)?;
        }
        anyhow::Ok(sum)
    })
}

fn run_thread(args: &BenchArgs, endpoint: &Endpoint, thread: u32) -> anyhow::Result<Load> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let load = Rc::new(RefCell::new(Load::new()?));
    let elapsed = runtime.block_on(async {
        let own = (0..args.connections).filter(|number| number % args.threads == thread);
        let mut opened = Vec::new();
        for number in own {
            let mut connection = Connection::new(endpoint);
            let open = connection.open().await;
            open.map_err(|_| anyhow!("cannot connect to {}", endpoint.authority()))?;
            opened.push((number, connection));
        }
        let tasks = LocalSet::new();
        let start = Instant::now();
        let how_long = Duration::from_secs(args.seconds);
        // Threads share the rate as they share the connections.
        let share = opened.len() as f64 / f64::from(args.connections);
        let rate = args.rate.map(|rate| f64::from(rate) * share);
        let pace = rate.map(|rate| Rc::new(Pace::start(rate, how_long)));
        for (number, connection) in opened {
            let worker = Worker {
                connection,
                requests: Requests::new(args, endpoint, number),
                scenario: args.scenario,
                load: Rc::clone(&load),
            };
            match &pace {
                Some(pace) => tasks.spawn_local(worker.run_open(Rc::clone(pace))),
                None => tasks.spawn_local(worker.run_closed(start + how_long)),
            };
        }
        tasks.await;
        load.borrow_mut().unsent = pace.map_or(0, |pace| pace.unsent());
        anyhow::Ok(start.elapsed())
    })?;
    let load = Rc::into_inner(load).context("a connection is still at work")?;
    let mut load = load.into_inner();
    load.elapsed = elapsed;
    Ok(load)
}

/// One connection at work.
struct Worker {
    connection: Connection,
    requests: Requests,
    scenario: Scenario,
    load: Rc<RefCell<Load>>,
}

impl Worker {
    /// The next request as soon as the last is answered.
    async fn run_closed(mut self, end: Instant) {
        loop {
            let start = Instant::now();
            if start >= end {
                return;
            }
            self.ask(start).await;
        }
    }

    /// Requests when they are due, late ones at once.
    async fn run_open(mut self, pace: Rc<Pace>) {
        while let Some(due) = pace.next().await {
            self.ask(due).await;
        }
    }

    async fn ask(&mut self, start: Instant) {
        let answer = self.connection.ask(self.requests.next()).await;
        let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let lost = match answer {
            Ok(answer) => {
                let (scenario, edges) = (self.scenario, self.requests.edges());
                self.load
                    .borrow_mut()
                    .count_answer(scenario, edges, &answer, nanos);
                return;
            }
            Err(lost) => lost,
        };
        self.count_lost(lost);
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }

    fn count_lost(&self, lost: Lost) {
        let mut load = self.load.borrow_mut();
        load.error(lost.name().to_owned());
        if self.scenario.writes() && lost != Lost::Connect {
            load.remember_unknown(self.requests.edges());
        }
    }
}

impl Load {
    fn count_answer(
        &mut self,
        scenario: Scenario,
        edges: &[Edge],
        answer: &Answer<'_>,
        nanos: u64,
    ) {
        if answer.status == 200 {
            self.answered += 1;
            self.latency_nanos.saturating_record(nanos);
            return count_writes(scenario, edges, answer.body, self);
        }
        let code = serde_json::from_slice::<Problem>(answer.body);
        let code = code.map_or_else(|_| String::new(), |problem| problem.code);
        self.error(format!("{} {code}", answer.status).trim_end().to_owned());
        // Whether a time-out came before or after the write, nobody knows.
        if scenario.writes() && answer.status >= 500 {
            self.remember_unknown(edges);
        }
    }
}

fn count_writes(scenario: Scenario, edges: &[Edge], body: &[u8], load: &mut Load) {
    match scenario {
        Scenario::Toggle | Scenario::Hot | Scenario::Set => {
            match serde_json::from_slice::<Written>(body) {
                Ok(written) => load.remember(edges[0], Some(written)),
                Err(_) => load.error("200 with another body".to_owned()),
            }
        }
        Scenario::Batch => match serde_json::from_slice::<Batch>(body) {
            Ok(batch) if batch.results.len() == edges.len() => {
                for (edge, op) in edges.iter().zip(batch.results) {
                    match op {
                        BatchResult::Written(written) => load.remember(*edge, Some(written)),
                        BatchResult::Failed { error } => {
                            load.error(format!("in a batch: {}", error.code))
                        }
                    }
                }
            }
            _ => load.error("200 with another body".to_owned()),
        },
        Scenario::Status | Scenario::Count | Scenario::Feed => {}
    }
}
