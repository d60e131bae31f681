//! What of a journal never came. Pure.
//!
//! Each event names the one before it, so what is missing is known by what came behind it: a
//! **hole** begins behind the last event that came and ends with the one that was named. What comes
//! late, or again from further back, fills holes; what comes twice changes nothing. What is missing
//! behind the last event of all nobody can know.

use std::collections::BTreeMap;

use acclaim_core::Rev;

/// Holes of one journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holes {
    /// The last place that came.
    top: Rev,
    /// By the place at which each ends, which is an event's: the place behind which it begins.
    holes: BTreeMap<Rev, Rev>,
}

impl Holes {
    /// None yet, in a journal of which everything up to `known` is there.
    #[must_use]
    pub fn behind(known: Rev) -> Self {
        Self {
            top: known,
            holes: BTreeMap::new(),
        }
    }

    /// Takes note of an event that came, with the one that it names.
    pub fn see(&mut self, seq: Rev, previous: Option<Rev>) {
        let (after, upto) = if seq > self.top {
            let after = self.top;
            self.top = seq;
            (after, seq)
        } else {
            let hole = self.holes.range(seq..).next();
            match hole.map(|(upto, after)| (*after, *upto)) {
                Some((after, upto)) if after < seq => {
                    self.holes.remove(&upto);
                    (after, upto)
                }
                _ => return,
            }
        };
        if seq < upto {
            self.holes.insert(upto, seq);
        }
        // A name at or behind the event itself is none.
        let previous = previous.filter(|previous| *previous > after && *previous < seq);
        if let Some(previous) = previous {
            self.holes.insert(previous, after);
        }
    }

    /// The last place that came.
    #[must_use]
    pub fn top(&self) -> Rev {
        self.top
    }

    /// What never came: behind the first place, up to the second, in order.
    pub fn all(&self) -> impl Iterator<Item = (Rev, Rev)> {
        self.holes.iter().map(|(upto, after)| (*after, *upto))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(holes: &Holes) -> Vec<(u64, u64)> {
        holes.all().map(|(after, upto)| (after.0, upto.0)).collect()
    }

    fn seen(known: u64, events: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut holes = Holes::behind(Rev(known));
        for (seq, previous) in events {
            holes.see(Rev(*seq), (*previous > 0).then_some(Rev(*previous)));
        }
        told(&holes)
    }

    #[test]
    fn a_hole_lies_between_what_came_and_what_was_named() {
        assert_eq!(seen(0, &[(5, 0), (7, 5), (9, 7)]), []);
        assert_eq!(seen(0, &[(7, 5)]), [(0, 5)]);
        assert_eq!(seen(5, &[(7, 5)]), []);
        assert_eq!(seen(0, &[(5, 0), (9, 7), (12, 11)]), [(5, 7), (9, 11)]);
        // A place that is no event's: the journal was known up to there.
        assert_eq!(seen(6, &[(7, 5)]), []);
        // What nobody names before it is not known to be missing.
        assert_eq!(seen(0, &[(5, 0), (9, 0)]), []);
    }

    #[test]
    fn what_comes_late_fills_a_hole() {
        assert_eq!(seen(0, &[(5, 0), (9, 7), (7, 5)]), []);
        // Of three that are missing the one in the middle comes.
        assert_eq!(seen(1, &[(9, 7), (5, 3)]), [(1, 3), (5, 7)]);
        assert_eq!(seen(1, &[(9, 7), (5, 3), (3, 1), (7, 5)]), []);
        assert_eq!(seen(1, &[(9, 7), (5, 1), (5, 1), (9, 7)]), [(5, 7)]);
        // Nonsense names nothing.
        assert_eq!(seen(0, &[(5, 5), (6, 9)]), []);
    }

    /// A journal, what of it is missing, and how what is there comes: in runs from anywhere, each
    /// in order, together all of it.
    fn journeys() -> impl Strategy<Value = (Vec<u64>, Vec<bool>, Vec<usize>)> {
        (1usize..60).prop_flat_map(|length| {
            (
                prop::collection::btree_set(1u64..10_000, length)
                    .prop_map(|places| places.into_iter().collect()),
                prop::collection::vec(prop::bool::weighted(0.8), length),
                prop::collection::vec(0..length, 0..6),
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        /// Whatever is missing and in however many runs the rest comes, the holes are what is
        /// missing before something that came.
        #[test]
        fn holes_are_exactly_what_is_missing((places, there, starts) in journeys()) {
            let mut holes = Holes::behind(Rev::ZERO);
            let give = |holes: &mut Holes, range: std::ops::Range<usize>| {
                for at in range.filter(|at| there[*at]) {
                    let previous = at.checked_sub(1).map(|before| Rev(places[before]));
                    holes.see(Rev(places[at]), previous);
                }
            };
            // Runs that break off anywhere, then all of it again.
            for pair in starts.windows(2) {
                give(&mut holes, pair[0].min(pair[1])..pair[0].max(pair[1]));
            }
            give(&mut holes, 0..places.len());
            let mut expected = Vec::new();
            let (mut after, mut missing) = (0, None);
            for (place, there) in places.iter().zip(&there) {
                match (there, missing.take()) {
                    (false, _) => missing = Some(*place),
                    (true, Some(upto)) => {
                        expected.push((after, upto));
                        after = *place;
                    }
                    (true, None) => after = *place,
                }
            }
            prop_assert_eq!(told(&holes), expected);
        }

        /// Any order and any names: nothing overlaps, nothing that came is in a hole.
        #[test]
        fn holes_never_hold_what_came(
            events in prop::collection::vec((1u64..200, 0u64..200), 0..300), known in 0u64..50
        ) {
            let mut holes = Holes::behind(Rev(known));
            for (seq, previous) in &events {
                holes.see(Rev(*seq), Some(Rev(*previous)));
            }
            let all = told(&holes);
            for (after, upto) in &all {
                prop_assert!(after < upto && *after >= known);
                let inside = |seq: u64| *after < seq && seq <= *upto;
                prop_assert!(events.iter().all(|(seq, _)| !inside(*seq)), "{all:?}");
            }
            prop_assert!(all.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{all:?}");
        }
    }
}
