//! What becomes of each message of the topic, by what came before it. Pure.
//!
//! - What was decided outside the range, or is another store's, is passed over.
//! - **Late** is what was published in a turn of its partition that a barrier before it closed. The
//!   ledger left it out when it came first, and leaves it out now ([`crate::ledger::carry`]).
//! - What cannot be read is refused with the reason. Nobody waits for a newer program here.
//!
//! What is missing is found on the way ([`super::holes`]).

use std::collections::BTreeMap;

use acclaim_bus::event::{Event, Stand as StandOfEvent};
use acclaim_bus::port::Received;
use acclaim_core::{Kinds, Rev};

use super::holes::Holes;
use super::{Gap, Range};
use crate::ledger::rebuild::Stand;
use crate::worker::recorder::sort::{self, Message, StandsAt};

/// A message.
#[derive(Debug)]
pub(super) enum Sorted {
    /// An event for the ledger.
    Event(Box<Event>),
    /// One that cannot be read, and where it stands.
    Refused(StandsAt, String),
    /// One that cannot be read and stands nowhere.
    Placeless(String),
    /// Closes turns of a partition, which was noted.
    Barrier,
    /// In a turn that is closed.
    Late,
    /// The ledger that was copied has it.
    Known,
    /// Outside the range.
    Outside,
    /// Another store's.
    Foreign,
}

/// A partition's journal as it comes along.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    /// Events up to here are not given on.
    skip: Rev,
    pub holes: Holes,
    /// Turns before this one are closed.
    pub closed: u64,
    /// The highest turn and life that were met.
    pub turn: u64,
    pub life: u32,
    /// Whether something of the three before is newer than the ledger knows.
    pub is_news: bool,
}

impl Journal {
    /// One of which everything up to `known` is in the ledger.
    pub fn new(known: Rev, skip: Rev) -> Self {
        Self {
            skip,
            holes: Holes::behind(known),
            closed: 0,
            turn: 0,
            life: 0,
            is_news: false,
        }
    }

    /// The same with what a ledger says of turns.
    pub fn of(stand: &Stand, known: Rev, skip: Rev) -> Self {
        Self {
            closed: stand.closed,
            turn: stand.turn,
            life: stand.life,
            ..Self::new(known, skip)
        }
    }

    fn meet(&mut self, turn: u64, life: u32) {
        if turn > self.turn || life > self.life {
            self.turn = self.turn.max(turn);
            self.life = self.life.max(life);
            self.is_news = true;
        }
    }
}

/// Sorts the messages of one store.
pub(super) struct Sorter<'a> {
    pub kinds: &'a Kinds,
    pub store: String,
    pub partitions: u16,
    pub range: Range,
    pub journals: BTreeMap<u16, Journal>,
    /// Of which everything before the range is taken to be there.
    pub floor: Rev,
}

impl Sorter<'_> {
    pub fn journal(&mut self, partition: u16) -> &mut Journal {
        let floor = self.floor;
        let journal = self.journals.entry(partition);
        journal.or_insert_with(|| Journal::new(floor, Rev::ZERO))
    }

    /// Sorts the next message.
    pub fn sort(&mut self, message: &Received) -> Sorted {
        match sort::read(message, &self.store, self.kinds, self.partitions) {
            Message::Event(event) => {
                let (turn, place) = (event.turn.unwrap_or(0).into(), event.place);
                match self.place(place.partition, turn, event.life, place.seq, event.previous) {
                    None => Sorted::Event(event),
                    Some(passed) => passed,
                }
            }
            Message::Barrier(barrier) => {
                let turn = u64::from(barrier.turn);
                let journal = self.journal(barrier.partition);
                journal.is_news |= turn > journal.closed;
                journal.closed = journal.closed.max(turn);
                journal.meet(turn, 0);
                Sorted::Barrier
            }
            Message::Foreign => Sorted::Foreign,
            Message::Poison(reason, Some(stand)) => self.poison(reason, &stand),
            Message::Poison(reason, None) => {
                let published = message.published_at_millis.saturating_mul(1_000);
                match self.range.has(Rev(published)) {
                    true => Sorted::Placeless(reason),
                    false => Sorted::Outside,
                }
            }
        }
    }

    fn poison(&mut self, reason: String, stand: &StandOfEvent) -> Sorted {
        let (turn, place) = (stand.turn.unwrap_or(0).into(), stand.place);
        match self.place(place.partition, turn, stand.life, place.seq, stand.previous) {
            None => Sorted::Refused(StandsAt::of(stand), reason),
            Some(passed) => passed,
        }
    }

    /// Notes where something stands; what it is where it is not given on.
    fn place(
        &mut self,
        partition: u16,
        turn: u64,
        life: u32,
        seq: Rev,
        previous: Option<Rev>,
    ) -> Option<Sorted> {
        if !self.range.has(seq) {
            return Some(Sorted::Outside);
        }
        let journal = self.journal(partition);
        journal.meet(turn, life);
        if turn < journal.closed {
            return Some(Sorted::Late);
        }
        journal.holes.see(seq, previous);
        (seq <= journal.skip).then_some(Sorted::Known)
    }

    /// What never came.
    pub fn gaps(&self) -> Vec<Gap> {
        let gaps = self.journals.iter().flat_map(|(partition, journal)| {
            journal.holes.all().map(|(after, upto)| Gap {
                partition: *partition,
                after,
                upto,
            })
        });
        gaps.collect()
    }
}

#[cfg(test)]
mod tests {
    use acclaim_bus::event::Barrier;
    use acclaim_core::{Id, Target, TargetType};
    use bytes::Bytes;

    use super::*;

    fn event(seq: u64, previous: u64, turn: u32) -> Event {
        Event {
            store: "s".into(),
            place: acclaim_core::port::Place {
                seq: Rev(seq),
                partition: 1,
            },
            previous: (previous > 0).then_some(Rev(previous)),
            epoch: 1,
            life: 0,
            turn: Some(turn),
            numbers: None,
            kind: "likes".into(),
            user: Id::Number(1),
            target: Target {
                target_type: TargetType::parse("POST").unwrap(),
                id: Id::Number(1),
            },
            active: true,
            rev: Rev(seq),
            count: 1,
            origin: None,
        }
    }

    fn message(payload: Vec<u8>) -> Received {
        Received::new(0, 1, 150, Bytes::from(payload))
    }

    fn sorter(kinds: &Kinds) -> Sorter<'_> {
        Sorter {
            kinds,
            store: "s".to_owned(),
            partitions: 4,
            range: Range {
                from: Rev(100),
                to: Rev(200_000),
            },
            journals: BTreeMap::new(),
            floor: Rev(99),
        }
    }

    fn name(sorted: &Sorted) -> &'static str {
        match sorted {
            Sorted::Event(_) => "event",
            Sorted::Refused(..) => "refused",
            Sorted::Placeless(_) => "placeless",
            Sorted::Barrier => "closed",
            Sorted::Late => "late",
            Sorted::Known => "known",
            Sorted::Outside => "outside",
            Sorted::Foreign => "foreign",
        }
    }

    #[test]
    fn each_message_is_what_it_is() {
        let kinds = Kinds::new([]).unwrap();
        let mut sorter = sorter(&kinds);
        let barrier = Barrier {
            store: "s".into(),
            partition: 1,
            turn: 2,
        };
        let mut other = event(130, 0, 1);
        other.store = "t".into();
        let unknown = String::from_utf8(event(120, 110, 1).write()).unwrap();
        let unknown = unknown.replace("\"likes\"", "\"nosuch\"").into_bytes();
        let mut far = event(130, 0, 1);
        far.place.partition = 4;
        let told: Vec<&str> = [
            event(99, 0, 1).write(),
            event(110, 99, 1).write(),
            unknown,
            other.write(),
            far.write(),
            b"garbage".to_vec(),
            event(140, 130, 1).write(),
            barrier.write(),
            event(150, 140, 1).write(),
            event(150, 140, 2).write(),
            event(200_001, 150, 2).write(),
        ]
        .into_iter()
        .map(|payload| name(&sorter.sort(&message(payload))))
        .collect();
        assert_eq!(
            told,
            [
                "outside",
                "event",
                "refused",
                "foreign",
                "placeless",
                "placeless",
                "event",
                "closed",
                "late",
                "event",
                "outside"
            ]
        );
        let gap = Gap {
            partition: 1,
            after: Rev(120),
            upto: Rev(130),
        };
        assert_eq!(sorter.gaps(), [gap]);
        let journal = sorter.journal(1);
        assert_eq!(
            (journal.turn, journal.closed, journal.is_news),
            (2, 2, true)
        );
    }

    #[test]
    fn what_was_copied_is_not_given_again() {
        let kinds = Kinds::new([]).unwrap();
        let mut sorter = sorter(&kinds);
        sorter.journals.insert(1, Journal::new(Rev(120), Rev(120)));
        let mut told = |seq, previous| {
            let sorted = sorter.sort(&message(event(seq, previous, 1).write()));
            name(&sorted)
        };
        assert_eq!(
            [told(110, 0), told(120, 110), told(130, 125)],
            ["known", "known", "event"]
        );
        let gap = Gap {
            partition: 1,
            after: Rev(120),
            upto: Rev(125),
        };
        assert_eq!(sorter.gaps(), [gap]);
    }
}
