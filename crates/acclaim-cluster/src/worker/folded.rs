//! Up to where notifications are folded, as far as this process knows: what journals hold behind it
//! is not trimmed, within `unread_max_events`.
//!
//! Whoever folds writes its place into the ledger; workers look there now and then. A place that is
//! a little old keeps a little more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use acclaim_core::Rev;

use super::drain::Tools;
use super::watched::set;

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);
/// Nobody folds.
const NOBODY: u64 = u64::MAX;

/// The place that was found last. Before the first look: the beginning, so that everything is kept.
#[derive(Debug, Default)]
pub(super) struct Folded(AtomicU64);

impl Folded {
    /// Up to where everything is folded; `None` where nobody folds.
    pub fn upto(&self) -> Option<Rev> {
        match self.0.load(Ordering::Relaxed) {
            NOBODY => None,
            upto => Some(Rev(upto)),
        }
    }
}

/// Looks for as long as the worker runs.
pub(super) async fn watch(tools: Arc<Tools>) {
    // Whoever was to fold and did not for as long as journals are kept is not waited for.
    let recently = Duration::from_secs(tools.limits.journal_keep_seconds);
    loop {
        match tools.ledger.duty().await {
            Ok(duty) if duty.is_done(recently) => {
                let place = duty.position.map_or(Rev::ZERO, |place| place.seq);
                // Of the place's own seq, later partitions may have something to come.
                let upto = place.0.saturating_sub(1);
                tools.folded.0.store(upto, Ordering::Relaxed);
                set(&tools.watched.keeps_unread, 1_u64);
            }
            Ok(_) => {
                tools.folded.0.store(NOBODY, Ordering::Relaxed);
                set(&tools.watched.keeps_unread, 0_u64);
            }
            Err(error) => tracing::debug!(%error, "how far notifications are is not known"),
        }
        tokio::time::sleep(EVERY).await;
    }
}
