//! The entries of a list that lie in memory: newest first, then by key.
//!
//! Most targets and users have few; those cost no tree. New entries are the newest, so they are
//! added at one end; imported ones land where their time puts them.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use acclaim_core::Rev;
use acclaim_core::page::Position;
use smallvec::SmallVec;

/// Entries that are kept as a plain row.
const FEW: usize = 32;

/// A list in memory, in order.
#[derive(Clone, Debug)]
pub enum Timeline<K: Ord + Clone> {
    /// A row, oldest first, so that the newest are added at its end.
    Few(SmallVec<[(Reverse<Rev>, K); 1]>),
    /// A tree, newest first.
    Many(BTreeSet<(Reverse<Rev>, K)>),
}

impl<K: Ord + Clone> Default for Timeline<K> {
    fn default() -> Self {
        Self::Few(SmallVec::new())
    }
}

impl<K: Ord + Clone> Timeline<K> {
    /// Adds an entry.
    pub fn insert(&mut self, rev: Rev, key: K) {
        match self {
            Self::Few(row) if row.len() < FEW => {
                let entry = (Reverse(rev), key);
                let place = row
                    .iter()
                    .rposition(|other| *other > entry)
                    .map_or(0, |at| at + 1);
                row.insert(place, entry);
            }
            Self::Few(row) => {
                let mut tree: BTreeSet<_> = std::mem::take(row).into_iter().collect();
                tree.insert((Reverse(rev), key));
                *self = Self::Many(tree);
            }
            Self::Many(tree) => {
                tree.insert((Reverse(rev), key));
            }
        }
    }

    /// Removes an entry, if it is there.
    pub fn remove(&mut self, rev: Rev, key: &K) {
        match self {
            Self::Few(row) => {
                let place = row
                    .iter()
                    .rposition(|(Reverse(at), k)| *at == rev && k == key);
                if let Some(place) = place {
                    row.remove(place);
                }
            }
            Self::Many(tree) => {
                tree.remove(&(Reverse(rev), key.clone()));
            }
        }
    }

    /// The entries after a position, in order; all of them without one.
    pub fn after(
        &self,
        position: Option<&Position<K>>,
    ) -> Box<dyn Iterator<Item = (Rev, &K)> + '_> {
        let start = position.map(|position| (Reverse(position.rev), position.key.clone()));
        match self {
            Self::Few(row) => {
                let rest = row.iter().rev();
                let rest = rest.skip_while(move |e| start.as_ref().is_some_and(|s| *e <= s));
                Box::new(rest.map(|(Reverse(rev), key)| (*rev, key)))
            }
            Self::Many(tree) => {
                use std::ops::Bound::{Excluded, Unbounded};
                let from = start.map_or(Unbounded, Excluded);
                let rest = tree.range((from, Unbounded));
                Box::new(rest.map(|(Reverse(rev), key)| (*rev, key)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(
            steps in prop::collection::vec((any::<bool>(), 0u64..50, 0u32..4), 0..150),
            from in prop::option::of((0u64..50, 0u32..4)),
        ) {
            let mut plain = BTreeSet::new();
            let mut timeline = Timeline::default();
            for (add, rev, key) in steps {
                let entry = (Reverse(Rev(rev)), key);
                if add && !plain.contains(&entry) {
                    plain.insert(entry);
                    timeline.insert(Rev(rev), key);
                } else {
                    plain.remove(&entry);
                    timeline.remove(Rev(rev), &key);
                }
            }
            let position = from.map(|(rev, key)| Position { rev: Rev(rev), key });
            let listed: Vec<_> = timeline.after(position.as_ref()).map(|(r, k)| (r, *k)).collect();
            let expected: Vec<_> = plain.into_iter()
                .map(|(Reverse(rev), key)| (rev, key))
                .filter(|(rev, key)| position.as_ref().is_none_or(|p| p.is_before(*rev, key)))
                .collect();
            prop_assert_eq!(listed, expected);
        }
    }
}
