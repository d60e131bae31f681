//! What a batch from the bus is: events by the journals that they are of, barriers, and what cannot
//! be read.
//!
//! What comes of it are **rounds**, done one after the other: stretches of different partitions that
//! go into the ledger in one transaction, or a barrier. A partition is in a round once, so whatever
//! the bus mixes, each partition's events are applied in the order in which they came.

use std::collections::{BTreeMap, BTreeSet};

use acclaim_bus::event::{Barrier, Event, Stand};
use acclaim_bus::port::Received;
use acclaim_core::{Id, Kinds, Rev};

use crate::ledger::{Batch, Carried, Entry, LedgerEvent};
use crate::redis::keys::{Partition, TargetName};

/// What a message is.
pub(crate) enum Message {
    /// A transition of ours.
    Event(Box<Event>),
    /// A barrier of ours.
    Barrier(Barrier),
    /// Another store's: nothing to us.
    Foreign,
    /// Not to be read, for this reason; where it stands, if it says so.
    Poison(String, Option<Stand>),
}

/// Reads a message of a store with so many partitions.
pub(crate) fn read(message: &Received, store: &str, kinds: &Kinds, partitions: u16) -> Message {
    let outside = |partition: u16| {
        let reason = format!("the event is of partition {partition}; there are {partitions}");
        (partition >= partitions).then_some(Message::Poison(reason, None))
    };
    match Event::read(&message.payload, kinds) {
        Ok(event) if event.store != store => Message::Foreign,
        Ok(event) => match outside(event.place.partition) {
            Some(poison) => poison,
            None => Message::Event(Box::new(event)),
        },
        Err(unreadable) => match Barrier::read(&message.payload) {
            Some(barrier) if barrier.store != store => Message::Foreign,
            Some(barrier) => match outside(barrier.partition) {
                Some(poison) => poison,
                None => Message::Barrier(barrier),
            },
            None => match Stand::read(&message.payload) {
                Some(stand) if stand.store != store => Message::Foreign,
                stand => {
                    let stand = stand.filter(|stand| stand.place.partition < partitions);
                    Message::Poison(unreadable.to_string(), stand)
                }
            },
        },
    }
}

/// A stretch of a journal, on its way into the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    pub journal: Partition,
    pub carried: Carried,
    /// The edges of its transitions, as Redis names them.
    pub edges: BTreeSet<(TargetName, Id)>,
    /// When its oldest event was decided.
    pub oldest: Rev,
}

impl Stretch {
    fn new(journal: Partition, turn: u64) -> Self {
        Self {
            journal,
            carried: Carried {
                batch: Batch {
                    partition: journal.number,
                    epoch: journal.epoch,
                    fence: 0,
                    entries: Vec::new(),
                },
                turn,
                previous: Vec::new(),
            },
            edges: BTreeSet::new(),
            oldest: Rev::MAX,
        }
    }
}

/// What is done at once.
pub(crate) enum Round {
    /// One transaction.
    Write(BTreeMap<u16, Stretch>),
    /// The turns of a partition before this one are closed.
    Close(u16, u64),
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StandsAt {
    pub journal: Partition,
    pub turn: u64,
    pub seq: Rev,
    pub previous: Option<Rev>,
}

impl StandsAt {
    pub fn of(stand: &Stand) -> Self {
        Self {
            journal: Partition {
                epoch: stand.epoch,
                life: stand.life,
                number: stand.place.partition,
            },
            turn: stand.turn.unwrap_or(0).into(),
            seq: stand.place.seq,
            previous: stand.previous,
        }
    }

    pub fn of_event(event: &Event) -> Self {
        Self {
            journal: Partition {
                epoch: event.epoch,
                life: event.life,
                number: event.place.partition,
            },
            turn: event.turn.unwrap_or(0).into(),
            seq: event.place.seq,
            previous: event.previous,
        }
    }
}

/// Rounds as they gather.
#[derive(Default)]
pub(crate) struct Rounds {
    done: Vec<Round>,
    open: BTreeMap<u16, Stretch>,
}

impl Rounds {
    /// Adds an entry.
    pub fn add(
        &mut self,
        at: &StandsAt,
        event: Result<LedgerEvent, String>,
        payload: bytes::Bytes,
    ) {
        let number = at.journal.number;
        let is_other =
            |stretch: &Stretch| stretch.journal != at.journal || stretch.carried.turn != at.turn;
        if self.open.get(&number).is_some_and(is_other) {
            self.close();
        }
        let stretch = self.open.entry(number);
        let stretch = stretch.or_insert_with(|| Stretch::new(at.journal, at.turn));
        stretch.oldest = stretch.oldest.min(at.seq);
        if let Ok(event) = &event {
            let target = TargetName {
                kind: event.kind.0,
                target_type: event.target_type.0,
                id: event.target.clone(),
            };
            stretch.edges.insert((target, event.user.clone()));
        }
        let seq = at.seq;
        stretch.carried.previous.push(at.previous);
        stretch.carried.batch.entries.push(Entry {
            seq,
            event,
            payload,
        });
    }

    /// Adds a barrier.
    pub fn bar(&mut self, partition: u16, turn: u64) {
        self.close();
        self.done.push(Round::Close(partition, turn));
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push(Round::Write(std::mem::take(&mut self.open)));
        }
    }

    /// All of them.
    pub fn end(mut self) -> Vec<Round> {
        self.close();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn at(number: u16, turn: u64, seq: u64) -> StandsAt {
        StandsAt {
            journal: Partition {
                epoch: 1,
                life: 0,
                number,
            },
            turn,
            seq: Rev(seq),
            previous: None,
        }
    }

    #[test]
    fn a_partition_is_in_a_round_once() {
        let mut rounds = Rounds::default();
        let mut add = |at: StandsAt| rounds.add(&at, Err(String::new()), Bytes::new());
        add(at(1, 1, 10));
        add(at(2, 1, 5));
        add(at(1, 1, 12));
        add(at(1, 2, 12));
        add(at(2, 1, 7));
        rounds.bar(1, 3);
        rounds.add(&at(1, 3, 14), Err(String::new()), Bytes::new());
        let told: Vec<String> = rounds.end().iter().map(tell).collect();
        assert_eq!(
            told,
            [
                "1.1: 10 12, 2.1: 5",
                "1.2: 12, 2.1: 7",
                "bar 1.3",
                "1.3: 14"
            ]
        );
    }

    fn tell(round: &Round) -> String {
        let tell = |(number, stretch): (&u16, &Stretch)| {
            let entries = stretch.carried.batch.entries.iter();
            let seqs: Vec<String> = entries.map(|entry| entry.seq.0.to_string()).collect();
            format!("{number}.{}: {}", stretch.carried.turn, seqs.join(" "))
        };
        match round {
            Round::Write(stretches) => {
                let told: Vec<String> = stretches.iter().map(tell).collect();
                told.join(", ")
            }
            Round::Close(partition, turn) => format!("bar {partition}.{turn}"),
        }
    }
}
