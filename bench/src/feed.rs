//! `feed`: the processor time of one status among many, inside this process.
//!
//! A feed asks for one user's statuses of some targets. Here the engine is asked directly, without
//! HTTP and without a generator beside it, and the process's own processor time is divided by the
//! statuses. So the figure is of the engine alone and does not depend on what else the machine does.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use acclaim_core::port::{Reads as _, Write, Writes as _};
use acclaim_core::{Action, EdgeKey, Id, KindId, Kinds, Op, Target, TargetType};
use acclaim_engine::SystemClock;
use acclaim_engine::embedded::{EmbeddedEngine, Options};
use anyhow::Context as _;
use prometheus_client::registry::Registry;
use rustix::time::{ClockId, clock_gettime};

use crate::edges::TARGET_TYPE;
use crate::table::Table;

const EDGES_A_USER: u64 = 10;
const EDGES_A_TARGET: u64 = 100;
const OPS_A_WRITE: u64 = 1_000;
const LIKES: KindId = KindId(0);

/// Flags of `feed`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Edges in the store
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..=100_000_000))]
    edges: u64,
    /// Targets a request, with commas between
    #[arg(long, value_delimiter = ',', default_value = "20,50,500", value_parser = clap::value_parser!(u64).range(1..=500))]
    targets: Vec<u64>,
    /// Statuses asked for at each number of targets
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    statuses: u64,
    /// Where the data directory is made, and removed again [default: the system's for temporary
    /// files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Numbers that are spread well and come again in the next run.
struct Spread(u64);

impl Spread {
    fn next(&mut self, below: u64) -> u64 {
        // The increment and the mixing of SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // The clock of a process does not go below zero.
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Runs it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let dir = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut table = Table::new(&["targets a request", "feed", "CPU a status (ns)"]);
    runtime.block_on(async {
        let engine = open(dir.path())?;
        fill(&engine, args.edges).await?;
        engine.stop().await?;
        drop(engine);
        // Opened anew, so that all of it is in the tables.
        let engine = open(dir.path())?;
        for targets in &args.targets {
            for (name, liked) in [("strange", false), ("half liked", true)] {
                let each = ask(&engine, args, *targets, liked).await?;
                table.row(vec![targets.to_string(), name.to_owned(), each.to_string()]);
            }
        }
        engine.stop().await?;
        anyhow::Ok(())
    })?;
    println!("{}", table.markdown());
    Ok(())
}

fn open(dir: &std::path::Path) -> anyhow::Result<Arc<EmbeddedEngine>> {
    let (kinds, options) = (Kinds::default(), Options::default());
    let registry = &mut Registry::default();
    EmbeddedEngine::open(dir, kinds, options, Arc::new(SystemClock), registry)
        .context("cannot open the store")
}

fn edge(target_type: &TargetType, user: u64, target: u64) -> EdgeKey {
    EdgeKey {
        kind: LIKES,
        user: Id::Number(user),
        target: Target {
            target_type: target_type.clone(),
            id: Id::Number(target),
        },
    }
}

/// The n-th target of a user, so that a feed can ask for what the user likes.
fn liked(user: u64, n: u64, targets: u64) -> u64 {
    Spread(user * EDGES_A_USER + n).next(targets)
}

async fn fill(engine: &EmbeddedEngine, edges: u64) -> anyhow::Result<()> {
    let (target_type, targets) = (TargetType::parse(TARGET_TYPE)?, edges / EDGES_A_TARGET);
    for first in (0..edges).step_by(OPS_A_WRITE as usize) {
        let ops = (first..edges.min(first + OPS_A_WRITE)).map(|n| {
            let user = n / EDGES_A_USER;
            let target = liked(user, n % EDGES_A_USER, targets);
            Op::new(Action::Set, edge(&target_type, user, target))
        });
        engine.apply(Write::plain(ops.collect())).await?;
    }
    Ok(())
}

/// Nanoseconds of processor time a status.
async fn ask(
    engine: &EmbeddedEngine,
    args: &Args,
    a_request: u64,
    half_liked: bool,
) -> anyhow::Result<u128> {
    let target_type = TargetType::parse(TARGET_TYPE)?;
    let (users, targets) = (args.edges / EDGES_A_USER, args.edges / EDGES_A_TARGET);
    let mut spread = Spread(a_request);
    let mut request = || {
        let user = spread.next(users);
        let edges = (0..a_request).map(|n| {
            let target = if half_liked && n % 2 == 0 {
                liked(user, n / 2 % EDGES_A_USER, targets)
            } else {
                spread.next(targets)
            };
            edge(&target_type, user, target)
        });
        edges.collect::<Vec<_>>()
    };
    let requests = args.statuses.div_ceil(a_request);
    // As many again before, so that the caches hold what they can.
    for _ in 0..requests {
        black_box(engine.statuses(request()).await?);
    }
    let started = cpu();
    for _ in 0..requests {
        black_box(request());
    }
    let before = cpu();
    for _ in 0..requests {
        black_box(engine.statuses(request()).await?);
    }
    let asking = (cpu() - before).saturating_sub(before - started);
    Ok(asking.as_nanos() / u128::from(requests * a_request))
}
