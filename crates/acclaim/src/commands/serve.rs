//! `acclaim serve`: from the configuration to a server that answers, and down again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use acclaim_cluster::engine::Cluster;
use acclaim_core::Engine;
use acclaim_core::port::Clock;
use acclaim_engine::SystemClock;
use acclaim_http::{App, allowed_without_auth};
use acclaim_notify::{HttpSender, Metrics, Notifier};
use anyhow::{Context as _, bail};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::cli::ServeArgs;
use crate::config::{Config, EngineName, Server, load};
use crate::control::Control;
use crate::output::{Outcome, say};
use crate::stop::Stop;
use crate::store::{self, Store};
use crate::{cluster, logs};

/// How long what is still running after the store is closed may hold the process up.
pub(super) const RUNTIME_STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs the server until it is told to stop.
pub fn run(args: &ServeArgs, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let config = load(file, super::environment(), &args.overrides())?.config;
    allowed_without_auth(config.server.listen)?;
    logs::start(&config.server);
    let runtime = runtime(&config.server)?;
    let served = runtime.block_on(serve(config));
    runtime.shutdown_timeout(RUNTIME_STOP_TIMEOUT);
    served
}

pub(super) fn runtime(server: &Server) -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if server.worker_threads > 0 {
        builder.worker_threads(server.worker_threads);
    }
    builder.enable_all().build().context("cannot start threads")
}

/// What was opened.
enum Opened {
    Embedded(Store),
    Cluster(Arc<Cluster>),
}

impl Opened {
    fn engine(&self) -> Arc<dyn Engine> {
        match self {
            Self::Embedded(store) => store.engine.clone(),
            Self::Cluster(cluster) => cluster.clone(),
        }
    }

    async fn stop(&self) -> anyhow::Result<()> {
        match self {
            Self::Embedded(store) => {
                let stopped = store.engine.stop().await;
                stopped.context("the store did not close well")
            }
            Self::Cluster(cluster) => {
                cluster.stop().await;
                Ok(())
            }
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<Outcome> {
    let mut stop = Stop::listen()?;
    let listen = config.server.listen;
    // Before the store is opened: a port in use is found out without touching it, and whoever
    // connects while it opens waits instead of being refused.
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let mut registry = Registry::default();
    let opened = match config.server.engine {
        EngineName::Embedded => {
            if !config.bus.url.is_empty() {
                bail!(
                    "bus.url is set, and the embedded engine has no bus; take --engine cluster, or \
                     no bus"
                );
            }
            let config = config.clone();
            let mut store = tokio::task::spawn_blocking(move || store::open(&config)).await??;
            registry = std::mem::take(&mut store.registry);
            Opened::Embedded(store)
        }
        EngineName::Cluster => {
            let opening = cluster::open(&config, cluster::Worker::AsConfigured, &mut registry);
            tokio::select! {
                opened = opening => match opened {
                    Ok(cluster) => Opened::Cluster(cluster),
                    Err(failure) => return failure.end(),
                },
                () = stop.wait() => return Ok(Outcome::Done),
            }
        }
    };
    let control = control(&opened, &config);
    let notifier = notifier(&opened, &config, &mut registry)?;
    let app = App::notifying(
        opened.engine(),
        config.http.clone(),
        config.notify(),
        Arc::new(SystemClock),
        registry,
    )?;
    say(format_args!("acclaim listening on http://{address}"))?;
    tracing::info!(%address, engine = config.server.engine.word(), "listening");
    let answering = acclaim_http::serve(listener, app, stop.wait());
    let served = tokio::select! {
        served = answering => served,
        () = asked(control.as_ref(), &opened) => Ok(()),
    };
    drop(control);
    notifier.stop().await;
    let stopped = opened.stop().await;
    served?;
    stopped?;
    tracing::info!("stopped");
    Ok(Outcome::Done)
}

/// What reads the journal for those who are told, and delivers webhooks.
fn notifier(opened: &Opened, config: &Config, registry: &mut Registry) -> anyhow::Result<Notifier> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = Metrics::register(registry);
    let sender = Arc::new(HttpSender::new(config.webhooks.clone())?);
    let engine = opened.engine();
    Ok(Notifier::start(
        &engine,
        &config.notify(),
        &clock,
        sender,
        &metrics,
    ))
}

/// The socket by which a backup is asked for. A cluster's servers have backups of their own.
fn control(opened: &Opened, config: &Config) -> Option<Control> {
    if matches!(opened, Opened::Cluster(_)) {
        return None;
    }
    match Control::open(&config.server.data) {
        Ok(control) => Some(control),
        Err(error) => {
            tracing::warn!(%error, "no control socket: backups need this server to be stopped");
            None
        }
    }
}

/// Answers the control socket for ever; without one, only waits.
async fn asked(control: Option<&Control>, opened: &Opened) {
    match (control, opened) {
        (Some(control), Opened::Embedded(store)) => control.serve(Arc::clone(&store.engine)).await,
        _ => std::future::pending().await,
    }
}
