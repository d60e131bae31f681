//! What a consumer holds: events that came from the bus and are not acknowledged to it.
//!
//! Pure, and the same for every bus. An event is **waiting** to be delivered, **out** with whoever
//! received it, or **done**. Each bus partition is a line of events by position. Done ones leave a
//! line only from its front, so what is acknowledged to the bus is always "everything up to here".
//! Out ones stand before waiting ones in each line: delivery goes on at the first that is waiting,
//! and giving one back makes all behind it wait too. So order is kept without asking the bus for
//! anything twice.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::port::{Acknowledged, Lag, Received};

/// All lines of a consumer.
#[derive(Debug, Default)]
pub struct Held {
    lines: BTreeMap<u32, Line>,
    last_delivery: u64,
}

#[derive(Debug, Default)]
struct Line {
    events: VecDeque<Entry>,
    /// Nothing of the line is delivered before.
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    event: Received,
    state: State,
    /// Deliveries that failed.
    tries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Out,
    Done,
}

/// What became of events that were given back.
#[derive(Debug, Default)]
pub struct Returned {
    /// They wait.
    pub again: usize,
    /// They failed as often as they may; they stay out until they are buried.
    pub exhausted: Vec<Received>,
    /// They are not held.
    pub lost: usize,
}

impl Held {
    /// Begins a line, empty.
    pub fn begin(&mut self, bus_partition: u32) {
        self.lines.insert(bus_partition, Line::default());
    }

    /// Ends a line: what is out of it is lost to whoever has it.
    pub fn end(&mut self, bus_partition: u32) {
        self.lines.remove(&bus_partition);
    }

    /// The lines.
    pub fn bus_partitions(&self) -> impl Iterator<Item = u32> {
        self.lines.keys().copied()
    }

    /// Whether there is this line.
    pub fn has(&self, bus_partition: u32) -> bool {
        self.lines.contains_key(&bus_partition)
    }

    /// Where the events of a line stand, in order.
    pub fn positions(&self, bus_partition: u32) -> impl Iterator<Item = u64> {
        let line = self.lines.get(&bus_partition).into_iter();
        line.flat_map(|line| &line.events)
            .map(|entry| entry.event.position)
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many events there are.
    pub fn events(&self) -> usize {
        self.lines.values().map(|line| line.events.len()).sum()
    }

    /// Puts an event at the end of its line. One whose line there is not, or that is not behind
    /// the line's last, is dropped: it came from before a rebalance or comes again.
    pub fn take(&mut self, event: Received) {
        let Some(line) = self.lines.get_mut(&event.bus_partition) else {
            return;
        };
        let last = line.events.back().map(|entry| entry.event.position);
        if last.is_none_or(|last| last < event.position) {
            line.events.push_back(Entry {
                event,
                state: State::Waiting,
                tries: 0,
            });
        }
    }

    /// Delivers up to `max_events` that wait and may come now, lines in turn.
    pub fn deliver(&mut self, max_events: usize, now: Instant) -> Vec<Received> {
        let mut delivered = Vec::new();
        for line in self.lines.values_mut() {
            if line.not_before.is_some_and(|time| time > now) {
                continue;
            }
            line.not_before = None;
            let waiting = line.events.iter_mut();
            let waiting = waiting.filter(|entry| entry.state == State::Waiting);
            for entry in waiting.take(max_events - delivered.len()) {
                self.last_delivery += 1;
                entry.state = State::Out;
                entry.event.delivery = self.last_delivery;
                entry.event.attempt = entry.tries + 1;
                delivered.push(entry.event.clone());
            }
        }
        delivered
    }

    /// When the next line that is held back may go on.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        let held_back = self.lines.values().filter_map(|line| line.not_before);
        held_back.filter(|time| *time > now).min()
    }

    /// The lines that are held back.
    pub fn held_back(&self, now: Instant) -> impl Iterator<Item = u32> {
        self.lines
            .iter()
            .filter(move |(_, line)| line.not_before.is_some_and(|time| time > now))
            .map(|(bus_partition, _)| *bus_partition)
    }

    fn find(&mut self, event: &Received) -> Option<&mut Entry> {
        let line = self.lines.get_mut(&event.bus_partition)?;
        let position = |entry: &Entry| entry.event.position;
        let at = line.events.binary_search_by_key(&event.position, position);
        let entry = line.events.get_mut(at.ok()?)?;
        (entry.event.delivery == event.delivery && entry.state != State::Waiting).then_some(entry)
    }

    /// Marks events as done.
    pub fn finish(&mut self, events: &[Received]) -> Acknowledged {
        let mut acknowledged = Acknowledged::default();
        for event in events {
            match self.find(event) {
                Some(entry) => {
                    entry.state = State::Done;
                    acknowledged.events += 1;
                }
                None => acknowledged.lost += 1,
            }
        }
        acknowledged
    }

    /// For each line with done events at its front, the position of the last of them: everything up
    /// to it may be acknowledged to the bus.
    pub fn finished(&self) -> Vec<(u32, u64)> {
        let mut finished = Vec::new();
        for (bus_partition, line) in &self.lines {
            let done = line.events.iter();
            let done = done.take_while(|entry| entry.state == State::Done);
            if let Some(last) = done.last() {
                finished.push((*bus_partition, last.event.position));
            }
        }
        finished
    }

    /// Lets go of what the bus has acknowledged.
    pub fn forget(&mut self, finished: &[(u32, u64)]) {
        for (bus_partition, position) in finished {
            if let Some(line) = self.lines.get_mut(bus_partition) {
                let front = |entry: &Entry| entry.event.position <= *position;
                while line.events.front().is_some_and(front) {
                    line.events.pop_front();
                }
            }
        }
    }

    /// Counts a failed try of each event. What may be tried again waits until `until`, which is
    /// given the tries of the line's most tried event, and everything behind it in its line too.
    pub fn give_back(
        &mut self,
        events: &[Received],
        max_tries: u32,
        until: impl Fn(u32) -> Instant,
    ) -> Returned {
        let mut returned = Returned::default();
        let mut lines: BTreeMap<u32, (u64, u32)> = BTreeMap::new();
        for event in events {
            let Some(entry) = self.find(event).filter(|entry| entry.state == State::Out) else {
                returned.lost += 1;
                continue;
            };
            entry.tries += 1;
            if entry.tries >= max_tries {
                returned.exhausted.push(entry.event.clone());
                continue;
            }
            returned.again += 1;
            let tries = entry.tries;
            let line = lines.entry(event.bus_partition);
            let (first, most) = line.or_insert((event.position, tries));
            *first = event.position.min(*first);
            *most = tries.max(*most);
        }
        for (bus_partition, (first, tries)) in lines {
            self.hold_back(bus_partition, first, until(tries), &returned.exhausted);
        }
        returned
    }

    /// Makes a line wait from a position on, but for events that are about to be buried.
    fn hold_back(&mut self, line: u32, first: u64, until: Instant, exhausted: &[Received]) {
        let Some(line) = self.lines.get_mut(&line) else {
            return;
        };
        line.not_before = Some(until);
        for entry in &mut line.events {
            let leaves = exhausted.iter().any(|e| e.delivery == entry.event.delivery);
            if entry.event.position >= first && entry.state == State::Out && !leaves {
                entry.state = State::Waiting;
            }
        }
    }

    /// Takes back deliveries that never arrived or that could not be buried, without counting them
    /// as failures; everything behind them in their lines waits too.
    pub fn take_back(&mut self, events: &[Received], until: Option<Instant>) {
        for event in events {
            if self.find(event).is_none() {
                continue;
            }
            if let Some(line) = self.lines.get_mut(&event.bus_partition) {
                line.not_before = line.not_before.max(until);
                for entry in &mut line.events {
                    if entry.event.position >= event.position && entry.state == State::Out {
                        entry.state = State::Waiting;
                    }
                }
            }
        }
    }

    /// How far a line is behind, of which so many events are not acknowledged.
    pub fn lag(&self, bus_partition: u32, events: u64) -> Lag {
        let entries = self.lines.get(&bus_partition).into_iter();
        let mut entries = entries.flat_map(|line| &line.events);
        let oldest = entries.find(|entry| entry.state != State::Done);
        // A clock before 1970 is none.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let age = oldest.map(|entry| {
            let published = Duration::from_millis(entry.event.published_at_millis);
            u64::try_from(now.saturating_sub(published).as_millis()).unwrap_or(u64::MAX)
        });
        Lag {
            bus_partition,
            events,
            oldest_millis: if events == 0 { Some(0) } else { age },
        }
    }
}

#[cfg(test)]
mod tests;
