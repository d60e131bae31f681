//! Turns: a partition's journal is moved on by a batch.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::super::drain::{Ended, Outcome, Trouble, Turn, take_turn};
use super::super::look::journal;
use super::super::pause::pause;
use super::super::poison::is_refusal;
use super::super::share::Work;
use super::super::untold::Untold;
use super::super::watched::{add, set};
use super::{Done, Run};
use crate::ledger::{Lease, LedgerError};

/// How long the ledger is waited for after everything was published, before it is looked what it
/// has: recorders tell Redis themselves.
const HEAL_PAUSE: Duration = Duration::from_secs(1);

impl Run {
    pub(super) fn begin_turn(&mut self, partition: u16) {
        let keep = self.tools.keep(self.partitions);
        let Some(held) = self.share.get(partition) else {
            return;
        };
        held.is_busy = true;
        held.work = Work::Nothing;
        let is_asked = std::mem::take(&mut held.is_asked);
        let untold = held.untold.take();
        let turn = Turn {
            journal: journal(held.lease),
            lease: held.lease,
            attempt: held.refusals + 1,
            // One who stops has told everything at the end.
            is_asked: is_asked && self.stopping.is_none(),
            keep,
            heals: held.waits.is_some_and(|(_, until)| Instant::now() >= until),
        };
        self.turns += 1;
        set(&self.tools.watched.drains_running, self.turns);
        let tools = Arc::clone(&self.tools);
        self.under_way.spawn(async move {
            let outcome = take_turn(&tools, turn, untold).await;
            Done::Drained(turn.lease, outcome)
        });
    }

    pub(super) fn note_turn(&mut self, lease: Lease, outcome: Outcome, now: Instant) {
        self.turns -= 1;
        set(&self.tools.watched.drains_running, self.turns);
        let reached_ledger = !matches!(
            outcome,
            Err(Trouble::Ledger(LedgerError::Unavailable { .. })
                | Trouble::Redis(_)
                | Trouble::Bus(_)
                | Trouble::Settle(_)
                | Trouble::OldSeat
                | Trouble::OtherSeat)
        );
        if reached_ledger && self.ledger_failures > 0 {
            tracing::info!("events are taken again");
            self.ledger_failures = 0;
            self.tools
                .watched
                .ledger_away
                .store(false, Ordering::Relaxed);
        }
        let is_fenced = matches!(outcome, Err(Trouble::Ledger(LedgerError::Fenced { .. })));
        if is_fenced || matches!(outcome, Err(Trouble::OtherSeat)) {
            self.lose(lease);
            return;
        }
        let Some(held) = self.share.under(lease) else {
            return;
        };
        held.is_busy = false;
        match outcome {
            Ok((ended, untold)) => {
                held.succeed();
                held.waits = match ended {
                    Ended::Waits(upto) => Some((upto, now + HEAL_PAUSE)),
                    Ended::Drained | Ended::More => None,
                };
                if let Some(due) = untold.as_ref().and_then(Untold::due) {
                    held.want(due);
                }
                held.untold = untold;
                if ended == Ended::More || held.is_asked {
                    held.want(now);
                }
            }
            Err(trouble) => self.note_trouble(lease, &trouble, now),
        }
        let gone = self.share.gone();
        if !gone.is_empty() {
            self.give_back(gone);
        }
    }

    pub(super) fn note_trouble(&mut self, lease: Lease, trouble: &Trouble, now: Instant) {
        let limits = &self.tools.limits;
        let Some(held) = self.share.under(lease) else {
            return;
        };
        held.want(now);
        let partition = lease.partition;
        match trouble {
            Trouble::Ledger(error @ LedgerError::Unavailable { .. }) => {
                add(&self.tools.watched.ledger_failures, 1_u64);
                if self.ledger_failures == 0 {
                    tracing::warn!(%error, "the ledger takes no events; the journals hold them");
                    self.tools
                        .watched
                        .ledger_away
                        .store(true, Ordering::Relaxed);
                }
                // Turns that failed side by side are one failure.
                if now >= self.ledger_rests_until {
                    self.ledger_failures = self.ledger_failures.saturating_add(1);
                    self.ledger_rests_until = now + pause(limits, self.ledger_failures);
                }
            }
            Trouble::Bus(error) => {
                add(&self.tools.watched.publish_failures, 1_u64);
                if self.ledger_failures == 0 {
                    tracing::warn!(%error, "the bus takes no events; the journals hold them");
                }
                if now >= self.ledger_rests_until {
                    self.ledger_failures = self.ledger_failures.saturating_add(1);
                    self.ledger_rests_until = now + pause(limits, self.ledger_failures);
                }
            }
            Trouble::Settle(error) => {
                tracing::warn!(partition, %error, "a partition cannot be opened yet");
                held.fail(now, pause(limits, held.failures + 1));
            }
            Trouble::Ledger(error) => {
                if is_refusal(error) {
                    add(&self.tools.watched.refused_batches, 1_u64);
                    held.refusals = held.refusals.saturating_add(1);
                } else {
                    add(&self.tools.watched.ledger_failures, 1_u64);
                }
                tracing::warn!(partition, %error, "a batch was not applied; it is tried again");
                held.fail(now, pause(limits, held.failures + 1));
            }
            Trouble::Redis(error) => {
                add(&self.tools.watched.redis_failures, 1_u64);
                tracing::debug!(partition, %error, "a partition cannot be drained");
                held.fail(now, pause(limits, held.failures + 1));
            }
            Trouble::OtherJournal | Trouble::Opening | Trouble::OldSeat | Trouble::OtherSeat => {
                tracing::debug!(partition, %trouble, "a partition is looked at anew");
                held.fail(now, pause(limits, 1));
            }
        }
    }
}
