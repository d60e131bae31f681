//! Giving what a bus carried once more: to a ledger, or to a group of its consumers.
//!
//! # Into a ledger
//! Every event of the bus in the range goes into the ledger by the code that records them the first
//! time ([`crate::ledger::carry`]): in the order of its partition, guarded by rev, users, counts and
//! days with it. What the ledger has already changes nothing, so a replay may be run again, in whole
//! or in parts.
//!
//! - **An empty database** is rebuilt ([`crate::ledger::rebuild`]): the store gets the id that its
//!   events name, kinds and target types the numbers that they name, so that what Redis keeps fits
//!   it. At the end every partition stands where its last event does, in the life that Redis is in
//!   and no earlier turn than any that was met; the first node that starts takes the seats. Whoever
//!   ends on the way goes on where the group of the replay stands on the bus; where something was
//!   missing by then, from the beginning, so that what is missing can be named.
//! - **An older ledger** ([`Spec::history`]) is copied first, whole; then come the events that it
//!   does not have. That brings what is no event, too: what was imported past Redis, what was
//!   erased, days and rankings from before the bus began.
//! - **A ledger with a store** gets what it lacks. Nothing else in it changes.
//!
//! Nobody may work on the ledger meanwhile: not that rows would suffer, which are guarded, but what
//! a node loads into Redis from half of a ledger is wrong there for as long as it is kept.
//!
//! # Into a group
//! The group's place on the bus is moved back ([`into_group`]); its own consumers read on from there.
//!
//! - [`holes`], [`sorter`], [`pace`]: what is decided without asking anybody;
//! - [`group`]: the bus; `write`: the ledger; `rebuild`, `run`: the whole of it;
//! - [`consumer`]: into a group.

mod consumer;
mod group;
pub mod holes;
pub mod pace;
mod rebuild;
mod run;
mod sorter;
mod write;

use acclaim_bus::{ConsumeError, OpenError};
use acclaim_core::{Kinds, Rev};

pub use consumer::{Moved, into_group};
pub use group::{CLOCKS_APART_MAX, JOIN_MAX};
pub use run::into_ledger;
pub use write::LEDGER_AWAY_MAX;

use crate::ledger::dictionary::DictionaryError;
use crate::ledger::{Ledger, LedgerError};
use crate::redis::connection::RedisLimits;
use crate::redis::error::RedisError;
use crate::worker::BusConfig;

/// Gaps and refused events that are told one by one.
pub const MAX_TOLD: usize = 100;

/// Which events: those decided in this time, both ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first microsecond.
    pub from: Rev,
    /// The last one.
    pub to: Rev,
}

impl Range {
    /// Whether something of this place is among them.
    #[must_use]
    pub fn has(&self, place: Rev) -> bool {
        (self.from..=self.to).contains(&place)
    }
}

/// What is to be replayed, and where to.
pub struct Spec<'a> {
    /// The ledger that gets the events.
    pub ledger: &'a Ledger,
    /// An older ledger of the same store, which is copied first.
    pub history: Option<&'a Ledger>,
    /// Redis, which says in which lives the partitions are.
    pub redis: (&'a str, RedisLimits),
    /// The bus.
    pub bus: &'a BusConfig,
    /// The kinds whose events are read.
    pub kinds: &'a Kinds,
    /// Partitions of the store, where the ledger does not say it.
    pub partitions: u16,
    /// Which events.
    pub range: Range,
    /// The time at which the replay begins: what is published later need not come.
    pub now: Rev,
    /// At most so many events a second.
    pub events_per_second: Option<u64>,
    /// Whether everything is only counted.
    pub is_dry: bool,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many more rows of the older ledger are read.
    Copied(u64),
    /// So many messages of the bus are done, and so many are left, as far as the bus knows.
    Read {
        /// Done in all.
        done: u64,
        /// Left.
        left: u64,
    },
}

/// Events that never came: behind one place of a partition, up to and with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// The partition.
    pub partition: u16,
    /// The last event before it, or zero where there is none.
    pub after: Rev,
    /// The last event of it.
    pub upto: Rev,
}

/// An event that is a dead letter now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which one: the event's id, or where the message lies on the bus.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// What a replay came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The store, where it is known.
    pub store: Option<String>,
    /// Messages of the bus that were read.
    pub messages: u64,
    /// Events in the range.
    pub events: u64,
    /// Those that changed their edge.
    pub changed: u64,
    /// Those that the ledger had, or a newer one of their edge.
    pub known: u64,
    /// Those that are dead letters now.
    pub refused: u64,
    /// Those that came too late when they were published, and were left out then and now.
    pub late: u64,
    /// Events outside the range.
    pub outside: u64,
    /// Messages of other stores.
    pub foreign: u64,
    /// Rows of the older ledger.
    pub copied: u64,
    /// What never came.
    pub gaps: Vec<Gap>,
    /// The first of those that were refused.
    pub refusals: Vec<Refused>,
    /// Whether the ledger was rebuilt, from an empty database.
    pub is_rebuilt: bool,
    /// Whether it went on where an earlier one had ended.
    pub is_resumed: bool,
}

impl Report {
    /// Whether nothing is missing and nothing was refused.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.gaps.is_empty() && self.refused == 0
    }

    fn refuse(&mut self, what: impl ToString, reason: String) {
        self.refused += 1;
        if self.refusals.len() < MAX_TOLD {
            let what = what.to_string();
            self.refusals.push(Refused { what, reason });
        }
    }
}

/// Why a replay could not run to its end. What it did stays; it may be run again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The ledger, or the older one.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The numbers of names.
    #[error(transparent)]
    Dictionary(#[from] DictionaryError),
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The bus could not be opened.
    #[error(transparent)]
    Bus(#[from] OpenError),
    /// The bus gives nothing.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    /// Others work on the ledger.
    #[error(
        "{who} works on {what} now; stop every node and worker of it first, and start them when \
         the replay is done (who was killed counts as there for as long as its leases last)"
    )]
    AtWork {
        /// Which ledger.
        what: &'static str,
        /// A worker.
        who: String,
    },
    /// Others are in the group.
    #[error(
        "the group {group:?} gives us {has} of {of} partitions of the topic: others are in it; stop \
         them first"
    )]
    Shared {
        /// The group.
        group: String,
        /// How many we have.
        has: usize,
        /// How many there are.
        of: usize,
    },
    /// The older ledger is given where there is a store already.
    #[error("the ledger has a store; an older one can be copied into an empty database only")]
    HistoryTooLate,
    /// A rebuild from an older ledger goes on without it.
    #[error("this rebuild began with an older ledger; give it again")]
    HistoryMissing,
    /// The older ledger has no store.
    #[error("the older ledger has no store")]
    HistoryEmpty,
    /// The older ledger has another number of partitions.
    #[error("the older ledger has {found} partitions and the configuration asks for {asked}")]
    HistoryPartitions {
        /// In the ledger.
        found: u16,
        /// Asked for.
        asked: u16,
    },
    /// The bus has no event of any store.
    #[error("the bus has no event from which the store could be known; nothing was written")]
    Nothing,
    /// The bus says that there is more, and gives nothing.
    #[error("the bus says that {left} messages are left and gave none for {seconds} s")]
    Stalled {
        /// Messages.
        left: u64,
        /// Seconds.
        seconds: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_both_its_ends() {
        let range = Range {
            from: Rev(5),
            to: Rev(7),
        };
        let has = [4, 5, 7, 8].map(|place| range.has(Rev(place)));
        assert_eq!(has, [false, true, true, false]);
    }
}
