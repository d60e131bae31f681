//! How many bytes of Redis an edge takes: numeric edges over targets, through the decide script.
//!
//! `cargo run --release -p acclaim-cluster --example redis_memory -- URL [EDGES] [TARGETS]`
//! The server is emptied first.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "its output is what it is for, and without Redis there is nothing to measure"
)]

use std::time::{Duration, Instant};

use acclaim_cluster::redis::connection::{Redis, RedisLimits};
use acclaim_cluster::redis::decide::{DecideOp, Decided};
use acclaim_cluster::redis::keys::{Partition, TargetName};
use acclaim_cluster::redis::load::{Cold, EdgeRows, Source, SourceError, TargetRow};
use acclaim_cluster::redis::persist::{Keep, Persisted, Told};
use acclaim_core::{Action, Id, Rev};
use futures::future::{BoxFuture, FutureExt, ready};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const PARTITIONS: u16 = 64;
const OPS_A_CALL: usize = 500;
const KEEP: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A ledger that has nothing.
struct Nothing;

impl Source for Nothing {
    fn applied(&self, _: u16) -> BoxFuture<'_, Result<Rev, SourceError>> {
        ready(Ok(Rev(1))).boxed()
    }

    fn target(
        &self,
        _: &TargetName,
        _: u64,
    ) -> BoxFuture<'_, Result<(TargetRow, EdgeRows), SourceError>> {
        ready(Ok((TargetRow::default(), Vec::new()))).boxed()
    }

    fn bucket(
        &self,
        _: &TargetName,
        _: std::ops::RangeInclusive<u32>,
    ) -> BoxFuture<'_, Result<EdgeRows, SourceError>> {
        ready(Ok(Vec::new())).boxed()
    }
}

async fn decide(redis: &Redis, partition: Partition, mut ops: Vec<DecideOp>) {
    while !ops.is_empty() {
        let decided = redis
            .decide(partition, None, &ops)
            .await
            .expect("redis answers");
        let mut cold: Vec<Cold> = Vec::new();
        let mut left = Vec::new();
        for (op, decided) in ops.into_iter().zip(decided) {
            if let Decided::Cold(what) = decided {
                if !cold.contains(&what) {
                    cold.push(what);
                }
                left.push(op);
            }
        }
        for what in cold {
            redis
                .load(&Nothing, partition, what, KEEP)
                .await
                .expect("loads");
        }
        ops = left;
    }
}

async fn persist(redis: &Redis, partition: Partition) {
    let mut after = Rev::ZERO;
    loop {
        let events = redis
            .journal_after(partition, after, 1_000)
            .await
            .expect("reads");
        let Some(Ok(last)) = events.last() else {
            return;
        };
        let (before, entries) = (after, events.len());
        after = last.seq;
        let edges = events
            .into_iter()
            .flatten()
            .map(|e| (e.target, e.user))
            .collect();
        let persisted = Persisted {
            upto: after,
            after: before,
            last: Some(after),
            entries,
            edges,
        };
        let keep = Keep {
            keys: KEEP,
            journal: Duration::ZERO,
            journal_events: 0,
        };
        loop {
            let told = redis.persisted(partition, None, keep, &persisted).await;
            match told.expect("marks") {
                Told::Noted { waiting: 0, .. } => break,
                Told::Noted { .. } => {}
                told => panic!("{told:?}"),
            }
        }
    }
}

async fn used_memory(raw: &mut redis::aio::MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO")
        .arg("memory")
        .query_async(raw)
        .await
        .expect("info");
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    line.and_then(|bytes| bytes.trim().parse().ok())
        .expect("used_memory")
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |place: usize, default: u64| {
        arguments
            .get(place)
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let url = arguments
        .get(1)
        .expect("the URL of a Redis that may be emptied");
    let (edges, targets) = (number(2, 1_000_000), number(3, 10_000));
    let redis = Redis::open(url, RedisLimits::default())
        .await
        .expect("a Redis");
    let client = redis::Client::open(url.as_str()).expect("a URL");
    let mut raw = client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection");
    let _: String = redis::cmd("FLUSHALL")
        .query_async(&mut raw)
        .await
        .expect("empties");
    let before = used_memory(&mut raw).await;

    let mut chance = StdRng::seed_from_u64(1);
    let mut batches = vec![Vec::new(); usize::from(PARTITIONS)];
    let begun = Instant::now();
    let partition = |number| Partition {
        epoch: 1,
        life: 0,
        number,
    };
    for _ in 0..edges {
        let id = Id::Number(1_000_000 + chance.random_range(0..targets));
        let target = TargetName {
            kind: 0,
            target_type: 0,
            id,
        };
        let user = Id::Number(chance.random_range(0..100_000_000));
        let number = target.partition(PARTITIONS);
        let batch = &mut batches[usize::from(number)];
        batch.push(DecideOp::new(Action::Set, target, user));
        if batch.len() == OPS_A_CALL {
            let ops = std::mem::take(batch);
            decide(&redis, partition(number), ops).await;
        }
    }
    for (number, ops) in (0..PARTITIONS).zip(batches) {
        decide(&redis, partition(number), ops).await;
    }
    let elapsed = begun.elapsed();
    let decided = used_memory(&mut raw).await;
    for number in 0..PARTITIONS {
        persist(&redis, partition(number)).await;
    }
    let after = used_memory(&mut raw).await;
    let each = |bytes: u64| (bytes - before) as f64 / edges as f64;
    println!(
        "{edges} edges over {targets} targets in {:.1} s",
        elapsed.as_secs_f64()
    );
    println!("{:.1} bytes an edge with the whole journal", each(decided));
    println!(
        "{:.1} bytes an edge once the ledger has them, TTLs included",
        each(after)
    );
}
