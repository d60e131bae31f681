//! The port of `acclaim-core`, answered by the embedded engine.

use std::ops::ControlFlow;

use acclaim_core::cursor::CursorKey;
use acclaim_core::port::{
    Applied, Count, Daily, Dependency, Event, Health, Journal, Known, Listing, Place, Ranked,
    Reads, Relationship, Status, UserNumbers, Write, Writes,
};
use acclaim_core::pulse::Window;
use acclaim_core::{
    EdgeKey, Engine, Id, JournalError, KindId, Kinds, Page, ReadError, Rev, Start, Target,
    TargetKey, TargetType, UserKey, WriteError,
};
use async_trait::async_trait;
use std::sync::atomic::Ordering;

use super::EmbeddedEngine;
use super::lane::{Command, KeyInFlight};
use super::log::LogReader;
use super::read::{Reading, at_length};

/// Look-ups of one call that are done on the spot; more go to a thread for long reads.
const FEW_LOOKUPS: usize = 64;

#[async_trait]
impl Writes for EmbeddedEngine {
    async fn apply(&self, write: Write) -> Result<Applied, WriteError> {
        // Every answer of this engine is durable, so each acknowledgement level is already met.
        let in_flight = match write.idempotency {
            Some(idempotency) => Some(KeyInFlight::take(&self.shared, idempotency)?),
            None => None,
        };
        let weight = write.ops.len();
        self.ask(Command::Write(write.ops, in_flight), weight).await
    }
}

#[async_trait]
impl Reads for EmbeddedEngine {
    async fn statuses(&self, edges: Vec<EdgeKey>) -> Result<Vec<Status>, ReadError> {
        if edges.len() <= FEW_LOOKUPS {
            return Reading::begin(&self.shared).statuses(&edges);
        }
        at_length(&self.shared, move |_, reading| reading.statuses(&edges)).await
    }

    async fn counts(&self, targets: Vec<TargetKey>) -> Result<Vec<Count>, ReadError> {
        let read = |reading: &Reading, targets: &[TargetKey]| {
            targets.iter().map(|target| reading.count(target)).collect()
        };
        if targets.len() <= FEW_LOOKUPS {
            return read(&Reading::begin(&self.shared), &targets);
        }
        at_length(&self.shared, move |_, reading| read(&reading, &targets)).await
    }

    async fn users(
        &self,
        target: TargetKey,
        start: Start<Id>,
        size: usize,
    ) -> Result<Listing<Id>, ReadError> {
        Reading::begin(&self.shared).users(&target, start, size)
    }

    async fn targets(
        &self,
        user: UserKey,
        target_type: Option<TargetType>,
        start: Start<Target>,
        size: usize,
    ) -> Result<Listing<Target>, ReadError> {
        Reading::begin(&self.shared).targets(&user, target_type.as_ref(), start, size)
    }

    async fn numbers(&self, user: UserKey) -> Result<UserNumbers, ReadError> {
        Reading::begin(&self.shared).numbers(&user)
    }

    async fn mutual(
        &self,
        user: UserKey,
        start: Start<Id>,
        size: usize,
    ) -> Result<Page<Id>, ReadError> {
        at_length(&self.shared, move |_, reading| {
            reading.mutual(&user, start, size)
        })
        .await
    }

    async fn common(
        &self,
        user: UserKey,
        other: Id,
        start: Start<Target>,
        size: usize,
    ) -> Result<Page<Target>, ReadError> {
        at_length(&self.shared, move |_, reading| {
            reading.common(&user, &other, start, size)
        })
        .await
    }

    async fn relationships(
        &self,
        user: UserKey,
        others: Vec<Id>,
    ) -> Result<Vec<Relationship>, ReadError> {
        at_length(&self.shared, move |_, reading| {
            others
                .iter()
                .map(|other| reading.relationship(&user, other))
                .collect()
        })
        .await
    }

    async fn known(
        &self,
        user: Id,
        via: KindId,
        target: TargetKey,
        size: usize,
    ) -> Result<Known, ReadError> {
        at_length(&self.shared, move |_, reading| {
            reading.known(&user, via, &target, size)
        })
        .await
    }

    async fn ranking(
        &self,
        kind: KindId,
        target_type: TargetType,
        window: Window,
        size: usize,
    ) -> Result<Vec<Ranked>, ReadError> {
        let now = self.now();
        at_length(&self.shared, move |shared, reading| {
            reading.ranking(shared, kind, &target_type, window, size, now)
        })
        .await
    }

    async fn daily(
        &self,
        kind: KindId,
        target_type: Option<TargetType>,
        days: u32,
    ) -> Result<Vec<Daily>, ReadError> {
        let reading = Reading::begin(&self.shared);
        Ok(reading.daily(&self.shared, kind, target_type.as_ref(), days, self.now()))
    }
}

impl EmbeddedEngine {
    /// The time that reads of windows and days go by: never before the last transition, so that a
    /// clock set back hides nothing.
    fn now(&self) -> Rev {
        self.shared.clock.now().max(self.end().seq)
    }

    /// The place of the newest durable transition.
    fn end(&self) -> Place {
        Place::unpartitioned(*self.shared.end.borrow())
    }
}

#[async_trait]
impl Journal for EmbeddedEngine {
    async fn journal_end(&self) -> Result<Place, JournalError> {
        Ok(self.end())
    }

    async fn journal_after(
        &self,
        after: Place,
        max_events: usize,
    ) -> Result<Vec<Event>, JournalError> {
        let end = self.end();
        if after >= end {
            return Ok(Vec::new());
        }
        if self.shared.segments.read().is_empty() {
            // What there is came by a bulk load, of which there are no events.
            return Err(JournalError::Trimmed {
                asked: after,
                oldest: end,
            });
        }
        let reader = LogReader::new(self.shared.segments.clone());
        // After the end: the names of whatever is before it are known by now.
        let dictionary = self.shared.dictionary.load_full();
        let read = tokio::task::spawn_blocking(move || {
            let mut events = Vec::new();
            reader.changes_after(after.seq, |change| {
                // Durable, but reads do not show it yet, and its names may not be known.
                if change.seq > end.seq {
                    return ControlFlow::Break(());
                }
                if let Some(edge) = dictionary.edge_key(&change.edge) {
                    let (active, rev) = (change.after.active, change.after.rev);
                    events.push(Event {
                        place: Place::unpartitioned(change.seq),
                        edge,
                        active,
                        rev,
                        count: change.count,
                    });
                }
                if events.len() < max_events {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            Ok(events)
        });
        read.await
            .unwrap_or_else(|died| Err(JournalError::Store(format!("a read died: {died}"))))
    }

    async fn journal_passes(&self, after: Place) -> bool {
        let (mut end, mut stopping) = (
            self.shared.end.subscribe(),
            self.shared.stopping.subscribe(),
        );
        // An error means that the engine is gone.
        tokio::select! {
            biased;
            passed = end.wait_for(|end| Place::unpartitioned(*end) > after) => passed.is_ok(),
            _ = stopping.wait_for(|stopping| *stopping) => false,
        }
    }
}

impl Engine for EmbeddedEngine {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn kinds(&self) -> &Kinds {
        &self.shared.kinds
    }

    fn cursor_key(&self) -> &CursorKey {
        &self.shared.cursor_key
    }

    fn health(&self) -> Health {
        let full = self.shared.disk_full.load(Ordering::Relaxed);
        let running = self.shared.running.load(Ordering::Acquire);
        let detail = match (running, full) {
            (false, _) => Some("the engine is stopping".to_owned()),
            (true, true) => Some("the disk is full: reads go on, writes are refused".to_owned()),
            (true, false) => None,
        };
        Health {
            ready: running && !full,
            guarantee: "written to the log and flushed to disk (fdatasync) before the answer; \
                        survives the end of the process and a power cut"
                .to_owned(),
            dependencies: vec![Dependency {
                name: "data-directory",
                up: detail.is_none(),
                latency_micros: 0,
                detail,
            }],
            backlog_events: 0,
            backlog_millis: 0,
        }
    }

    fn notes(&self) -> Option<&dyn acclaim_core::notify::Notes> {
        Some(self)
    }
}
