//! The days on which a user was active, so that "distinct users a day" is exact without a set of
//! users a day.
//!
//! The user's own record remembers its days as runs; the first transition of a day is the one that
//! finds the day missing. A user who comes every day costs one run.

use smallvec::SmallVec;

/// How many days back are remembered: the longest report of the API.
pub const REMEMBERED_DAYS: u32 = 366;

/// Consecutive days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first day, since the epoch.
    pub first: u32,
    /// The last day, not before the first.
    pub last: u32,
}

/// A set of days, as runs in order with a gap between any two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Days {
    runs: SmallVec<[Run; 1]>,
}

impl Days {
    /// Rebuilds a set from its stored runs, which must be in order.
    #[must_use]
    pub fn from_runs(runs: impl IntoIterator<Item = Run>) -> Self {
        Self {
            runs: runs.into_iter().collect(),
        }
    }

    /// The runs, oldest first.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Adds a day and says whether it was missing. A day that is no longer remembered on `today`
    /// is not added, and answers `false`.
    pub fn insert(&mut self, day: u32, today: u32) -> bool {
        let oldest = today.saturating_sub(REMEMBERED_DAYS - 1);
        if day < oldest {
            return false;
        }
        let place = self.runs.partition_point(|run| run.last < day);
        if self.runs.get(place).is_some_and(|run| run.first <= day) {
            return false;
        }
        self.forget_before(oldest);
        self.join(day);
        true
    }

    fn forget_before(&mut self, oldest: u32) {
        self.runs.retain(|run| run.last >= oldest);
        if let Some(first) = self.runs.first_mut() {
            first.first = first.first.max(oldest);
        }
    }

    /// Adds a day that is in no run, joining the runs it touches.
    fn join(&mut self, day: u32) {
        let place = self.runs.partition_point(|run| run.last < day);
        let touches_before = place > 0 && self.runs[place - 1].last + 1 == day;
        let touches_after = self.runs.get(place).is_some_and(|run| run.first == day + 1);
        match (touches_before, touches_after) {
            (true, true) => {
                self.runs[place - 1].last = self.runs[place].last;
                self.runs.remove(place);
            }
            (true, false) => self.runs[place - 1].last = day,
            (false, true) => self.runs[place].first = day,
            (false, false) => self.runs.insert(
                place,
                Run {
                    first: day,
                    last: day,
                },
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(days in prop::collection::vec(1000u32..1400, 0..200)) {
            let today = 1400;
            let mut set = BTreeSet::new();
            let mut subject = Days::default();
            for day in days {
                let remembered = day > today - REMEMBERED_DAYS;
                prop_assert_eq!(subject.insert(day, today), remembered && set.insert(day));
            }
            let listed: Vec<u32> = subject.runs().iter().flat_map(|r| r.first..=r.last).collect();
            prop_assert_eq!(listed, set.into_iter().collect::<Vec<_>>());
            let gaps = subject.runs().windows(2).all(|w| w[0].last + 1 < w[1].first);
            prop_assert!(gaps, "runs that touch are one");
        }
    }

    #[test]
    fn old_days_are_forgotten() {
        let mut days = Days::default();
        assert!(days.insert(10, 10));
        assert!(days.insert(500, 500));
        assert_eq!(
            days.runs(),
            [Run {
                first: 500,
                last: 500
            }]
        );
        assert!(!days.insert(10, 500), "too old to be remembered");
    }
}
