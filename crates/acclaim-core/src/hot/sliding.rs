//! Hot keys over a sliding window.
//!
//! Two sketches take turns: one counts the window that is running, the other holds the one before.
//! An estimate is the running count and the share of the last window that still lies inside the
//! sliding one, so a key that nobody touches any more is gone after two windows at most.
//!
//! Only one touch in [`SAMPLED_ONE_IN`] is counted, and a touch that finds the sketch in use by
//! another caller is left out, so nobody ever waits here.

use std::collections::HashSet;
use std::hash::RandomState;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::heavy_keeper::{HeavyKeeper, Shape};
use crate::rev::Rev;
use crate::target::TargetKey;

/// One touch of this many is counted. A power of two.
pub const SAMPLED_ONE_IN: u64 = 8;
/// How far back the list looks, in seconds.
pub const WINDOW_SECONDS: u64 = 60;
const WINDOW_MICROS: u64 = WINDOW_SECONDS * 1_000_000;

/// A target that is touched often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotKey {
    /// The target under its kind.
    pub target: TargetKey,
    /// About how often it was touched in the last [`WINDOW_SECONDS`].
    pub estimate: u64,
}

type Sketch = HeavyKeeper<TargetKey, RandomState>;

struct Sketches {
    running: Sketch,
    last: Sketch,
    /// The number of the running window since the epoch.
    window: u64,
}

/// The targets that are touched most.
pub struct HotKeys {
    touches: AtomicU64,
    sketches: Mutex<Sketches>,
}

impl Default for HotKeys {
    fn default() -> Self {
        let sketch = |seed| Sketch::new(Shape::default(), seed, RandomState::new);
        let sketches = Sketches {
            running: sketch(1),
            last: sketch(2),
            window: 0,
        };
        Self {
            touches: AtomicU64::new(0),
            sketches: Mutex::new(sketches),
        }
    }
}

impl HotKeys {
    /// Whether the next touch is one of those that are counted. A few nanoseconds.
    #[must_use]
    pub fn samples(&self) -> bool {
        let touch = self.touches.fetch_add(1, Ordering::Relaxed);
        // Mixed, so that callers who come in a rhythm are sampled evenly (Fibonacci hashing).
        (touch.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).is_multiple_of(SAMPLED_ONE_IN)
    }

    /// Counts a touch that [`HotKeys::samples`] chose.
    pub fn count(&self, target: &TargetKey, now: Rev) {
        if let Ok(mut sketches) = self.sketches.try_lock() {
            sketches.turn(now);
            sketches.running.add(target);
        }
    }

    /// The hottest targets, hottest first.
    #[must_use]
    pub fn top(&self, now: Rev, size: usize) -> Vec<HotKey> {
        // A holder that panicked leaves a sketch that is still a sketch.
        let mut sketches = match self.sketches.lock() {
            Ok(sketches) => sketches,
            Err(poisoned) => poisoned.into_inner(),
        };
        sketches.turn(now);
        let mut top = sketches.top(now);
        top.sort_by(|a, b| (b.estimate.cmp(&a.estimate)).then_with(|| a.target.cmp(&b.target)));
        top.truncate(size);
        top
    }
}

impl Sketches {
    /// Begins a new window when it is time. A clock that goes back stays in the running one.
    fn turn(&mut self, now: Rev) {
        let window = now.0 / WINDOW_MICROS;
        if window <= self.window {
            return;
        }
        std::mem::swap(&mut self.running, &mut self.last);
        self.running.clear();
        if window > self.window + 1 {
            self.last.clear();
        }
        self.window = window;
    }

    fn top(&self, now: Rev) -> Vec<HotKey> {
        let elapsed = (now.0.saturating_sub(self.window * WINDOW_MICROS)).min(WINDOW_MICROS);
        let left = WINDOW_MICROS - elapsed;
        let keys: HashSet<&TargetKey> = self.running.top().chain(self.last.top()).collect();
        let estimated = keys.into_iter().map(|target| {
            let last = u64::from(self.last.estimate(target)) * left / WINDOW_MICROS;
            let estimate = (u64::from(self.running.estimate(target)) + last) * SAMPLED_ONE_IN;
            HotKey {
                target: target.clone(),
                estimate,
            }
        });
        estimated.filter(|key| key.estimate > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::kind::KindId;
    use crate::target::Target;

    fn target(id: u64) -> TargetKey {
        TargetKey {
            kind: KindId(0),
            target: Target::user(Id::Number(id)),
        }
    }

    fn touch(hot: &HotKeys, id: u64, times: usize, now: Rev) {
        for _ in 0..times {
            if hot.samples() {
                hot.count(&target(id), now);
            }
        }
    }

    fn window(number: u64) -> Rev {
        Rev(number * WINDOW_MICROS)
    }

    #[test]
    fn the_hottest_come_first_with_their_rate() {
        let hot = HotKeys::default();
        touch(&hot, 1, 8_000, window(100));
        touch(&hot, 2, 2_000, window(100));
        let top = hot.top(window(100), 10);
        assert_eq!(top[0].target, target(1));
        assert_eq!(top[1].target, target(2));
        assert!((7_000..9_000).contains(&top[0].estimate), "{top:?}");
        assert_eq!(hot.top(window(100), 1).len(), 1);
    }

    #[test]
    fn what_nobody_touches_any_more_is_forgotten() {
        let hot = HotKeys::default();
        touch(&hot, 1, 8_000, window(100));
        let half_later = Rev(window(101).0 + WINDOW_MICROS / 2);
        let faded = hot.top(half_later, 10);
        assert!((3_000..5_000).contains(&faded[0].estimate), "{faded:?}");
        touch(&hot, 2, 800, half_later);
        assert_eq!(hot.top(window(102), 10)[0].target, target(2));
        assert_eq!(hot.top(window(104), 10), []);
    }

    #[test]
    fn a_clock_that_goes_back_keeps_the_window() {
        let hot = HotKeys::default();
        touch(&hot, 1, 800, window(100));
        touch(&hot, 1, 800, window(90));
        assert!(hot.top(window(90), 10)[0].estimate > 1_000);
    }
}
