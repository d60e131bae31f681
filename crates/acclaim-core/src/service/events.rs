//! Which events a subscriber wants.

use smallvec::SmallVec;

use crate::id::Id;
use crate::kind::KindId;
use crate::port::Event;
use crate::target::Target;

/// A filter: an event must match every part that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of any of these kinds.
    pub kinds: SmallVec<[KindId; 4]>,
    /// Of any of these targets.
    pub targets: Vec<Target>,
    /// By this user.
    pub user: Option<Id>,
}

impl EventFilter {
    /// Whether the subscriber wants it.
    #[must_use]
    pub fn takes(&self, event: &Event) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&event.edge.kind))
            && (self.targets.is_empty() || self.targets.contains(&event.edge.target))
            && self
                .user
                .as_ref()
                .is_none_or(|user| *user == event.edge.user)
    }
}
