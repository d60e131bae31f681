//! Reading the journal through the port.

use async_trait::async_trait;

use crate::edge::EdgeKey;
use crate::error::JournalError;
use crate::rev::Rev;

/// A transition, with the state after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the journal: strictly increasing, and the id to resume from.
    pub seq: Rev,
    /// The edge.
    pub edge: EdgeKey,
    /// Whether it is active now.
    pub active: bool,
    /// The edge's rev now. Differs from `seq` for imported edges only.
    pub rev: Rev,
    /// The target's count after it.
    pub count: u64,
}

/// The ordered events of an engine.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// The place of the newest durable event.
    fn journal_end(&self) -> Rev;

    /// Up to `max_events` events after `after`, oldest first.
    ///
    /// # Errors
    /// [`JournalError::Trimmed`] when events after `after` are no longer kept.
    async fn journal_after(
        &self,
        after: Rev,
        max_events: usize,
    ) -> Result<Vec<Event>, JournalError>;

    /// Returns once there is an event after `after`, or the engine stops.
    async fn journal_passes(&self, after: Rev);
}
