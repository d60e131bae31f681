//! `acclaim serve`: from the configuration to a server that answers, and down again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use acclaim_http::{App, allowed_without_auth};
use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::cli::ServeArgs;
use crate::config::{Config, Server, load};
use crate::control::Control;
use crate::output::{Outcome, say};
use crate::stop::Stop;
use crate::{logs, store};

/// How long what is still running after the store is closed may hold the process up.
const RUNTIME_STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs the server until it is told to stop.
pub fn run(args: &ServeArgs, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let config = load(file, super::environment(), &args.overrides())?.config;
    allowed_without_auth(config.server.listen)?;
    logs::start(&config.server);
    let runtime = runtime(&config.server)?;
    let served = runtime.block_on(serve(config));
    runtime.shutdown_timeout(RUNTIME_STOP_TIMEOUT);
    served?;
    Ok(Outcome::Done)
}

fn runtime(server: &Server) -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if server.worker_threads > 0 {
        builder.worker_threads(server.worker_threads);
    }
    builder.enable_all().build().context("cannot start threads")
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let stop = Stop::listen()?;
    let listen = config.server.listen;
    // Before the store is opened: a port in use is found out without touching it, and whoever
    // connects while it opens waits instead of being refused.
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let opening = tokio::task::spawn_blocking(move || store::open(&config).map(|s| (s, config)));
    let (store, config) = opening.await??;
    let control = control(&config);
    let app = App::new(
        store.engine.clone(),
        config.http,
        Arc::clone(&store.clock),
        store.registry,
    )?;
    say(format_args!("acclaim listening on http://{address}"))?;
    tracing::info!(%address, data = %config.server.data.display(), "listening");
    let answering = acclaim_http::serve(listener, app, stop.wait());
    let served = tokio::select! {
        served = answering => served,
        () = asked(control.as_ref(), &store.engine) => Ok(()),
    };
    drop(control);
    let stopped = store.engine.stop().await;
    served?;
    stopped.context("the store did not close well")?;
    tracing::info!("stopped");
    Ok(())
}

fn control(config: &Config) -> Option<Control> {
    match Control::open(&config.server.data) {
        Ok(control) => Some(control),
        Err(error) => {
            tracing::warn!(%error, "no control socket: backups need this server to be stopped");
            None
        }
    }
}

/// Answers the control socket for ever; without one, only waits.
async fn asked(control: Option<&Control>, engine: &Arc<acclaim_engine::embedded::EmbeddedEngine>) {
    match control {
        Some(control) => control.serve(Arc::clone(engine)).await,
        None => std::future::pending().await,
    }
}
