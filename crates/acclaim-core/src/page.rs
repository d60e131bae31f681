//! Pages of a list.
//!
//! A list is ordered newest first: by the edge's rev downwards and, where two imported edges share
//! a time, by id upwards. A position names the last entry seen, so an edge that does not change
//! while somebody pages is neither skipped nor repeated.

use crate::id::Id;
use crate::rev::Rev;
use crate::target::Target;

/// Where a page begins. `K` is what the list holds: [`Id`] for users, [`Target`] for targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start<K> {
    /// After this many of the newest entries (0 is the top). Bounded by
    /// [`crate::limits::MAX_OFFSET_ENTRIES`].
    Offset(usize),
    /// After this entry.
    After(Position<K>),
}

impl<K> Start<K> {
    /// The newest entries.
    #[must_use]
    pub fn top() -> Self {
        Self::Offset(0)
    }
}

/// The place of an entry in its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position<K> {
    /// The edge's rev.
    pub rev: Rev,
    /// The other end of the edge.
    pub key: K,
}

/// One entry of a list: the other end of an edge and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<K> {
    /// The user or the target.
    pub key: K,
    /// Since when.
    pub at: Rev,
}

impl<K: Clone> Entry<K> {
    /// Where this entry stands.
    #[must_use]
    pub fn position(&self) -> Position<K> {
        Position {
            rev: self.at,
            key: self.key.clone(),
        }
    }
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<K> {
    /// At most as many entries as were asked for. May be fewer, even none, while `next` is there:
    /// a filtered list (mutual, common) looks at a bounded number of edges a page.
    pub entries: Vec<Entry<K>>,
    /// Where to go on, or `None` at the end.
    pub next: Option<Position<K>>,
}

/// A page of who did it.
pub type UserPage = Page<Id>;
/// A page of what was done.
pub type TargetPage = Page<Target>;

impl<K> Position<K> {
    /// Whether an entry comes after this position.
    pub fn is_before(&self, rev: Rev, key: &K) -> bool
    where
        K: Ord,
    {
        rev < self.rev || (rev == self.rev && *key > self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_after_its_position_and_not_with_it() {
        let position = Position {
            rev: Rev(10),
            key: Id::Number(5),
        };
        let is_after = |rev, id| position.is_before(Rev(rev), &Id::Number(id));
        assert!(!is_after(10, 5), "the entry that was seen last");
        assert!(is_after(10, 6), "of one time, by id upwards");
        assert!(!is_after(10, 4));
        assert!(is_after(9, 1), "newest first");
        assert!(!is_after(11, 9));
    }
}
