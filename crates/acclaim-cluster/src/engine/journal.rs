//! The journals of all partitions as one.
//!
//! Places are given in each partition by itself, so a later transition may have a lower place in
//! another one. Before events are handed out, every partition is sealed up to the highest place
//! given anywhere: from then on nothing comes below it, and what is there is merged. This happens
//! only while somebody reads.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use acclaim_core::port::{Event, Place};
use acclaim_core::{JournalError, Rev};
use futures::future::try_join_all;

use super::errors::journal_error;
use super::shared::Shared;
use crate::redis::error::RedisError;
use crate::redis::event::JournalEvent;
use crate::redis::journal::MAX_JOURNAL_READ_EVENTS;
use crate::redis::load::Cold;
use crate::redis::progress::Progress;

/// How far a place may lie ahead of the clocks of all shards: one whose clock is wrong must not
/// take the others with it.
const MAX_AHEAD_MICROS: u64 = 10_000_000;
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Events of a partition that are looked for at once, at least.
const MIN_PART_EVENTS: usize = 16;

/// Which events are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    /// Those that the ledger has.
    Recorded,
}

/// What was read of a partition.
struct Part {
    number: u16,
    /// Up to where.
    from: Rev,
    events: Vec<JournalEvent>,
    /// There is nothing more that is asked for.
    is_done: bool,
}

impl Part {
    fn after(number: u16, after: Place) -> Self {
        // Of the place's own seq only later partitions have something to come.
        let from = if number > after.partition {
            Rev(after.seq.0.saturating_sub(1))
        } else {
            after.seq
        };
        Self {
            number,
            from,
            events: Vec::new(),
            is_done: false,
        }
    }
}

/// Up to where everything was read of all partitions.
fn complete_upto(parts: &[Part]) -> Rev {
    let open = parts.iter().filter(|part| !part.is_done);
    open.map(|part| part.from).min().unwrap_or(Rev(u64::MAX))
}

/// Up to where the ledger has everything; `None` where it lacks nothing at all.
fn recorded_upto(found: &[(u16, Progress)]) -> Option<Rev> {
    let lacking = found.iter().filter(|(_, progress)| !progress.is_durable());
    lacking.map(|(_, progress)| progress.durable).min()
}

impl Shared {
    /// See [`acclaim_core::port::Journal::journal_end`].
    pub async fn journal_end(self: &Arc<Self>) -> Result<Place, JournalError> {
        let found = self.warm_progress().await?;
        let upto = self.seal(&found).await.map_err(journal_error)?;
        Ok(Place {
            seq: upto,
            partition: self.store.partitions - 1,
        })
    }

    /// See [`acclaim_core::port::Journal::journal_after`].
    pub async fn journal_after(
        self: &Arc<Self>,
        after: Place,
        max_events: usize,
    ) -> Result<Vec<Event>, JournalError> {
        self.events_after(after, max_events, Which::All).await
    }

    /// See [`acclaim_core::port::Journal::recorded_after`]: what the ledger has of all partitions.
    pub async fn recorded_after(
        self: &Arc<Self>,
        after: Place,
        max_events: usize,
    ) -> Result<Vec<Event>, JournalError> {
        self.events_after(after, max_events, Which::Recorded).await
    }

    async fn events_after(
        self: &Arc<Self>,
        after: Place,
        max_events: usize,
        which: Which,
    ) -> Result<Vec<Event>, JournalError> {
        let found = self.warm_progress().await?;
        let oldest = found.iter().map(|(partition, progress)| Place {
            seq: progress.kept_after,
            partition: *partition,
        });
        // A partition that has lost nothing has no place to speak of.
        let oldest = oldest.filter(|place| place.seq > Rev::ZERO).max();
        if let Some(oldest) = oldest.filter(|oldest| *oldest > after) {
            let asked = after;
            return Err(JournalError::Trimmed { asked, oldest });
        }
        let has_more = |(partition, progress): &&(u16, Progress)| {
            let partition = *partition;
            let seq = progress.newest;
            Place { seq, partition } > after
        };
        if !found.iter().any(|one| has_more(&one)) {
            return Ok(Vec::new());
        }
        let mut upto = self.seal(&found).await.map_err(journal_error)?;
        // Looked at again: until it was sealed, any of them may have got something below that.
        let found = self.warm_progress().await?;
        if which == Which::Recorded {
            upto = recorded_upto(&found).map_or(upto, |recorded| recorded.min(upto));
            if upto < after.seq {
                return Ok(Vec::new());
            }
        }
        let with_events = found.iter().filter(has_more);
        let mut parts: Vec<Part> = with_events
            .map(|(number, _)| Part::after(*number, after))
            .collect();
        self.read_parts(&mut parts, after, upto, max_events).await?;
        let complete = complete_upto(&parts);
        let mut merged: BTreeMap<Place, JournalEvent> = BTreeMap::new();
        for part in parts {
            let partition = part.number;
            let place = |seq| Place { seq, partition };
            let events = part
                .events
                .into_iter()
                .filter(|event| event.seq <= complete);
            merged.extend(events.map(|event| (place(event.seq), event)));
        }
        let mut events = Vec::new();
        for (place, event) in merged.range((Bound::Excluded(after), Bound::Unbounded)) {
            if events.len() >= max_events {
                break;
            }
            events.extend(self.told(*place, event).await?);
        }
        Ok(events)
    }

    /// Reads on in all of them, more each time, until there are enough events that nothing can come to stand
    /// before.
    async fn read_parts(
        &self,
        parts: &mut [Part],
        after: Place,
        upto: Rev,
        max_events: usize,
    ) -> Result<(), JournalError> {
        let mut chunk = (2 * max_events / parts.len().max(1)).max(MIN_PART_EVENTS);
        loop {
            let complete = complete_upto(parts);
            let ready = parts.iter().flat_map(|part| {
                let place = |seq| Place {
                    seq,
                    partition: part.number,
                };
                let events = part.events.iter();
                events.filter(move |event| event.seq <= complete && place(event.seq) > after)
            });
            if ready.count() >= max_events || parts.iter().all(|part| part.is_done) {
                return Ok(());
            }
            let open = parts.iter_mut().filter(|part| !part.is_done);
            try_join_all(open.map(|part| self.read_part(part, upto, chunk))).await?;
            chunk = (chunk * 2).min(MAX_JOURNAL_READ_EVENTS);
        }
    }

    /// How far every partition is; those that are cold are loaded.
    async fn warm_progress(self: &Arc<Self>) -> Result<Vec<(u16, Progress)>, JournalError> {
        let all: Vec<u16> = self.all_partitions().collect();
        loop {
            let found = self.progress_of(&all).await.map_err(journal_error)?;
            let cold: Vec<(u16, Cold)> = found
                .iter()
                .filter(|(_, progress)| progress.is_none())
                .map(|(number, _)| (*number, Cold::Partition))
                .collect();
            if cold.is_empty() {
                let here = found.into_iter();
                return Ok(here
                    .filter_map(|(n, progress)| Some((n, progress?)))
                    .collect());
            }
            self.load_all(cold).await.map_err(journal_error)?;
        }
    }

    /// Seals all partitions and answers up to where.
    async fn seal(&self, found: &[(u16, Progress)]) -> Result<Rev, RedisError> {
        let last = found.iter().map(|(_, progress)| progress.last).max();
        let mut upto = last.unwrap_or(Rev::ZERO);
        if self.clock.is_none() {
            let slowest = found.iter().map(|(_, progress)| progress.time.0).min();
            upto = upto.min(Rev(slowest.unwrap_or(0) + MAX_AHEAD_MICROS));
        }
        let open = found.iter().filter(|(_, progress)| progress.last < upto);
        let open: Vec<_> = open.map(|(number, _)| self.partition(*number)).collect();
        self.redis.seal(&open, upto).await?;
        self.told_place(upto);
        Ok(upto)
    }

    /// Reads up to `most` events more of a partition, none after `upto`.
    async fn read_part(&self, part: &mut Part, upto: Rev, most: usize) -> Result<(), JournalError> {
        let most = most.min(MAX_JOURNAL_READ_EVENTS);
        let partition = self.partition(part.number);
        let read = self.redis.journal_after(partition, part.from, most).await;
        let read = read.map_err(journal_error)?;
        part.is_done = read.len() < most;
        for entry in read {
            match entry {
                Ok(event) if event.seq > upto => {
                    part.is_done = true;
                    return Ok(());
                }
                Ok(event) => {
                    part.from = event.seq;
                    part.events.push(event);
                }
                // It is a dead letter for the worker, and nothing to tell.
                Err(unreadable) => {
                    tracing::warn!(%unreadable, part.number, "an event was left out");
                    part.from = Rev(part.from.0 + 1);
                }
            }
        }
        Ok(())
    }

    /// An event in the words of the port; none for a kind that is not configured.
    async fn told(
        &self,
        place: Place,
        event: &JournalEvent,
    ) -> Result<Option<Event>, JournalError> {
        let edge = self.edge_of(&event.target, &event.user).await;
        Ok(edge.map_err(journal_error)?.map(|edge| Event {
            place,
            edge,
            active: event.active,
            rev: event.rev,
            count: event.count,
        }))
    }

    /// See [`acclaim_core::port::Journal::journal_passes`].
    pub async fn journal_passes(&self, after: Place) -> bool {
        let (mut end, mut stopping) = (self.end.subscribe(), self.stopping.subscribe());
        // An error means that the engine is gone, which is as good a reason to return.
        tokio::select! {
            ended = end.wait_for(|end| *end > after) => ended.is_ok(),
            _ = stopping.wait_for(|stopping| *stopping) => false,
            () = self.look_for_events(after) => true,
        }
    }

    /// See [`acclaim_core::port::Journal::recorded_passes`].
    pub async fn recorded_passes(self: &Arc<Self>, after: Place) -> bool {
        if !self.journal_passes(after).await {
            return false;
        }
        let mut pause = FIRST_PAUSE;
        while !self.is_stopping() {
            match self.warm_progress().await {
                Ok(found) => {
                    if recorded_upto(&found).is_none_or(|upto| upto > after.seq) {
                        return true;
                    }
                }
                Err(error) => tracing::debug!(%error, "the journals could not be looked at"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        false
    }

    /// Asks again and again what other nodes wrote. One subscriber of this node does it for all of
    /// them; where it leaves, the next one goes on.
    async fn look_for_events(&self, after: Place) {
        let _only = self.looks_for_events.lock().await;
        let mut pause = FIRST_PAUSE;
        while *self.end.borrow() <= after {
            if let Err(error) = self.look_for_end().await {
                tracing::warn!(%error, "the journals could not be looked at");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Takes note of the newest transition of all partitions.
    pub async fn look_for_end(&self) -> Result<(), RedisError> {
        let all: Vec<u16> = self.all_partitions().collect();
        self.saw_newest(&self.progress_of(&all).await?);
        Ok(())
    }

    /// Takes note of the newest transition of these partitions.
    pub fn saw_newest(&self, found: &[(u16, Option<Progress>)]) {
        let places = found.iter().filter_map(|(partition, progress)| {
            Some(Place {
                seq: progress.as_ref()?.newest,
                partition: *partition,
            })
        });
        if let Some(newest) = places.filter(|place| place.seq > Rev::ZERO).max() {
            self.saw(newest);
        }
    }
}
