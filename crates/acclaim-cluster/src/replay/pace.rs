//! How fast events are given on. Pure: the time is told.

use std::time::Duration;

/// The share of a second that one batch may have at most, so that the rate is even.
const BATCHES_A_SECOND: u64 = 10;

/// A bound on the rate, from a beginning on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    events_per_second: Option<u64>,
    given: u64,
}

impl Pace {
    /// At most so many events a second, at least one; without a bound where there is none.
    #[must_use]
    pub fn new(events_per_second: Option<u64>) -> Self {
        Self {
            events_per_second: events_per_second.map(|rate| rate.max(1)),
            given: 0,
        }
    }

    /// The most events of one batch, of so many that are possible.
    #[must_use]
    pub fn batch(&self, most: usize) -> usize {
        let Some(rate) = self.events_per_second else {
            return most;
        };
        let even = usize::try_from(rate.div_ceil(BATCHES_A_SECOND)).unwrap_or(most);
        even.clamp(1, most.max(1))
    }

    /// Takes note that so many were given.
    pub fn gave(&mut self, events: usize) {
        self.given = self.given.saturating_add(events as u64);
    }

    /// How long to wait before more are given, so long after the beginning.
    #[must_use]
    pub fn wait(&self, elapsed: Duration) -> Duration {
        let Some(rate) = self.events_per_second else {
            return Duration::ZERO;
        };
        let micros = u128::from(self.given) * 1_000_000 / u128::from(rate);
        let due = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        due.saturating_sub(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_a_bound_nothing_waits() {
        let mut pace = Pace::new(None);
        pace.gave(1_000_000);
        assert_eq!(pace.wait(Duration::ZERO), Duration::ZERO);
        assert_eq!(pace.batch(1_000), 1_000);
    }

    #[test]
    fn what_was_given_too_early_is_waited_for() {
        let mut pace = Pace::new(Some(200));
        assert_eq!(pace.wait(Duration::ZERO), Duration::ZERO);
        assert_eq!(pace.batch(1_000), 20);
        pace.gave(20);
        assert_eq!(pace.wait(Duration::ZERO), Duration::from_millis(100));
        assert_eq!(
            pace.wait(Duration::from_millis(70)),
            Duration::from_millis(30)
        );
        assert_eq!(pace.wait(Duration::from_millis(100)), Duration::ZERO);
        assert_eq!(Pace::new(Some(0)).batch(1_000), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// However long each batch takes, never more than the rate and one batch come in a time,
        /// and who is never waited for comes to the rate.
        #[test]
        fn the_rate_holds(rate in 1u64..100_000, takes in prop::collection::vec(0u64..300_000, 1..50)) {
            let mut pace = Pace::new(Some(rate));
            let (mut now, mut given, mut waited) = (Duration::ZERO, 0u64, Duration::ZERO);
            for micros in takes {
                let wait = pace.wait(now);
                (now, waited) = (now + wait, waited + wait);
                let batch = pace.batch(1_000);
                prop_assert!((1..=1_000).contains(&batch));
                let allowed = now.as_micros() * u128::from(rate) / 1_000_000;
                prop_assert!(u128::from(given) <= allowed + 1, "{given} at {now:?}");
                pace.gave(batch);
                given += batch as u64;
                now += Duration::from_micros(micros);
            }
        }
    }
}
