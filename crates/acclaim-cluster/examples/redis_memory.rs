//! How many bytes of Redis an edge takes: numeric edges over targets, through the decide script.
//!
//! `cargo run --release -p acclaim-cluster --example redis_memory -- URL [EDGES] [TARGETS]`
//! The server is emptied first.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

mod measure;

use std::time::{Duration, Instant};

use acclaim_cluster::redis::connection::{Redis, RedisLimits};
use acclaim_cluster::redis::decide::DecideOp;
use acclaim_cluster::redis::keys::{Partition, TargetName};
use acclaim_cluster::redis::persist::{Keep, Persisted, Told};
use acclaim_core::{Action, Id, Rev};
use measure::{Arguments, Failure, decide_all, redis_info};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const PARTITIONS: u16 = 64;
const OPS_A_CALL: usize = 500;
const KEEP: Duration = Duration::from_secs(7 * 24 * 3_600);

async fn persist(redis: &Redis, partition: Partition) -> Result<(), Failure> {
    let mut after = Rev::ZERO;
    loop {
        let events = redis.journal_after(partition, after, 1_000).await?;
        let Some(Ok(last)) = events.last() else {
            return Ok(());
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
            read_upto: None,
            unread_events: 0,
        };
        loop {
            let told = redis.persisted(partition, None, keep, &persisted).await;
            match told? {
                Told::Noted { waiting: 0, .. } => break,
                Told::Noted { .. } => {}
                told => return Err(format!("the journal was not marked: {told:?}").into()),
            }
        }
    }
}

async fn used_memory(raw: &mut redis::aio::MultiplexedConnection) -> Result<u64, Failure> {
    let used = redis_info(raw, "memory", "used_memory").await?;
    Ok(used.parse()?)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::new("redis_memory URL [EDGES] [TARGETS]");
    // A Redis that may be emptied.
    let url = arguments.required(0)?;
    let (edges, targets) = (
        arguments.number(1, 1_000_000)?,
        arguments.number(2, 10_000)?,
    );
    let redis = Redis::open(url, RedisLimits::default()).await?;
    let client = redis::Client::open(url)?;
    let mut raw = client.get_multiplexed_async_connection().await?;
    let _: String = redis::cmd("FLUSHALL").query_async(&mut raw).await?;
    let before = used_memory(&mut raw).await?;

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
            decide_all(&redis, partition(number), ops, KEEP).await?;
        }
    }
    for (number, ops) in (0..PARTITIONS).zip(batches) {
        decide_all(&redis, partition(number), ops, KEEP).await?;
    }
    let elapsed = begun.elapsed();
    let decided = used_memory(&mut raw).await?;
    for number in 0..PARTITIONS {
        persist(&redis, partition(number)).await?;
    }
    let after = used_memory(&mut raw).await?;
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
    Ok(())
}
