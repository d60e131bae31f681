//! What the worker costs and how fast it is, between a Redis and a MariaDB of its own:
//! `worker [EVENTS] [PARTITIONS] [DRAINS_AT_ONCE] [TARGETS] [USERS]`.
//!
//! 1. Idle: the CPU of this process, Redis and MariaDB over 10 s while all partitions are leased and
//!    nothing happens.
//! 2. Drain: a journal of likes, one in five taken back, of random users on random targets, into an
//!    empty ledger.
//! 3. Lag: the same at half that rate; how old events are when the ledger has them.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

mod measure;

use std::sync::Arc;
use std::time::{Duration, Instant};

use acclaim_cluster::ledger::store::StoreSpec;
use acclaim_cluster::ledger::{Bounds, Ledger};
use acclaim_cluster::redis::connection::{Redis, RedisLimits};
use acclaim_cluster::redis::decide::DecideOp;
use acclaim_cluster::redis::keys::{Partition, TargetName};
use acclaim_cluster::worker::{Worker, WorkerLimits, backlog};
use acclaim_core::{Action, Id, TargetType};
use acclaim_servers::{MariaDb, MariaDbOptions, Redis as RedisServer};
use futures::future::{FutureExt, join_all};
use measure::{Arguments, Cpu, Failure, decide_all};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const IDLE: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(2);
const OPS_A_CALL: usize = 200;
const STEP: Duration = Duration::from_millis(20);
const KEEP: Duration = Duration::from_secs(3_600);

struct Writers {
    redis: Arc<Redis>,
    journals: Vec<Partition>,
    /// The targets of each partition.
    targets: Vec<Vec<TargetName>>,
    users: u64,
    dice: StdRng,
    last: Vec<Vec<(TargetName, Id)>>,
}

impl Writers {
    /// Some toggles of one partition.
    fn ops(&mut self, partition: usize, many: usize) -> Vec<DecideOp> {
        let targets = &self.targets[partition];
        let last = &mut self.last[partition];
        let mut ops = Vec::with_capacity(many);
        for _ in 0..many {
            let again = last.len() > 100 && self.dice.random_range(0..5) == 0;
            let (target, user) = if again {
                let place = self.dice.random_range(0..last.len());
                last.swap_remove(place)
            } else {
                let target = targets[self.dice.random_range(0..targets.len())].clone();
                let user = Id::Number(5_000_000 + self.dice.random_range(0..self.users));
                last.push((target.clone(), user.clone()));
                (target, user)
            };
            ops.push(DecideOp::new(Action::Toggle, target, user));
        }
        ops
    }

    /// Writes so many events, spread over all partitions.
    async fn write(&mut self, events: usize) -> Result<(), Failure> {
        let partitions = self.journals.len();
        let each = events.div_ceil(partitions);
        let mut left = events;
        let mut calls = Vec::new();
        for partition in 0..partitions {
            let mut many = each.min(left);
            left -= many;
            while many > 0 {
                let ops = self.ops(partition, many.min(OPS_A_CALL));
                many -= ops.len();
                calls.push((self.journals[partition], ops));
            }
        }
        for calls in calls.chunks(8) {
            let decided = calls
                .iter()
                .map(|(journal, ops)| decide_all(&self.redis, *journal, ops.clone(), KEEP));
            for decided in join_all(decided).await {
                decided?;
            }
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments =
        Arguments::new("worker [EVENTS] [PARTITIONS] [DRAINS_AT_ONCE] [TARGETS] [USERS]");
    let (events, partitions) = (arguments.number(0, 300_000)?, arguments.number(1, 64_u16)?);
    let drains = arguments.number(2, WorkerLimits::default().drains_at_once)?;
    let targets = arguments.number(3, 10_000)?;
    let users = arguments.number(4, 100_000)?;
    let options = MariaDbOptions::default()
        .set("innodb-buffer-pool-size", "1G")
        .set("innodb-log-file-size", "512M");
    let mariadb = MariaDb::start_with(options).boxed().await;
    let server = RedisServer::start().boxed().await;
    let database = mariadb.database().boxed().await;
    let ledger = Ledger::new(database.url(), Bounds::default())?;
    ledger.migrate().await?;
    ledger
        .create_or_open_store(&StoreSpec { partitions })
        .await?;
    let kind = ledger.kind_no("likes").await?.0;
    let target_type = ledger.type_no(&TargetType::parse("POST")?).await?.0;
    let redis = Arc::new(Redis::open(&server.url(), RedisLimits::default()).await?);
    let mut by_partition = vec![Vec::new(); usize::from(partitions)];
    for target in 0..targets {
        let name = TargetName {
            kind,
            target_type,
            id: Id::Number(1_000_000 + target),
        };
        by_partition[usize::from(name.partition(partitions))].push(name);
    }
    let journals: Vec<Partition> = (0..partitions)
        .map(|number| Partition {
            epoch: 1,
            life: 0,
            number,
        })
        .collect();
    let mut writers = Writers {
        redis: Arc::clone(&redis),
        journals: journals.clone(),
        last: vec![Vec::new(); by_partition.len()],
        targets: by_partition,
        users,
        dice: StdRng::seed_from_u64(1),
    };
    let pids = (
        server.pid().ok_or("no Redis")?,
        mariadb.pid().ok_or("no MariaDB")?,
    );
    let limits = WorkerLimits {
        drains_at_once: drains,
        ..WorkerLimits::default()
    };
    let start = || {
        Worker::start(
            Arc::clone(&redis),
            ledger.clone(),
            "worker",
            limits.clone(),
            None,
        )
    };

    let worker = start()?;
    while worker.watched().numbers().opened < u64::from(partitions) {
        tokio::time::sleep(STEP).await;
    }
    let idle = Cpu::begin(pids.0, pids.1)?;
    tokio::time::sleep(IDLE).await;
    println!("idle, {partitions} partitions: {}", idle.end()?);
    worker.stop().await;

    writers.write(events).await?;
    let waiting = backlog::measure(&redis, &journals, None).await?.events;
    let (busy, began) = (Cpu::begin(pids.0, pids.1)?, Instant::now());
    let worker = start()?;
    while backlog::measure(&redis, &journals, None).await?.events > 0 {
        tokio::time::sleep(STEP).await;
    }
    let rate = waiting as f64 / began.elapsed().as_secs_f64();
    let batches = worker.watched().numbers().batches;
    println!(
        "drain, {drains} at once: {waiting} events, {rate:.0} events/s, {:.0} events a batch; {}",
        waiting as f64 / batches as f64,
        busy.end()?
    );

    let (lagging, began) = (Cpu::begin(pids.0, pids.1)?, Instant::now());
    let batches = worker.watched().numbers().batches;
    let (mut written, mut lags, mut ages) = (0_usize, Vec::new(), Vec::new());
    while began.elapsed() < IDLE {
        let due = (began.elapsed().as_secs_f64() * rate / 2.0) as usize;
        if due > written {
            writers.write(due - written).await?;
            written = due;
        }
        let numbers = worker.watched().numbers();
        // What was measured before says nothing about now.
        if began.elapsed() > SETTLE {
            lags.push(numbers.lag_millis);
            ages.push(numbers.backlog_millis);
        }
        tokio::time::sleep(STEP).await;
    }
    let took = began.elapsed().as_secs_f64();
    let batches = worker.watched().numbers().batches - batches;
    lags.sort_unstable();
    ages.sort_unstable();
    let at = |list: &[u64], part: f64| list[((list.len() - 1) as f64 * part) as usize];
    println!(
        "lag at {:.0} events/s, {:.0} events a batch: oldest event of a batch when the ledger has it \
         p50 {} p99 {} max {} ms; oldest waiting p99 {} max {} ms; {}",
        written as f64 / took,
        written as f64 / batches as f64,
        at(&lags, 0.5),
        at(&lags, 0.99),
        at(&lags, 1.0),
        at(&ages, 0.99),
        at(&ages, 1.0),
        lagging.end()?
    );
    worker.stop().await;
    Ok(())
}
