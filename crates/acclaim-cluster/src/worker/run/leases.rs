//! Leases: taken, renewed, lost, given back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::pause::pause;
use super::super::share::shares;
use super::super::watched::{add, set};
use super::{Beat, Done, Run};
use crate::failpoint;
use crate::ledger::{Lease, LedgerError};

impl Run {
    pub(super) fn begin_beat(&mut self) {
        self.is_beating = true;
        let (tools, name) = (Arc::clone(&self.tools), Arc::clone(&self.name));
        let (asked, known) = (self.share.leases(), self.partitions);
        let length = Duration::from_millis(tools.limits.lease_millis);
        let beat = async move {
            let ledger = &tools.ledger;
            let alive = ledger.beat(&name, length).await?;
            let renewed = ledger.renew_leases(&asked, length).await?;
            let partitions = match known {
                0 => u16::try_from(ledger.partitions().await?.len()).unwrap_or(u16::MAX),
                known => known,
            };
            Ok(Beat {
                partitions,
                alive,
                asked,
                renewed,
            })
        };
        self.under_way.spawn(async { Done::Beaten(beat.await) });
    }

    pub(super) fn note_beat(&mut self, outcome: Result<Beat, LedgerError>, now: Instant) {
        let beat = match outcome {
            Ok(beat) => beat,
            Err(error) => return self.note_beat_failure(&error, now),
        };
        if self.beat_failures > 0 {
            tracing::info!("leases are renewed again");
        }
        self.beat_failures = 0;
        self.partitions = beat.partitions;
        self.alive = beat.alive.max(1);
        set(&self.tools.watched.workers_alive, self.alive);
        for lease in beat.asked {
            if !beat.renewed.contains(&lease) {
                self.lose(lease);
            }
        }
        if self.stopping.is_some() {
            self.is_beating = false;
            return;
        }
        let (most, _) = shares(self.partitions, self.alive);
        let owned = self.share.len();
        if owned < most {
            self.begin_take(most - owned);
            return;
        }
        let gone = self.share.give_up(owned - most);
        self.give_back(gone);
        self.end_beat(now);
    }

    pub(super) fn note_beat_failure(&mut self, error: &LedgerError, now: Instant) {
        add(&self.tools.watched.ledger_failures, 1_u64);
        if self.beat_failures == 0 {
            tracing::warn!(%error, "leases cannot be taken or renewed; trying on");
        }
        self.beat_failures = self.beat_failures.saturating_add(1);
        self.is_beating = false;
        self.beats_at = now + pause(&self.tools.limits, self.beat_failures);
    }

    pub(super) fn begin_take(&mut self, most: usize) {
        let (tools, name) = (Arc::clone(&self.tools), Arc::clone(&self.name));
        let most = u16::try_from(most).unwrap_or(u16::MAX);
        let length = Duration::from_millis(tools.limits.lease_millis);
        self.under_way
            .spawn(async move { Done::Taken(tools.ledger.take_leases(&name, most, length).await) });
    }

    pub(super) fn note_taken(&mut self, outcome: Result<Vec<Lease>, LedgerError>, now: Instant) {
        let leases = match outcome {
            Ok(leases) => leases,
            Err(error) => return self.note_beat_failure(&error, now),
        };
        if self.stopping.is_some() {
            self.is_beating = false;
            return self.give_back(leases);
        }
        add(&self.tools.watched.leases_taken, leases.len());
        if !leases.is_empty() {
            failpoint::hit(failpoint::LEASES_TAKEN);
        }
        for lease in leases {
            tracing::debug!(
                partition = lease.partition,
                fence = lease.fence,
                "a lease was taken"
            );
            self.share.add(lease);
            self.looks_at = now;
        }
        self.publish_owned();
        self.end_beat(now);
    }

    pub(super) fn end_beat(&mut self, now: Instant) {
        let limits = &self.tools.limits;
        let (_, least) = shares(self.partitions, self.alive);
        let wait = if self.share.len() < least {
            limits.lease_retry_millis
        } else {
            limits.lease_renew_millis
        };
        self.is_beating = false;
        self.beats_at = now + Duration::from_millis(wait);
    }

    pub(super) fn lose(&mut self, lease: Lease) {
        if self.share.remove(lease) {
            let (partition, fence) = (lease.partition, lease.fence);
            let seats = self.tools.redis.seats();
            let turn = seats.and_then(|seats| seats.turn(partition));
            if turn.is_some_and(|turn| turn > lease.turn) {
                // As at the first start: whoever takes a seat ends the lease.
                tracing::info!(partition, fence, "a lease ended with the turn of its seat");
            } else {
                tracing::warn!(partition, fence, "a lease was lost");
            }
            add(&self.tools.watched.leases_lost, 1_u64);
            self.publish_owned();
            self.beats_at = Instant::now();
        }
    }

    pub(super) fn give_back(&mut self, leases: Vec<Lease>) {
        self.publish_owned();
        if leases.is_empty() {
            return;
        }
        let tools = Arc::clone(&self.tools);
        self.under_way.spawn(async move {
            let outcome = tools.ledger.release_leases(&leases).await;
            Done::GivenBack(leases.len(), outcome)
        });
    }

    pub(super) fn publish_owned(&self) {
        let staying = self.share.iter().filter(|held| !held.is_leaving);
        self.desk.own(staying.map(|held| held.lease.partition));
        set(&self.tools.watched.partitions_owned, self.share.len());
    }
}
