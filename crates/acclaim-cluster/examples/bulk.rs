//! How fast edges are imported straight into the ledger:
//! `bulk URL [EDGES] [CONNECTIONS] [USERS] [TARGETS]`.
//!
//! Edges of random users to random targets, in calls of [`MAX_BULK_EDGES`], on as many partitions
//! as connections. The database must be empty.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

mod measure;

use std::time::{Duration, Instant};

use acclaim_cluster::ledger::bulk::{Bulk, BulkEdge, Excludes, MAX_BULK_EDGES};
use acclaim_cluster::ledger::{Bounds, Ledger, StoreSpec};
use acclaim_core::{Id, Rev, TargetType};
use measure::{Arguments, Failure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const NOW: u64 = 1_795_132_800_000_000;
const YEAR: u64 = 365 * 86_400_000_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::new("bulk URL [EDGES] [CONNECTIONS] [USERS] [TARGETS]");
    let url = arguments.required(0)?;
    let (edges, connections) = (arguments.number(1, 500_000)?, arguments.number(2, 2)?);
    let (users, targets) = (arguments.number(3, 100_000)?, arguments.number(4, 10_000)?);
    let ledger = Ledger::new(url, Bounds::default())?;
    ledger.migrate().await?;
    let partitions = u16::try_from(connections)?;
    ledger
        .create_or_open_store(&StoreSpec { partitions })
        .await?;
    let kind = ledger.kind_no("likes").await?;
    let target_type = ledger.type_no(&TargetType::parse("POST")?).await?;
    let began = Instant::now();
    let mut workers = Vec::new();
    for partition in 0..partitions {
        let ledger = ledger.clone();
        workers.push(tokio::spawn(async move {
            let mut dice = StdRng::seed_from_u64(u64::from(partition));
            let (mut left, mut set, mut slowest) = (edges / connections, 0, Duration::ZERO);
            while left > 0 {
                let edge = |_| {
                    let target = dice.random_range(0..targets / connections);
                    BulkEdge {
                        kind,
                        target_type,
                        target: Id::Number(1_000_000 + target * connections + u64::from(partition)),
                        user: Id::Number(5_000_000 + dice.random_range(0..users)),
                        at: Rev(NOW - dice.random_range(0..YEAR)),
                    }
                };
                let edges: Vec<BulkEdge> = (0..left.min(MAX_BULK_EDGES as u64)).map(edge).collect();
                left -= edges.len() as u64;
                let bulk = Bulk {
                    partition,
                    epoch: 1,
                    edges: &edges,
                    excludes: &Excludes::new(),
                    now: Rev(NOW),
                    limit: Duration::from_secs(60),
                };
                let began = Instant::now();
                set += ledger.import_bulk(&bulk).await?.set;
                slowest = slowest.max(began.elapsed());
            }
            Ok::<_, Failure>((set, slowest))
        }));
    }
    let (mut set, mut slowest) = (0, Duration::ZERO);
    for worker in workers {
        let done = worker.await??;
        set += done.0;
        slowest = slowest.max(done.1);
    }
    let rate = edges as f64 / began.elapsed().as_secs_f64();
    println!(
        "{edges} edges, {set} new, {connections} connections: {rate:.0} events/s, slowest call {slowest:?}"
    );
    Ok(())
}
