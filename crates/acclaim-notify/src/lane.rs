//! The deliveries of one endpoint: which of them may be sent now.
//!
//! Pure. Deliveries about one target go one after the other, those about others side by side. While
//! an endpoint is paused nothing goes but tests; when the pause is over, one at a time until one is
//! taken.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use acclaim_core::Rev;
use acclaim_core::notify::Key;
use acclaim_core::notify::delivery::Delivery;
use acclaim_core::notify::endpoint::{Endpoint, Standing};

/// An endpoint, how it stands, and what waits for it.
pub struct Lane {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Its record, to see whether it is another by now.
    pub record: Vec<u8>,
    /// How it stands.
    pub standing: Standing,
    /// The record of that.
    pub stands: Option<Vec<u8>>,
    /// What waits, in order; those under way too.
    pub waiting: BTreeMap<Key, Delivery>,
    /// Whether more wait than are here.
    pub has_more: bool,
    /// What is under way.
    pub busy: BTreeSet<Key>,
}

/// What may be done at a moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// What may be sent.
    pub ready: Vec<Key>,
    /// When to look again, where nothing happens before.
    pub wake_at: Option<Rev>,
}

impl Lane {
    /// What may be sent at `now`, with at most `most` under way at once.
    pub fn next(&self, now: Rev, most: usize) -> Next {
        let mut next = Next::default();
        if self.standing.disabled {
            return next;
        }
        let pause = self.standing.paused_until;
        let most = if pause.is_some() { 1 } else { most };
        let mut room = most.saturating_sub(self.busy.len());
        let mut behind: HashSet<&str> = HashSet::new();
        let mut wake = |at: Rev| {
            next.wake_at = Some(next.wake_at.map_or(at, |earlier| earlier.min(at)));
        };
        for (key, delivery) in &self.waiting {
            let is_busy = self.busy.contains(key);
            if delivery.is_test {
                if !is_busy {
                    next.ready.push(key.clone());
                }
                continue;
            }
            // Only the first about a target may go.
            if !behind.insert(&delivery.order) || is_busy {
                continue;
            }
            let due = pause.map_or(delivery.due, |until| until.max(delivery.due));
            if due > now {
                wake(due);
            } else if room > 0 {
                room -= 1;
                next.ready.push(key.clone());
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(order: &str, due: u64) -> Delivery {
        Delivery {
            id: String::new(),
            order: order.to_owned(),
            body: String::new(),
            at: Rev(0),
            attempts: 0,
            due: Rev(due),
            is_test: order.is_empty(),
        }
    }

    fn lane(waiting: &[(u8, &str, u64)]) -> Lane {
        let waiting = waiting.iter();
        Lane {
            endpoint: Endpoint {
                name: "a".into(),
                url: String::new(),
                kinds: None,
                target_types: None,
                secret: String::new(),
                created: Rev(0),
            },
            record: Vec::new(),
            standing: Standing::default(),
            stands: None,
            waiting: waiting
                .map(|(key, order, due)| (vec![*key], delivery(order, *due)))
                .collect(),
            has_more: false,
            busy: BTreeSet::new(),
        }
    }

    fn ready(lane: &Lane, now: u64, most: usize) -> (Vec<u8>, Option<u64>) {
        let next = lane.next(Rev(now), most);
        let keys = next.ready.into_iter().map(|key| key[0]).collect();
        (keys, next.wake_at.map(|at| at.0))
    }

    #[test]
    fn those_of_one_target_go_one_after_the_other() {
        let mut lane = lane(&[
            (1, "A", 0),
            (2, "A", 0),
            (3, "B", 0),
            (4, "C", 9),
            (5, "C", 0),
        ]);
        assert_eq!(ready(&lane, 5, 4), (vec![1, 3], Some(9)));
        assert_eq!(ready(&lane, 5, 1), (vec![1], Some(9)));
        lane.busy.insert(vec![1]);
        assert_eq!(ready(&lane, 5, 4), (vec![3], Some(9)));
        assert_eq!(ready(&lane, 5, 1), (vec![], Some(9)));
        lane.waiting.remove(&vec![1]);
        lane.busy.clear();
        assert_eq!(ready(&lane, 9, 4), (vec![2, 3, 4], None));
    }

    #[test]
    fn a_pause_lets_tests_through_and_then_one_at_a_time() {
        let mut lane = lane(&[(1, "A", 0), (2, "B", 0), (3, "", 0)]);
        lane.standing.paused_until = Some(Rev(100));
        assert_eq!(ready(&lane, 50, 4), (vec![3], Some(100)));
        lane.waiting.remove(&vec![3]);
        assert_eq!(ready(&lane, 100, 4), (vec![1], None));
        lane.standing.disabled = true;
        assert_eq!(ready(&lane, 100, 4), (vec![], None));
    }
}
