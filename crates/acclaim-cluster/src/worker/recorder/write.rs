//! A round goes into the ledger, and is tried until it is there.
//!
//! While the ledger is away, or takes nothing, the batch is kept and tried again: nothing is given
//! back to the bus for it, which would bury it after a few tries. Events for which a whole
//! transaction is refused are looked for by halves, as without a bus ([`super::super::poison`]), and
//! become dead letters when they were refused again and again and are few.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use acclaim_core::Rev;

use super::super::pause::pause;
use super::super::poison::is_refusal;
use super::super::watched::add;
use super::Recorder;
use super::refused;
use super::sort::{Round, Stretch};
use crate::ledger::{Carried, Entry, LedgerError, Recorded};

/// A stretch that is in the ledger.
pub(super) struct Done {
    pub stretch: Stretch,
    pub recorded: Recorded,
}

impl Recorder {
    /// Writes rounds until they are in the ledger. `None`: the worker stops, and they are not.
    pub(super) async fn write(&self, rounds: Vec<Round>) -> Option<Vec<Done>> {
        let mut done = Vec::new();
        for round in rounds {
            match round {
                Round::Write(stretches) => done.extend(self.write_round(stretches).await?),
                Round::Close(partition, turn) => {
                    self.until_taken(|| self.tools.ledger.close_turns(partition, turn))
                        .await?;
                    add(&self.tools.watched.barriers, 1_u64);
                }
            }
        }
        Some(done)
    }

    async fn write_round(&self, stretches: BTreeMap<u16, Stretch>) -> Option<Vec<Done>> {
        let mut stretches: Vec<Stretch> = stretches.into_values().collect();
        let mut refusals = 0_u32;
        loop {
            let carried: Vec<&Carried> = stretches.iter().map(|one| &one.carried).collect();
            let ledger = &self.tools.ledger;
            let written = self.until_answered(|| ledger.record(&carried)).await?;
            match written {
                Ok(recorded) => {
                    add(&self.tools.watched.batches, 1_u64);
                    let both = stretches.into_iter().zip(recorded);
                    let done = both.map(|(stretch, recorded)| Done { stretch, recorded });
                    return Some(done.collect());
                }
                Err(refusal) => {
                    refusals += 1;
                    add(&self.tools.watched.refused_batches, 1_u64);
                    tracing::warn!(%refusal, refusals, "the ledger refuses a batch of the bus");
                    if refusals >= self.tools.limits.poison_attempts {
                        for stretch in &mut stretches {
                            self.mark_refused(&mut stretch.carried).await?;
                        }
                    }
                    self.rest(refusals).await?;
                }
            }
        }
    }

    /// Makes dead letters of the entries of a stretch for which it is refused. `None`: the worker
    /// stops.
    async fn mark_refused(&self, carried: &mut Carried) -> Option<()> {
        let give = |part: Carried| async move {
            let (ledger, part) = (&self.tools.ledger, [&part]);
            let tried = self.until_answered(|| ledger.record(&part)).await;
            tried.map(Result::err).ok_or(())
        };
        let most = self.tools.limits.poison_max_events;
        let marked = refused::mark_refused(carried, most, give).await;
        marked.ok().map(drop)
    }

    /// Tries until the ledger took it or refused it. `None`: the worker stops.
    async fn until_answered<T, F>(&self, call: impl Fn() -> F) -> Option<Result<T, LedgerError>>
    where
        F: Future<Output = Result<T, LedgerError>>,
    {
        let mut failures = 0_u32;
        loop {
            match call().await {
                Ok(value) => {
                    self.tools
                        .watched
                        .ledger_away
                        .store(false, Ordering::Relaxed);
                    return Some(Ok(value));
                }
                Err(error) if is_refusal(&error) => return Some(Err(error)),
                Err(error) => {
                    add(&self.tools.watched.ledger_failures, 1_u64);
                    if failures == 0 {
                        tracing::warn!(%error, "the ledger takes nothing; the bus holds it");
                    }
                    let away = matches!(error, LedgerError::Unavailable { .. });
                    self.tools
                        .watched
                        .ledger_away
                        .store(away, Ordering::Relaxed);
                    failures = failures.saturating_add(1);
                    self.rest(failures).await?;
                }
            }
        }
    }

    /// Tries until it is done.
    pub(super) async fn until_taken<T, F>(&self, call: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, LedgerError>>,
    {
        let mut refusals = 0_u32;
        loop {
            match self.until_answered(&call).await? {
                Ok(value) => return Some(value),
                Err(error) => {
                    tracing::error!(%error, "the ledger refuses");
                    refusals = refusals.saturating_add(1);
                    self.rest(refusals).await?;
                }
            }
        }
    }

    /// Pauses after a failure. `None`: the worker stops.
    pub(super) async fn rest(&self, failures: u32) -> Option<()> {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(pause(&self.tools.limits, failures)) => Some(()),
            _ = stopping.wait_for(|stopping| *stopping) => None,
        }
    }
}

impl Done {
    /// The entries that `applied` moved over, or had before.
    pub fn applied(&self) -> impl Iterator<Item = &Entry> {
        let applied = self.recorded.applied.applied;
        let entries = self.stretch.carried.batch.entries.iter();
        entries.filter(move |entry| entry.seq <= applied)
    }

    /// The place of the last entry.
    pub fn last(&self) -> Rev {
        let entries = self.stretch.carried.batch.entries.iter();
        entries.map(|entry| entry.seq).max().unwrap_or(Rev::ZERO)
    }
}
