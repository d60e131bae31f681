//! How fast the ledger takes a journal: `drain URL [EVENTS] [CONNECTIONS] [USERS] [TARGETS]`.
//!
//! Fresh likes and, for one in five, taking it back, of random users on random targets, in batches
//! of 1,000 on as many partitions as connections. The database must be empty. Prints the rate, and
//! what an edge costs on disk.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

mod measure;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use acclaim_cluster::ledger::{
    Batch, Bounds, Entry, Ledger, LedgerEvent, MAX_BATCH_EVENTS, StoreSpec,
};
use acclaim_core::{Id, Rev, TargetType};
use bytes::Bytes;
use measure::{Arguments, Failure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::{Connection, MySqlConnection};

const BASE: u64 = 1_795_132_800_000_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::new("drain URL [EVENTS] [CONNECTIONS] [USERS] [TARGETS]");
    let url = arguments.required(0)?;
    let (events, connections) = (arguments.number(1, 500_000)?, arguments.number(2, 2)?);
    let (users, targets) = (arguments.number(3, 100_000)?, arguments.number(4, 10_000)?);
    let ledger = Ledger::new(url, Bounds::default())?;
    ledger.migrate().await?;
    let partitions = u16::try_from(connections)?;
    ledger
        .create_or_open_store(&StoreSpec { partitions })
        .await?;
    let leases = ledger
        .take_leases("drain", partitions, Duration::from_secs(3_600))
        .await?;
    let kind = ledger.kind_no("likes").await?;
    let target_type = ledger.type_no(&TargetType::parse("POST")?).await?;
    let mut batches: Vec<Vec<Batch>> = Vec::new();
    for lease in &leases {
        let entries = journal(
            lease.partition,
            partitions,
            events / connections,
            users,
            targets,
        );
        let entry = |(seq, target, user, active, count): (u64, u64, u64, bool, u64)| {
            let (target, user, rev) = (Id::Number(target), Id::Number(user), Rev(seq));
            let event = LedgerEvent {
                kind,
                target_type,
                target,
                user,
                active,
                rev,
                count,
            };
            Entry {
                seq: rev,
                event: Ok(event),
                payload: Bytes::new(),
            }
        };
        let entries: Vec<Entry> = entries.into_iter().map(entry).collect();
        let batch = |part: &[Entry]| Batch {
            partition: lease.partition,
            epoch: lease.epoch,
            fence: lease.fence,
            entries: part.to_vec(),
        };
        batches.push(entries.chunks(MAX_BATCH_EVENTS).map(batch).collect());
    }
    let began = Instant::now();
    let mut workers = Vec::new();
    for batches in batches {
        let ledger = ledger.clone();
        workers.push(tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            for batch in batches {
                let began = Instant::now();
                ledger.apply(&batch).await?;
                slowest = slowest.max(began.elapsed());
            }
            Ok::<_, Failure>(slowest)
        }));
    }
    let mut slowest = Duration::ZERO;
    for worker in workers {
        slowest = slowest.max(worker.await??);
    }
    let took = began.elapsed();
    let rate = events as f64 / took.as_secs_f64();
    println!(
        "{events} events, {connections} connections: {rate:.0} events/s, slowest batch {slowest:?}"
    );
    sizes(url).await
}

/// A journal of a partition: seq, target, user, active, count.
fn journal(
    partition: u16,
    partitions: u16,
    events: u64,
    users: u64,
    targets: u64,
) -> Vec<(u64, u64, u64, bool, u64)> {
    let mut dice = StdRng::seed_from_u64(u64::from(partition));
    let mut active: HashMap<(u64, u64), bool> = HashMap::new();
    let mut counts: HashMap<u64, u64> = HashMap::new();
    let mut last = Vec::new();
    let mut journal = Vec::new();
    for seq in 0..events {
        let again = !last.is_empty() && dice.random_range(0..5) == 0;
        let (target, user) = if again {
            last[dice.random_range(0..last.len())]
        } else {
            let target = dice.random_range(0..targets / u64::from(partitions));
            let target = target * u64::from(partitions) + u64::from(partition);
            (1_000_000 + target, 5_000_000 + dice.random_range(0..users))
        };
        last.push((target, user));
        let is = active.entry((target, user)).or_default();
        *is = !*is;
        let count = counts.entry(target).or_default();
        *count = if *is { *count + 1 } else { *count - 1 };
        journal.push((BASE + seq * 30, target, user, *is, *count));
    }
    journal
}

async fn sizes(url: &str) -> Result<(), Failure> {
    let mut conn = MySqlConnection::connect(url).await?;
    sqlx::query("ANALYZE TABLE edges, targets, users")
        .fetch_all(&mut conn)
        .await?;
    let edges: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM edges")
        .fetch_one(&mut conn)
        .await?;
    let sql = "SELECT CAST(table_name AS CHAR), CAST(data_length AS SIGNED), \
               CAST(index_length AS SIGNED), CAST(table_rows AS SIGNED) \
               FROM information_schema.tables WHERE table_schema = DATABASE() \
               AND table_name IN ('edges', 'targets', 'users')";
    let tables: Vec<(String, i64, i64, i64)> = sqlx::query_as(sql).fetch_all(&mut conn).await?;
    for (name, data, index, rows) in tables {
        let an_edge = (data + index) as f64 / edges.0 as f64;
        println!("{name}: {rows} rows, {data} + {index} bytes, {an_edge:.0} bytes an edge");
    }
    conn.close().await?;
    Ok(())
}
