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
        let upto = self.seal(&found).await.map_err(journal_error)?;
        // Looked at again: until it was sealed, any of them may have got something below that.
        let found = self.warm_progress().await?;
        let with_events = found.iter().filter(has_more);
        let reads = with_events.map(|(number, _)| {
            // Of the place's own seq only later partitions have something to come.
            let first = if *number > after.partition {
                Rev(after.seq.0.saturating_sub(1))
            } else {
                after.seq
            };
            self.part_after(*number, first, upto, max_events)
        });
        let parts = try_join_all(reads).await?;
        let mut merged: BTreeMap<Place, JournalEvent> = BTreeMap::new();
        for (partition, events) in parts {
            let place = |seq| Place { seq, partition };
            merged.extend(events.into_iter().map(|event| (place(event.seq), event)));
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

    /// Up to `max_events` events of a partition after `after` and not after `upto`.
    async fn part_after(
        &self,
        number: u16,
        after: Rev,
        upto: Rev,
        max_events: usize,
    ) -> Result<(u16, Vec<JournalEvent>), JournalError> {
        let partition = self.partition(number);
        let mut events: Vec<JournalEvent> = Vec::new();
        let mut from = after;
        while events.len() < max_events {
            let most = (max_events - events.len()).min(MAX_JOURNAL_READ_EVENTS);
            let read = self.redis.journal_after(partition, from, most).await;
            let read = read.map_err(journal_error)?;
            let is_last = read.len() < most;
            for entry in read {
                match entry {
                    Ok(event) if event.seq > upto => return Ok((number, events)),
                    Ok(event) => {
                        from = event.seq;
                        events.push(event);
                    }
                    // It is a dead letter for the worker, and nothing to tell.
                    Err(unreadable) => {
                        tracing::warn!(%unreadable, number, "an event was left out");
                        from = Rev(from.0 + 1);
                    }
                }
            }
            if is_last {
                break;
            }
        }
        Ok((number, events))
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
