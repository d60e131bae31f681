//! Opening the cluster engine for a command.

mod metrics;

use std::sync::Arc;
use std::time::{Duration, Instant};

use acclaim_cluster::engine::{Cluster, ClusterConfig, ClusterLimits};
use anyhow::{Context as _, bail};
use prometheus_client::registry::Registry;

use crate::config::{Config, without_password};
use crate::output::{Outcome, note};

/// The first pause between two tries to reach the servers; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Who moves events into the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// This process, or another: as the configuration says.
    AsConfigured,
    /// This process.
    Here,
}

/// Why a cluster could not be opened.
#[derive(Debug)]
pub enum Failure {
    /// The servers could not be reached for as long as the configuration waits.
    Unreachable(anyhow::Error),
    /// It will not do.
    Wrong(anyhow::Error),
}

impl Failure {
    /// Explains it, and says how the command ended: 1 where the servers were not there, so that
    /// whoever started it knows that another start may do.
    ///
    /// # Errors
    /// What is not a matter of the servers being there.
    pub fn end(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Unreachable(error) => {
                note(format_args!("acclaim: {error:#}"));
                Ok(Outcome::Findings)
            }
            Self::Wrong(error) => Err(error),
        }
    }
}

/// Opens the cluster of the configuration; makes its tables where there are none. Waits for servers
/// that cannot be reached.
///
/// # Errors
/// [`Failure`], with the address of the server that is not there.
pub async fn open(
    config: &Config,
    worker: Worker,
    registry: &mut Registry,
) -> Result<Arc<Cluster>, Failure> {
    let settings = settings(config, worker).map_err(Failure::Wrong)?;
    let kinds = config
        .kinds()
        .map_err(|error| Failure::Wrong(error.into()))?;
    let wait = Duration::from_secs(config.cluster.start_wait_seconds);
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    let what = format!(
        "cannot open the cluster on {} and {}",
        without_password(&settings.redis_url),
        without_password(&settings.ledger_url)
    );
    loop {
        let settings = ClusterConfig {
            seats_wait: wait.saturating_sub(began.elapsed()),
            ..settings.clone()
        };
        match Cluster::open(settings, kinds.clone(), None).await {
            Ok(cluster) => {
                let cluster = Arc::new(cluster);
                metrics::register(registry, &cluster);
                return Ok(cluster);
            }
            Err(error) if !error.is_unreachable() => {
                return Err(Failure::Wrong(anyhow::Error::new(error).context(what)));
            }
            Err(error) if began.elapsed() + pause > wait => {
                let what = format!(
                    "{what}; tried for {} s (cluster.start_wait_seconds)",
                    wait.as_secs()
                );
                return Err(Failure::Unreachable(
                    anyhow::Error::new(error).context(what),
                ));
            }
            Err(error) => {
                tracing::warn!(%error, again_in = ?pause, "a server of the cluster cannot be reached");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Runs a command on the cluster of the configuration and closes it, whatever the command came to.
/// A worker runs meanwhile, so that what the command writes comes into the ledger also where no
/// other process moves it.
///
/// # Errors
/// [`Failure`] where the cluster could not be opened; the inner result is the command's.
pub async fn with<T>(
    config: &Config,
    command: impl AsyncFnOnce(&Cluster) -> anyhow::Result<T>,
) -> Result<anyhow::Result<T>, Failure> {
    let mut unused = Registry::default();
    let cluster = open(config, Worker::Here, &mut unused).await?;
    let done = command(&cluster).await;
    cluster.stop().await;
    Ok(done)
}

/// The longest wait for the ledger to have what was written before a command read it.
const SETTLE_MAX: Duration = Duration::from_secs(600);

/// Waits until the ledger has everything that was acknowledged before the call.
///
/// # Errors
/// When Redis or the workers do not come to that in [`SETTLE_MAX`].
pub async fn settle(cluster: &Cluster) -> anyhow::Result<()> {
    let settled = cluster.settle(SETTLE_MAX).await;
    if !settled.context("cannot look what the ledger still lacks")? {
        bail!(
            "the ledger does not have everything after {} s; are its workers well?",
            SETTLE_MAX.as_secs()
        );
    }
    Ok(())
}

fn settings(config: &Config, worker: Worker) -> anyhow::Result<ClusterConfig> {
    let section = &config.cluster;
    for (url, what, flag) in [
        (&section.redis, "cluster.redis", "--redis"),
        (&section.ledger, "cluster.ledger", "--ledger"),
    ] {
        if url.is_empty() {
            bail!(
                "the cluster engine needs {what}; set it in the configuration or with {flag} URL"
            );
        }
    }
    let runs = worker == Worker::Here || section.worker;
    Ok(ClusterConfig {
        redis_url: section.redis.clone(),
        ledger_url: section.ledger.clone(),
        ledger_replicas: section.replicas.clone(),
        node: node(&section.node)?,
        partitions: section.partitions,
        seats_wait: Duration::ZERO,
        redis: section.redis_limits,
        ledger: section.ledger_bounds.clone(),
        limits: ClusterLimits {
            keep_seconds: section.worker_limits.key_keep_seconds,
            ..section.limits.clone()
        },
        worker: runs.then(|| section.worker_limits.clone()),
        bus: config.bus.config().context("bus.url will not do")?,
    })
}

/// A name that no other node has: two processes of one machine differ by the number.
fn node(configured: &str) -> anyhow::Result<String> {
    if !configured.is_empty() {
        return Ok(configured.to_owned());
    }
    let host = rustix::system::uname();
    let host = host
        .nodename()
        .to_str()
        .context("the host's name is not text")?;
    let host: String = host.chars().take(40).collect();
    Ok(format!("{host}-{:08x}", rand::random::<u32>()))
}
