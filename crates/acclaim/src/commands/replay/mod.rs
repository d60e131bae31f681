//! `acclaim replay`: what the bus carried, once more. What each form means is in
//! [`acclaim_cluster::replay`] and in docs/events.md.
//!
//! - [`time`]: times on the command line;
//! - [`told`]: what is said of it.

mod time;
mod told;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use acclaim_cluster::ledger::Ledger;
use acclaim_cluster::replay::{self, Range, ReplayError, Report, Spec};
use acclaim_cluster::worker::BusConfig;
use acclaim_core::Rev;
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use crate::config::{Config, EngineName};
use crate::output::Outcome;
use crate::store;
use told::Bar;

/// How long leases are waited for that may end by themselves, and how often it is looked.
const LEASES_END_MAX: Duration = Duration::from_secs(15);
const LEASES_PAUSE: Duration = Duration::from_millis(500);

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Into {
    /// A ledger
    Ledger,
    /// A group of consumers of the bus
    Consumer,
}

/// Flags of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Events decided at this time or later: RFC 3339, microseconds since 1970, or so long before
    /// now as -90s, -5m, -1h, -7d [default: all that the bus has]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Events decided at this time or before [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// Where to
    #[arg(long, value_enum, value_name = "WHERE", default_value = "ledger")]
    pub into: Into,
    /// The ledger, which may be an empty database: mysql://USER:PASSWORD@HOST:PORT/DATABASE
    /// [default: that of the configuration]
    #[arg(long, value_name = "URL")]
    pub ledger: Option<String>,
    /// An older ledger of the same store, such as a backup, that is copied into the empty database
    /// first
    #[arg(long, value_name = "URL")]
    pub history: Option<String>,
    /// With --into consumer: the group
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// Only count
    #[arg(long)]
    pub dry_run: bool,
    /// At most so many events a second
    #[arg(long, value_name = "EVENTS_PER_SECOND", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
}

/// Replays.
pub fn run(args: &ReplayArgs, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let config = super::load_with_data(file, None)?.config;
    if config.server.engine != EngineName::Cluster {
        bail!("replay needs the configuration of a cluster: server.engine = \"cluster\"");
    }
    let bus = config.bus.config().context("bus.url will not do")?;
    let Some(bus) = bus else {
        bail!("there is no bus to replay from; set bus.url in the configuration");
    };
    let now = now();
    let given = |flag, text: &Option<String>| {
        let parse = |text: &String| time::parse(text, now).context(flag);
        text.as_ref().map(parse).transpose()
    };
    let range = Range {
        from: given("--from", &args.from)?.unwrap_or(Rev::ZERO),
        to: given("--to", &args.to)?.unwrap_or(now),
    };
    let runtime = store::runtime()?;
    match args.into {
        Into::Ledger => runtime.block_on(into_ledger(args, &config, &bus, range, now)),
        Into::Consumer => runtime.block_on(into_consumer(args, &bus, range)),
    }
}

fn now() -> Rev {
    // A clock before 1970 is none.
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Rev(u64::try_from(since.as_micros()).unwrap_or(u64::MAX)).min(Rev::MAX)
}

async fn into_ledger(
    args: &ReplayArgs,
    config: &Config,
    bus: &BusConfig,
    range: Range,
    now: Rev,
) -> anyhow::Result<Outcome> {
    if args.group.is_some() {
        bail!("--group goes with --into consumer");
    }
    if range.from > range.to {
        bail!(
            "--from {} is after --to {}",
            range.from.time(),
            range.to.time()
        );
    }
    let cluster = &config.cluster;
    let url = args.ledger.as_ref().unwrap_or(&cluster.ledger);
    if url.is_empty() {
        bail!("there is no ledger; set cluster.ledger in the configuration or give --ledger URL");
    }
    if cluster.redis.is_empty() {
        bail!("replay asks Redis in which lives its partitions are; set cluster.redis");
    }
    if args.history.as_ref() == Some(url) {
        bail!("--history is the ledger itself; give an empty database and the older ledger");
    }
    let bounds = &cluster.ledger_bounds;
    let ledger = Ledger::new(url, bounds.clone()).context("the ledger")?;
    let history = args.history.as_ref();
    let history = history.map(|url| Ledger::new(url, bounds.clone()).context("--history"));
    let history = history.transpose()?;
    let kinds = config.kinds()?;
    let spec = Spec {
        ledger: &ledger,
        history: history.as_ref(),
        redis: (&cluster.redis, cluster.redis_limits),
        bus,
        kinds: &kinds,
        partitions: cluster.partitions,
        range,
        now,
        events_per_second: args.rate,
        is_dry: args.dry_run,
    };
    let replayed = when_idle(&spec).await;
    ledger.close().await;
    if let Some(history) = &history {
        history.close().await;
    }
    told::tell(&replayed?, args.dry_run)
}

/// Replays once nobody works on the ledger: a worker that did not end well counts as there until its
/// leases are over.
async fn when_idle(spec: &Spec<'_>) -> Result<Report, ReplayError> {
    let end = Instant::now() + LEASES_END_MAX;
    let mut bar = Bar::new();
    loop {
        match replay::into_ledger(spec, &mut |step| bar.draw(step)).await {
            // Nothing was read or written.
            Err(ReplayError::AtWork { .. }) if Instant::now() < end => {
                tokio::time::sleep(LEASES_PAUSE).await;
            }
            replayed => return replayed,
        }
    }
}

async fn into_consumer(
    args: &ReplayArgs,
    bus: &BusConfig,
    range: Range,
) -> anyhow::Result<Outcome> {
    let Some(group) = &args.group else {
        bail!("--into consumer needs --group NAME");
    };
    for (flag, is_given) in [
        ("--to", args.to.is_some()),
        ("--ledger", args.ledger.is_some()),
        ("--history", args.history.is_some()),
        ("--rate", args.rate.is_some()),
    ] {
        if is_given {
            bail!(
                "{flag} has no meaning with --into consumer: the group reads on from --from to the \
                 end, by itself"
            );
        }
    }
    if *group == bus.group && !args.dry_run {
        tracing::warn!(group, "this is the group that writes the ledger");
    }
    let moved = replay::into_group(bus, group, range.from, args.dry_run).await?;
    told::tell_moved(&moved, group, range.from, args.dry_run)?;
    Ok(Outcome::Done)
}
