//! Gathering: what waits for a server of Redis while pipelines to it are under way goes into the
//! next one, so that under load one system call and one wake-up serve many callers.
//!
//! There are no timers and no idle tasks: a pipeline is run while something waits. (The combiner of
//! the embedded engine blocks a thread for each taker; here what is slow is a call that a task can
//! wait for.) [`PIPELINES`] of them are under way at once.
//!
//! This part decides only who goes together; it knows nothing of what waits.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use parking_lot::Mutex;

/// Pipelines of a lane under way at once: one is worked on in Redis while the answers of the other
/// are handed out.
const PIPELINES: u32 = 2;

struct Lane<T> {
    waiting: VecDeque<T>,
    /// Pipelines under way.
    pipelines: u32,
}

/// What waits, by lane. A lane in which nothing waits and nothing is under way is not there.
pub struct Gather<K, T>(Mutex<HashMap<K, Lane<T>>>);

impl<K, T> Default for Gather<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T> Gather<K, T> {
    /// Puts something into a lane. Answers whether a pipeline is to be run now, which then asks for
    /// [`Gather::next`] until there is nothing.
    #[must_use]
    pub fn put(&self, key: K, put: impl FnOnce(&mut VecDeque<T>)) -> bool {
        let mut lanes = self.0.lock();
        let lane = lanes.entry(key).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            pipelines: 0,
        });
        put(&mut lane.waiting);
        let begins = lane.pipelines < PIPELINES;
        lane.pipelines += u32::from(begins);
        begins
    }

    /// What goes into the next pipeline; nothing ends the pipeline that asks.
    pub fn next(&self, key: &K, take: impl FnOnce(&mut VecDeque<T>) -> Vec<T>) -> Vec<T> {
        let mut lanes = self.0.lock();
        let Some(lane) = lanes.get_mut(key) else {
            return Vec::new();
        };
        let taken = take(&mut lane.waiting);
        if taken.is_empty() {
            lane.pipelines -= 1;
            if lane.pipelines == 0 {
                lanes.remove(key);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(waiting: &mut VecDeque<u32>) -> Vec<u32> {
        waiting.drain(..).collect()
    }

    #[test]
    fn what_waits_goes_together() {
        let gather = Gather::default();
        for number in 0..PIPELINES {
            assert!(gather.put('a', |waiting| waiting.push_back(number)));
            assert_eq!(gather.next(&'a', all), [number]);
        }
        assert!(!gather.put('a', |waiting| waiting.push_back(7)));
        assert!(!gather.put('a', |waiting| waiting.push_front(6)));
        assert!(gather.put('b', |waiting| waiting.push_back(1)));
        assert_eq!(gather.next(&'a', all), [6, 7]);
    }

    #[test]
    fn a_lane_goes_with_its_last_pipeline() {
        let gather = Gather::default();
        for number in 0..PIPELINES {
            assert!(gather.put('a', |waiting| waiting.push_back(number)));
        }
        assert_eq!(gather.next(&'a', all).len(), PIPELINES as usize);
        for left in (0..PIPELINES).rev() {
            assert!(gather.next(&'a', all).is_empty());
            assert_eq!(gather.0.lock().is_empty(), left == 0);
        }
        assert!(gather.next(&'a', all).is_empty());
        assert!(gather.put('a', |waiting| waiting.push_back(1)));
    }
}
