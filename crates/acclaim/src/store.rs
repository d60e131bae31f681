//! Opening the embedded store for a command.

use std::path::Path;
use std::sync::Arc;

use acclaim_core::port::Clock;
use acclaim_core::{KindId, Kinds};
use acclaim_engine::SystemClock;
use acclaim_engine::embedded::{BulkLoad, EmbeddedEngine, OpenError};
use anyhow::{Context as _, bail};
use prometheus_client::registry::Registry;

use crate::config::Config;
use crate::control::BackupAnswer;

/// An open store.
pub struct Store {
    /// The engine.
    pub engine: Arc<EmbeddedEngine>,
    /// The clock that it was opened with.
    pub clock: Arc<dyn Clock>,
    /// Its metrics.
    pub registry: Registry,
}

/// Opens the store of the configuration, and makes it where there is none.
///
/// # Errors
/// What the engine says, and for a store in use what to do instead.
pub fn open(config: &Config) -> anyhow::Result<Store> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut registry = Registry::default();
    let dir = &config.server.data;
    let opened = EmbeddedEngine::open(
        dir,
        config.kinds()?,
        config.engine.clone(),
        Arc::clone(&clock),
        // The engine names its metrics without it; the HTTP service adds it by itself.
        registry.sub_registry_with_prefix("acclaim"),
    );
    Ok(Store {
        engine: explain(opened, dir)?,
        clock,
        registry,
    })
}

/// Begins a bulk load into the store of the configuration, and makes it where there is none. `None`
/// where the store is not empty.
///
/// # Errors
/// As [`open`].
pub fn begin_load(config: &Config) -> anyhow::Result<Option<BulkLoad>> {
    let dir = &config.server.data;
    let begun = BulkLoad::begin(dir, config.kinds()?, &config.engine, Arc::new(SystemClock));
    explain(begun, dir)
}

fn explain<T>(opened: Result<T, OpenError>, dir: &Path) -> anyhow::Result<T> {
    match opened {
        Err(error @ OpenError::Locked { .. }) => Err(error).context(
            "the store is in use; a server that runs on it takes imports and exports with \
             --server URL, and backups by itself",
        ),
        opened => opened.with_context(|| format!("cannot open {}", dir.display())),
    }
}

/// Opens a store that must be there already.
///
/// # Errors
/// As [`open`], and when there is no such directory.
pub fn open_existing(config: &Config) -> anyhow::Result<Store> {
    require(&config.server.data)?;
    open(config)
}

fn require(dir: &Path) -> anyhow::Result<()> {
    if !dir.is_dir() {
        bail!("there is no directory {}", dir.display());
    }
    Ok(())
}

impl Store {
    /// Runs a command on the store and closes it, whatever the command came to.
    ///
    /// # Errors
    /// The command's, or else that of closing.
    pub async fn close_after<T>(
        self,
        command: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let result = command(&self).await;
        let stopped = self
            .engine
            .stop()
            .await
            .context("the store did not close well");
        let value = result?;
        stopped?;
        Ok(value)
    }
}

/// The place of a kind.
///
/// # Errors
/// When there is none of that name; names those that there are.
pub fn find_kind(kinds: &Kinds, name: &str) -> anyhow::Result<KindId> {
    kinds.find(name).with_context(|| {
        let names: Vec<&str> = kinds.iter().map(|(_, kind)| kind.name.as_str()).collect();
        format!("there is no kind {name:?}, only {}", names.join(", "))
    })
}

/// A runtime for a command that is no server.
///
/// # Errors
/// When the system has no threads left.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

/// Copies an open store to a new directory. Blocks until the copy is on disk.
///
/// # Errors
/// What the engine says.
pub fn backup(engine: &EmbeddedEngine, to: &Path) -> anyhow::Result<BackupAnswer> {
    let copied = engine.backup(to).context("cannot make the backup")?;
    Ok(BackupAnswer {
        records: copied.records,
        bytes: copied.bytes,
    })
}
