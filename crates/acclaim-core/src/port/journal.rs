//! Reading the journal through the port.
//!
//! The journal of a store is one line of events, also where several partitions decide them. What
//! has been handed out once is final: no event comes to stand before it later. An engine of
//! several partitions sees to that by *sealing* when its journal is read: it lifts every
//! partition's last seq to the highest of them, so whatever is decided later stands behind.

use async_trait::async_trait;

use super::place::Place;
use crate::edge::EdgeKey;
use crate::error::JournalError;
use crate::rev::Rev;

/// A transition, with the state after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it stands in the journal: strictly increasing, and the id to resume from.
    pub place: Place,
    /// The edge.
    pub edge: EdgeKey,
    /// Whether it is active now.
    pub active: bool,
    /// The edge's rev now. Differs from the place's seq for imported edges only.
    pub rev: Rev,
    /// The target's count after it.
    pub count: u64,
}

/// The ordered events of an engine.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Where the journal ends now: every event decided before the call stands at this place or
    /// before it, and every later one after it. The seq is the highest that was given, the
    /// partition the store's last; of a store of one partition that is the place of the newest
    /// durable event.
    ///
    /// # Errors
    /// [`JournalError`].
    async fn journal_end(&self) -> Result<Place, JournalError>;

    /// Up to `max_events` events after `after`, oldest first. Reading on after the last one of
    /// each answer gives every event once, in order, whatever is written meanwhile.
    ///
    /// # Errors
    /// [`JournalError::Trimmed`] when events after `after` are no longer kept.
    async fn journal_after(
        &self,
        after: Place,
        max_events: usize,
    ) -> Result<Vec<Event>, JournalError>;

    /// Returns `true` once there is an event after `after`, and `false` when the engine stops
    /// before.
    async fn journal_passes(&self, after: Place) -> bool;

    /// As [`Journal::journal_after`], but only what is recorded for good: on an engine whose journal
    /// may lose events that its record does not have yet, none of those.
    ///
    /// # Errors
    /// As [`Journal::journal_after`].
    async fn recorded_after(
        &self,
        after: Place,
        max_events: usize,
    ) -> Result<Vec<Event>, JournalError> {
        self.journal_after(after, max_events).await
    }

    /// Returns `true` once [`Journal::recorded_after`] may have an event after `after`, and `false`
    /// when the engine stops before.
    async fn recorded_passes(&self, after: Place) -> bool {
        self.journal_passes(after).await
    }
}
