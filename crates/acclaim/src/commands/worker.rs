//! `acclaim worker`: the worker of a cluster alone, in a process that answers how it stands.

use std::path::Path;
use std::sync::Arc;

use acclaim_engine::SystemClock;
use acclaim_http::{App, allowed_without_auth};
use anyhow::Context as _;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use super::serve::{RUNTIME_STOP_TIMEOUT, runtime};
use crate::cli::WorkerArgs;
use crate::config::{Config, load};
use crate::output::{Outcome, say};
use crate::stop::Stop;
use crate::{cluster, logs};

/// Runs the worker until it is told to stop.
pub fn run(args: &WorkerArgs, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let config = load(file, super::environment(), &args.overrides())?.config;
    allowed_without_auth(config.server.listen)?;
    logs::start(&config.server);
    let runtime = runtime(&config.server)?;
    let worked = runtime.block_on(work(config));
    runtime.shutdown_timeout(RUNTIME_STOP_TIMEOUT);
    worked
}

async fn work(config: Config) -> anyhow::Result<Outcome> {
    let mut stop = Stop::listen()?;
    let listen = config.server.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let mut registry = Registry::default();
    let opening = cluster::open(&config, cluster::Worker::Here, &mut registry);
    let cluster = tokio::select! {
        opened = opening => match opened {
            Ok(cluster) => cluster,
            Err(failure) => return failure.end(),
        },
        () = stop.wait() => return Ok(Outcome::Done),
    };
    let app = App::of_worker(
        cluster.clone(),
        config.http,
        Arc::new(SystemClock),
        registry,
    )?;
    say(format_args!("acclaim worker listening on http://{address}"))?;
    let served = acclaim_http::serve(listener, app, stop.wait()).await;
    cluster.stop().await;
    served?;
    tracing::info!("stopped");
    Ok(Outcome::Done)
}
