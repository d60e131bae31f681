//! Gathering: what waits for a server while rounds with it are under way goes into the next one, so
//! that under load one round serves many callers.
//!
//! There are no timers and no idle tasks: a round is run while something waits. (The combiner of
//! the embedded engine blocks a thread for each taker; here what is slow is a call that a task can
//! wait for.)
//!
//! This part decides only who goes together; it knows nothing of what waits.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use parking_lot::Mutex;

struct Lane<T> {
    waiting: VecDeque<T>,
    /// Rounds under way.
    rounds: usize,
}

/// Whether what waits is worth another round beside those under way.
type IsWorthIt<T> = Box<dyn Fn(&VecDeque<T>) -> bool + Send + Sync>;

/// What waits, by lane. A lane in which nothing waits and nothing is under way is not there.
pub struct Gather<K, T> {
    lanes: Mutex<HashMap<K, Lane<T>>>,
    max_rounds: usize,
    is_worth_another: IsWorthIt<T>,
}

impl<K: Eq + Hash, T> Gather<K, T> {
    /// Lanes with at most so many rounds under way at once, each.
    pub fn new(max_rounds: usize) -> Self {
        Self::sparing(max_rounds, |_| true)
    }

    /// The same, where a round is run beside others only if what waits is worth it. What is not
    /// waits for one under way to end.
    pub fn sparing(
        max_rounds: usize,
        is_worth_another: impl Fn(&VecDeque<T>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            lanes: Mutex::default(),
            max_rounds: max_rounds.max(1),
            is_worth_another: Box::new(is_worth_another),
        }
    }

    /// Puts something into a lane. Answers whether a round is to be run now, which then asks for
    /// [`Gather::next`] until there is nothing.
    #[must_use]
    pub fn put(&self, key: K, put: impl FnOnce(&mut VecDeque<T>)) -> bool {
        let mut lanes = self.lanes.lock();
        let lane = lanes.entry(key).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            rounds: 0,
        });
        put(&mut lane.waiting);
        let begins = lane.rounds == 0
            || lane.rounds < self.max_rounds && (self.is_worth_another)(&lane.waiting);
        lane.rounds += usize::from(begins);
        begins
    }

    /// What goes into the next round; nothing ends the round that asks.
    pub fn next(&self, key: &K, take: impl FnOnce(&mut VecDeque<T>) -> Vec<T>) -> Vec<T> {
        let mut lanes = self.lanes.lock();
        let Some(lane) = lanes.get_mut(key) else {
            return Vec::new();
        };
        let goes_on = lane.rounds <= 1 || (self.is_worth_another)(&lane.waiting);
        let taken = match goes_on {
            true => take(&mut lane.waiting),
            false => Vec::new(),
        };
        if taken.is_empty() {
            lane.rounds -= 1;
            if lane.rounds == 0 {
                lanes.remove(key);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: usize = 2;

    fn all(waiting: &mut VecDeque<u32>) -> Vec<u32> {
        waiting.drain(..).collect()
    }

    #[test]
    fn what_waits_goes_together() {
        let gather = Gather::new(ROUNDS);
        for number in 0..ROUNDS as u32 {
            assert!(gather.put('a', |waiting| waiting.push_back(number)));
            assert_eq!(gather.next(&'a', all), [number]);
        }
        assert!(!gather.put('a', |waiting| waiting.push_back(7)));
        assert!(!gather.put('a', |waiting| waiting.push_front(6)));
        assert!(gather.put('b', |waiting| waiting.push_back(1)));
        assert_eq!(gather.next(&'a', all), [6, 7]);
    }

    #[test]
    fn rounds_beside_others_are_worth_it() {
        let gather = Gather::sparing(ROUNDS, |waiting: &VecDeque<u32>| waiting.len() >= 2);
        assert!(gather.put('a', |waiting| waiting.push_back(1)), "the first");
        assert_eq!(gather.next(&'a', all), [1]);
        assert!(!gather.put('a', |waiting| waiting.push_back(2)));
        assert!(gather.put('a', |waiting| waiting.push_back(3)));
        assert_eq!(gather.next(&'a', all), [2, 3]);
        // Two are under way; of those that end the last sees to what waits.
        assert!(!gather.put('a', |waiting| waiting.push_back(4)));
        assert!(gather.next(&'a', all).is_empty());
        assert_eq!(gather.next(&'a', all), [4]);
        assert!(gather.next(&'a', all).is_empty());
        assert!(gather.lanes.lock().is_empty());
    }

    #[test]
    fn a_lane_goes_with_its_last_round() {
        let gather = Gather::new(ROUNDS);
        for number in 0..ROUNDS as u32 {
            assert!(gather.put('a', |waiting| waiting.push_back(number)));
        }
        assert_eq!(gather.next(&'a', all).len(), ROUNDS);
        for left in (0..ROUNDS).rev() {
            assert!(gather.next(&'a', all).is_empty());
            assert_eq!(gather.lanes.lock().is_empty(), left == 0);
        }
        assert!(gather.next(&'a', all).is_empty());
        assert!(gather.put('a', |waiting| waiting.push_back(1)));
    }
}
