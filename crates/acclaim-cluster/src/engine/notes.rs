//! Notifications and webhooks over the ledger.
//!
//! Every node answers for them; one folds and delivers, under the duty of the ledger
//! ([`crate::ledger::duty`]). Nodes wake each other through a number in the ledger, which is looked
//! at by whoever waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use acclaim_core::error::JobError;
use acclaim_core::notify::erase::{self, EraseError, Erased};
use acclaim_core::notify::{Batch, CommitError, Duty, Key, Notes, Record};
use acclaim_core::port::Dependency;
use acclaim_core::{JournalError, ReadError, WriteError};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Cluster;
use super::errors::{Trouble as _, read_error, unavailable, unknown};
use super::shared::Shared;
use crate::ledger::duty::DutyState;
use crate::ledger::notes::Noted;

/// How often those who wait look whether another node woke them.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// After so long without anybody who folds, nobody is thought to.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

/// Who is to look again, and what is known of who folds.
#[derive(Default)]
pub struct Bell {
    wakes: watch::Sender<u64>,
    /// How often somebody was woken, as the ledger last said.
    of_ledger: AtomicU64,
    duty: Mutex<Option<DutyState>>,
}

impl Bell {
    fn ring(&self) {
        self.wakes.send_modify(|wakes| *wakes += 1);
    }
}

impl Shared {
    /// Takes note of who folds.
    pub async fn look_at_duty(&self) {
        // While the ledger does not answer, what it said last is as good as anything.
        if let Ok(duty) = self.ledger.duty().await {
            *self.bell.duty.lock() = Some(duty);
        }
    }

    /// Who folds events into notifications, where anybody does or did lately.
    pub fn duty_dependency(&self) -> Option<Dependency> {
        let duty = self.bell.duty.lock().clone()?;
        if !duty.is_done(FORGOTTEN_AFTER) {
            return None;
        }
        let up = duty.left > Duration::ZERO;
        let detail = match up {
            true => format!("folded and delivered by {}", duty.owner),
            false => "no node folds and delivers; one that serves takes over".to_owned(),
        };
        Some(Dependency {
            name: "notifications",
            up,
            latency_micros: 0,
            detail: Some(detail),
        })
    }

    /// Erases what is kept for notifications. The edges must be unset by now.
    pub async fn erase_notes(
        self: &Arc<Self>,
        notes: &dyn Notes,
        erased: &Erased,
    ) -> Result<(), JobError> {
        let end = self.journal_end().await;
        let end = end.map_err(|error| match error {
            JournalError::Unavailable {
                reason,
                retry_after,
            } => ReadError::Unavailable {
                reason,
                retry_after,
            },
            error => ReadError::Store(error.to_string()),
        })?;
        let max = self.limits.job_step_edges;
        let erased = erase::all(notes, &self.kinds, erased, end, max).await;
        erased.map_err(|error| match error {
            EraseError::Read(error) => JobError::Read(error),
            EraseError::Write(error) => JobError::Write(error),
        })
    }
}

/// The records, for those who have no [`Cluster`] at hand.
pub struct LedgerNotes(pub Arc<Shared>);

#[async_trait]
impl Notes for LedgerNotes {
    async fn get(&self, keys: Vec<Key>) -> Result<Vec<Option<Vec<u8>>>, ReadError> {
        self.0.ledger.notes(&keys).await.map_err(read_error)
    }

    async fn scan(
        &self,
        prefix: Key,
        after: Option<Key>,
        max: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let found = self.0.ledger.notes_after(&prefix, after.as_deref(), max);
        found.await.map_err(read_error)
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        if self.0.is_stopping() {
            return Err(CommitError::Write(WriteError::Stopping));
        }
        let wakes = batch.wakes;
        match self.0.ledger.write_notes(batch).await {
            Ok(Noted::Written(counted)) => {
                if let Some(counted) = counted {
                    self.0.bell.of_ledger.store(counted, Ordering::Relaxed);
                }
                if wakes {
                    self.0.bell.ring();
                }
                Ok(())
            }
            Ok(Noted::Conflict) => Err(CommitError::Conflict),
            Ok(Noted::Displaced) => Err(CommitError::Displaced),
            Err(failed) if failed.is_open && failed.error.is_away() => {
                Err(CommitError::Write(unknown(&failed.error)))
            }
            Err(failed) => Err(CommitError::Write(unavailable(&failed.error))),
        }
    }

    fn wakes(&self) -> u64 {
        *self.0.bell.wakes.borrow()
    }

    async fn woken(&self, seen: u64) -> u64 {
        let bell = &self.0.bell;
        let mut wakes = bell.wakes.subscribe();
        loop {
            let rung = async { wakes.wait_for(|wakes| *wakes > seen).await.is_ok() };
            if timeout(LOOK_EVERY, rung).await.is_ok() {
                // The sender lives as long as the engine.
                return self.wakes();
            }
            match self.0.ledger.wakes().await {
                Ok(counted) => {
                    if bell.of_ledger.swap(counted, Ordering::Relaxed) != counted {
                        bell.ring();
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "whether another node woke us is not known");
                }
            }
        }
    }

    async fn take_duty(&self) -> Result<Option<Duty>, ReadError> {
        let lasts = self.0.limits.notifications_lease();
        let taken = self.0.ledger.take_duty(&self.0.node, lasts).await;
        let duty = |fence| Duty {
            fence,
            lasts: Some(lasts),
        };
        Ok(taken.map_err(read_error)?.map(duty))
    }

    async fn keep_duty(&self, duty: Duty) -> Result<bool, ReadError> {
        let lasts = duty.lasts.unwrap_or_default();
        let kept = self.0.ledger.keep_duty(duty.fence, lasts).await;
        kept.map_err(read_error)
    }

    async fn leave_duty(&self, duty: Duty) {
        if let Err(error) = self.0.ledger.leave_duty(duty.fence).await {
            tracing::debug!(%error, "the duty of notifications is free when it ends");
        }
    }
}

impl Cluster {
    /// Where notifications are kept.
    pub(super) fn ledger_notes(&self) -> &LedgerNotes {
        &self.notes
    }
}
