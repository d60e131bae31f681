//! What a large target costs: `large [EDGES] [CALLS]`, with a Redis and a MariaDB of its own.
//!
//! One target gets so many edges (5,000,000), straight in the ledger; Redis is empty. Each kind of
//! call is made once while the target is cold, then again and again; then again while the target is
//! recovered, which counts all its edges.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

mod measure;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use acclaim_cluster::engine::{Cluster, ClusterConfig};
use acclaim_cluster::ledger::store::StoreSpec;
use acclaim_cluster::ledger::{Bounds, Ledger};
use acclaim_core::page::Position;
use acclaim_core::port::{Admin, Reads, Write, Writes};
use acclaim_core::{Action, EdgeKey, Id, Kinds, Op, Rev, Start, Target, TargetKey, TargetType};
use acclaim_servers::{MariaDb, MariaDbOptions, Redis};
use futures::FutureExt;
use measure::{Arguments, Failure, fill, target_number};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::{Connection, Executor, MySqlConnection};

const PARTITIONS: u16 = 64;
const PAGE: usize = 100;
const FIRST_USER: u64 = 1_000_000;

struct Large {
    engine: Cluster,
    target: TargetKey,
    edges: u64,
}

/// A call to be measured.
#[derive(Clone, Copy, Debug)]
enum Call {
    Status,
    Count,
    FirstPage,
    DeepPage,
    Toggle,
    ToggleOfNew,
}

const CALLS: [Call; 6] = [
    Call::Status,
    Call::Count,
    Call::FirstPage,
    Call::DeepPage,
    Call::Toggle,
    Call::ToggleOfNew,
];

impl Large {
    async fn call(&self, call: Call, dice: &mut StdRng) -> Result<Duration, Failure> {
        let user = FIRST_USER + dice.random_range(0..self.edges);
        let edge = |user| EdgeKey {
            kind: self.target.kind,
            user: Id::Number(user),
            target: self.target.target.clone(),
        };
        let new = FIRST_USER + self.edges + dice.random_range(0..1_000_000);
        // Somewhere in the middle: the edges were set a microsecond after another.
        let middle = || {
            Start::After(Position {
                rev: Rev(1_795_132_800_000_000 - user),
                key: Id::Number(user),
            })
        };
        let began = Instant::now();
        match call {
            Call::Status => drop(self.engine.statuses(vec![edge(user)]).await?),
            Call::Count => drop(self.engine.counts(vec![self.target.clone()]).await?),
            Call::FirstPage => {
                let page = self.engine.users(self.target.clone(), Start::top(), PAGE);
                drop(page.await?);
            }
            Call::DeepPage => {
                let page = self
                    .engine
                    .users(self.target.clone(), middle(), PAGE)
                    .await?;
                if page.page.entries.len() != PAGE {
                    return Err(format!("a page of {} entries", page.page.entries.len()).into());
                }
            }
            Call::Toggle | Call::ToggleOfNew => {
                let user = if matches!(call, Call::Toggle) {
                    user
                } else {
                    new
                };
                let write = Write::plain(vec![Op::new(Action::Toggle, edge(user))]);
                drop(self.engine.apply(write).await?);
            }
        }
        Ok(began.elapsed())
    }
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    format!(
        "p50 {:.1} p99 {:.1} max {:.1} ms of {}",
        at(0.5),
        at(0.99),
        at(1.0),
        times.len()
    )
}

async fn stage(edges: u64) -> Result<(Arc<Large>, Redis, MariaDb), Failure> {
    let options = MariaDbOptions::default()
        .set("innodb-buffer-pool-size", "2G")
        .set("innodb-log-file-size", "1G");
    let mariadb = MariaDb::start_with(options).boxed().await;
    let redis = Redis::start().boxed().await;
    let database = mariadb.database().boxed().await;
    let ledger = Ledger::new(database.url(), Bounds::default())?;
    ledger.migrate().await?;
    let spec = StoreSpec {
        partitions: PARTITIONS,
    };
    ledger.create_or_open_store(&spec).await?;
    let post = TargetType::parse("POST")?;
    let (kind, post_no) = (ledger.kind_no("likes").await?, ledger.type_no(&post).await?);
    let began = Instant::now();
    fill(database.url(), kind, post_no, 1, edges).await?;
    println!("{edges} edges in {:.0} s", began.elapsed().as_secs_f64());
    let mut conn = MySqlConnection::connect(database.url()).await?;
    conn.execute("UPDATE partitions SET applied = 1").await?;
    conn.execute("ANALYZE TABLE edges").await?;
    conn.close().await?;
    let kinds = Kinds::new([])?;
    let likes = kinds.find("likes").ok_or("no likes")?;
    let mut config = ClusterConfig::new(&redis.url(), database.url(), "one");
    config.partitions = PARTITIONS;
    let engine = Cluster::open(config, kinds, None).await?;
    let target = TargetKey {
        kind: likes,
        target: Target {
            target_type: post,
            id: Id::Number(target_number(0)),
        },
    };
    let large = Large {
        engine,
        target,
        edges,
    };
    Ok((Arc::new(large), redis, mariadb))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::new("large [EDGES] [CALLS]");
    let (edges, calls) = (arguments.number(0, 5_000_000)?, arguments.number(1, 500)?);
    let (large, _redis, _mariadb) = stage(edges).await?;
    let mut dice = StdRng::seed_from_u64(1);
    for call in CALLS {
        let first = large.call(call, &mut dice).await?;
        let mut times = Vec::new();
        for _ in 0..calls {
            times.push(large.call(call, &mut dice).await?);
        }
        let first = first.as_secs_f64() * 1e3;
        println!("{call:?}: first {first:.1} ms, then {}", shown(times));
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let (others, over) = (Arc::clone(&large), Arc::clone(&is_over));
    let meanwhile = tokio::spawn(async move {
        let mut dice = StdRng::seed_from_u64(2);
        let mut times = vec![Vec::new(); CALLS.len()];
        while !over.load(Ordering::Relaxed) {
            for (call, times) in CALLS.into_iter().zip(&mut times).take(4) {
                times.push(others.call(call, &mut dice).await?);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok::<_, Failure>(times)
    });
    let began = Instant::now();
    let recovered = large.engine.recover(large.target.clone()).await?;
    let took = began.elapsed().as_secs_f64();
    is_over.store(true, Ordering::Relaxed);
    println!("recover: {took:.1} s, {recovered:?}; meanwhile");
    for (call, times) in CALLS.into_iter().zip(meanwhile.await??).take(4) {
        println!("  {call:?}: {}", shown(times));
    }
    large.engine.stop().await;
    Ok(())
}
