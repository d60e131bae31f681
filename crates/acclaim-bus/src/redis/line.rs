//! A bus partition that is ours: what was read of it and is not held yet, and how the numbers of its
//! events go on.

use std::collections::VecDeque;

use crate::port::Received;

/// Where a group stands in a bus partition, and under which fence it is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The fence.
    pub fence: String,
    /// The last position that the group is done with.
    pub after: u64,
    /// How many events stand up to there.
    pub read: u64,
}

/// An event as it stands in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The event.
    pub event: Received,
    /// Its number in the stream, from 1; none where somebody else put it there.
    pub number: Option<u64>,
}

/// Events that were thrown away before they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How many.
    pub events: u64,
    /// The position of the first that is still there.
    pub before: u64,
}

/// A bus partition that is ours.
#[derive(Debug)]
pub struct Line {
    fence: String,
    queue: VecDeque<Received>,
    /// The last that was read.
    after: u64,
    /// The number of the next one.
    next: u64,
    /// Position and number of what was read and is not acknowledged.
    numbers: VecDeque<(u64, u64)>,
    /// How many events are acknowledged.
    read: u64,
}

impl Line {
    /// One that begins.
    pub fn new(standing: Standing) -> Self {
        Self {
            fence: standing.fence,
            queue: VecDeque::new(),
            after: standing.after,
            next: standing.read + 1,
            numbers: VecDeque::new(),
            read: standing.read,
        }
    }

    /// Under which it is ours.
    pub fn fence(&self) -> &str {
        &self.fence
    }

    /// Behind which position to read on.
    pub fn after(&self) -> u64 {
        self.after
    }

    /// What was read and is not held yet.
    pub fn queue(&self) -> &VecDeque<Received> {
        &self.queue
    }

    /// Takes in what was read, and says what is missing before it.
    pub fn take_in(&mut self, entry: Entry) -> Option<Gap> {
        let position = entry.event.position;
        if position <= self.after {
            return None;
        }
        let number = entry.number.unwrap_or(self.next);
        let missing = number.saturating_sub(self.next);
        self.next = number.saturating_add(1);
        self.after = position;
        self.numbers.push_back((position, number));
        self.queue.push_back(entry.event);
        (missing > 0).then_some(Gap {
            events: missing,
            before: position,
        })
    }

    /// Hands on the first of what was read.
    pub fn hand_on(&mut self, count: usize) -> impl Iterator<Item = Received> {
        let count = count.min(self.queue.len());
        self.queue.drain(..count)
    }

    /// How many events stand up to a position of which all up to it is done.
    pub fn read_up_to(&self, position: u64) -> u64 {
        let behind = self.numbers.partition_point(|(at, _)| *at <= position);
        match behind.checked_sub(1).and_then(|at| self.numbers.get(at)) {
            Some((_, number)) => *number,
            None => self.read,
        }
    }

    /// The group has moved to a position.
    pub fn acknowledged(&mut self, position: u64) {
        self.read = self.read_up_to(position);
        while self.numbers.front().is_some_and(|(at, _)| *at <= position) {
            self.numbers.pop_front();
        }
    }
}

/// Which bus partitions are a member's: all who live take theirs in turn.
pub fn share(members: &[String], name: &str, bus_partitions: u32) -> Vec<u32> {
    let mut sorted: Vec<&str> = members.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    match sorted.binary_search(&name) {
        Ok(place) => (0..bus_partitions)
            .filter(|line| *line as usize % sorted.len() == place)
            .collect(),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(position: u64, number: Option<u64>) -> Entry {
        Entry {
            event: Received {
                bus_partition: 0,
                position,
                published_at_millis: 0,
                key: Default::default(),
                payload: Default::default(),
                attempt: 0,
                delivery: 0,
            },
            number,
        }
    }

    #[test]
    fn numbers_that_are_left_out_are_a_gap() {
        let mut line = Line::new(Standing {
            fence: "1".to_owned(),
            after: 100,
            read: 5,
        });
        assert_eq!(line.take_in(entry(100, Some(5))), None, "it was before");
        assert_eq!(line.take_in(entry(110, Some(6))), None);
        let gap = Gap {
            events: 3,
            before: 120,
        };
        assert_eq!(line.take_in(entry(120, Some(10))), Some(gap));
        // Somebody else's counts as the next one, as it does for Redis.
        assert_eq!(line.take_in(entry(130, None)), None);
        assert_eq!(line.take_in(entry(140, Some(12))), None);
        // A stream that began anew has lower numbers.
        assert_eq!(line.take_in(entry(150, Some(1))), None);
        assert_eq!(line.take_in(entry(160, Some(2))), None);
        assert_eq!(line.after(), 160);
        assert_eq!(line.queue().len(), 6);
    }

    #[test]
    fn what_is_acknowledged_has_a_number() {
        let mut line = Line::new(Standing {
            fence: "1".to_owned(),
            after: 0,
            read: 2,
        });
        for (position, number) in [(10, 3), (20, 4), (30, 5)] {
            line.take_in(entry(position, Some(number)));
        }
        assert_eq!((line.read_up_to(9), line.read_up_to(10)), (2, 3));
        assert_eq!(line.read_up_to(29), 4);
        line.acknowledged(20);
        assert_eq!(line.read_up_to(20), 4, "said again");
        line.acknowledged(30);
        assert_eq!(line.read_up_to(30), 5);
        assert_eq!(line.hand_on(2).count(), 2);
        assert_eq!(line.hand_on(2).count(), 1);
    }

    #[test]
    fn everybody_has_a_share_and_nobody_anothers() {
        for count in 1..6_usize {
            let members: Vec<String> = (0..count).rev().map(|at| format!("m{at}")).collect();
            let mut all = Vec::new();
            for name in &members {
                let share = share(&members, name, 4);
                assert!(share.len() <= 4_usize.div_ceil(count));
                all.extend(share);
            }
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3]);
            assert_eq!(share(&members, "stranger", 4), Vec::<u32>::new());
        }
    }
}
