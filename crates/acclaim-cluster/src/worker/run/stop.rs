//! Stopping: what is there is drained, within a limit, and the leases are given back.

use std::time::Duration;

use tokio::time::Instant;

use super::super::Stopped;
use super::super::share::{Share, Work};
use super::super::watched::add;
use super::{Run, Stopping};

/// How long leases may take to be given back by a worker that stops.
const GIVE_BACK_LIMIT: Duration = Duration::from_secs(2);

impl Run {
    pub(super) fn begin_stop(&mut self) {
        let now = Instant::now();
        let most = Duration::from_millis(self.tools.limits.stop_max_millis);
        self.stopping = Some(Stopping {
            until: now + most,
            looked: false,
        });
        self.looks_at = now;
        // A look that is under way began before.
        self.looks_again = self.is_looking;
        self.make_all_due(now);
    }

    /// What was seen waits no longer.
    pub(super) fn make_all_due(&mut self, now: Instant) {
        for held in self.share.iter_mut() {
            if held.work != Work::Nothing {
                held.want(now);
            }
        }
    }

    pub(super) fn has_stopped(&self, now: Instant) -> bool {
        let Some(stopping) = self.stopping else {
            return false;
        };
        now >= stopping.until || self.is_drained(stopping)
    }

    pub(super) fn is_drained(&self, stopping: Stopping) -> bool {
        let mut held = self.share.iter();
        stopping.looked
            && self.turns == 0
            && held.all(|held| held.work == Work::Nothing && held.rests_until.is_none())
    }

    pub(super) async fn end(mut self) -> Stopped {
        let drained = self
            .stopping
            .is_some_and(|stopping| self.is_drained(stopping));
        self.under_way.shutdown().await;
        let (ledger, leases) = (&self.tools.ledger, self.share.leases());
        let give_back = async {
            ledger.release_leases(&leases).await?;
            ledger.leave(&self.name).await
        };
        let outcome = tokio::time::timeout(GIVE_BACK_LIMIT, give_back).await;
        let given_back = matches!(outcome, Ok(Ok(())));
        if given_back {
            add(&self.tools.watched.leases_given_back, leases.len());
        } else {
            tracing::warn!(
                leases = leases.len(),
                "leases are left to end by themselves"
            );
        }
        self.share = Share::default();
        self.publish_owned();
        Stopped {
            drained,
            given_back,
        }
    }
}
