//! Calls to an engine that are made again while it is busy or one of its servers is away.
//!
//! Only calls that may be carried out twice: reads, and writes of sets and unsets. A set whose
//! outcome is unknown is set again; then it counts as already there.

use std::time::Duration;

use acclaim_cluster::engine::Cluster;
use acclaim_cluster::ledger::bulk::Imported;
use acclaim_core::port::Write;
use acclaim_core::{Action, Engine, Op, ReadError, Transition, WriteError};
use anyhow::Context as _;
use tokio::time::Instant;

/// How long one call is made again before the command fails.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause before the second time; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The pauses of one call.
struct Pauses {
    until: Instant,
    next: Duration,
}

impl Pauses {
    fn begin() -> Self {
        Self {
            until: Instant::now() + PATIENCE,
            next: FIRST_PAUSE,
        }
    }

    /// Waits, at least as long as was asked for. `false` when that is too long.
    async fn wait(&mut self, at_least: Duration) -> bool {
        let pause = self.next.max(at_least);
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        if Instant::now() + pause > self.until {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }
}

/// Decides sets and unsets.
///
/// # Errors
/// What cannot be waited for, or lasted longer than [`PATIENCE`].
pub(super) async fn apply(engine: &dyn Engine, ops: Vec<Op>) -> anyhow::Result<Vec<Transition>> {
    debug_assert!(ops.iter().all(|op| op.action != Action::Toggle));
    let apply = async || engine.apply(Write::plain(ops.clone())).await;
    Ok(write(apply).await?.transitions)
}

/// Sets many edges of a cluster, past Redis where that can be.
///
/// # Errors
/// As [`apply`].
pub(super) async fn import(cluster: &Cluster, ops: Vec<Op>) -> anyhow::Result<Imported> {
    write(async || cluster.import(ops.clone()).await).await
}

async fn write<T>(mut write: impl AsyncFnMut() -> Result<T, WriteError>) -> anyhow::Result<T> {
    let mut pauses = Pauses::begin();
    loop {
        let error = match write().await {
            Ok(written) => return Ok(written),
            Err(error) => error,
        };
        let at_least = match &error {
            WriteError::Overloaded { .. } | WriteError::Unknown { .. } => Duration::ZERO,
            WriteError::Unavailable { retry_after, .. } => *retry_after,
            _ => return Err(error).context("a batch could not be written"),
        };
        if !pauses.wait(at_least).await {
            return Err(error).with_context(|| {
                format!(
                    "a batch could not be written, tried for {} s",
                    PATIENCE.as_secs()
                )
            });
        }
    }
}

/// Reads.
///
/// # Errors
/// As [`apply`].
pub(super) async fn read<T>(
    mut read: impl AsyncFnMut() -> Result<T, ReadError>,
) -> anyhow::Result<T> {
    let mut pauses = Pauses::begin();
    loop {
        match read().await {
            Err(ReadError::Unavailable {
                retry_after,
                reason,
            }) => {
                if !pauses.wait(retry_after).await {
                    return Err(ReadError::Unavailable {
                        retry_after,
                        reason,
                    }
                    .into());
                }
            }
            answered => return Ok(answered?),
        }
    }
}
