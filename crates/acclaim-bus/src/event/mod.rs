//! A transition as everyone outside reads it: a CloudEvent 1.0 in structured JSON.
//!
//! `docs/events.md` is the contract in words, `schema/transition.v1.json` the same as a schema.
//! What is written here must stay readable by every consumer of version 1: fields may be added,
//! none may change its meaning or go.
//!
//! Invariants: what [`Event::write`] writes, [`Event::read`] reads back as the same event; the
//! attributes outside `data` follow from the event alone, so two writings of one transition are
//! the same bytes.

mod barrier;
mod read;
mod stand;
mod unreadable;
mod write;

use std::fmt;

use acclaim_core::id::MAX_JSON_INTEGER;
use acclaim_core::port::Place;
use acclaim_core::{Id, Origin, Rev, Target};
use compact_str::CompactString;

pub use barrier::Barrier;
pub use stand::Stand;
pub use unreadable::Unreadable;

/// What `type` begins with, for every version.
pub const TYPE_PREFIX: &str = "acclaim.transition.";
/// The version that is written, and the only one that is read.
pub const VERSION: &str = "v1";
/// What `source` begins with; the store's name comes behind it.
pub const SOURCE_PREFIX: &str = "acclaim/";
/// What `dataschema` says: the `$id` of `data` in the schema.
pub const DATA_SCHEMA: &str = "urn:acclaim:transition:v1";
/// The longest event that is read, in bytes. What is written is never a tenth of it.
pub const MAX_EVENT_BYTES: usize = 16_384;
/// The largest epoch or life: the largest integer that a CloudEvents attribute may have.
pub const MAX_JOURNAL_NUMBER: u32 = i32::MAX.unsigned_abs();
/// The largest count that is read: the largest integer that every JSON reader keeps exactly.
pub const MAX_COUNT: u64 = MAX_JSON_INTEGER;
/// The digits of `sequence` and `previous`, so that texts compare as their numbers do.
pub const SEQUENCE_DIGITS: usize = 16;

/// The numbers of a kind and a target type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Of the kind.
    pub kind: u16,
    /// Of the target type.
    pub target_type: u16,
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.target_type)
    }
}

impl Numbers {
    /// Reads `<kind>.<target type>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, target_type) = text.split_once('.')?;
        let numbers = Self {
            kind: kind.parse().ok()?,
            target_type: target_type.parse().ok()?,
        };
        (numbers.to_string() == text).then_some(numbers)
    }
}

/// A transition with the state after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which store decided it: 1–64 bytes of the grammar of ids. Events of two stores may share a
    /// topic and their ids are apart by this.
    pub store: CompactString,
    /// Where it stands in the journal. With the store it is the event's identity.
    pub place: Place,
    /// The place of the event before it in the same partition's journal; `None` where that is not
    /// known. Another one than the last that a consumer saw means that it missed some.
    pub previous: Option<Rev>,
    /// The epoch of the journal, at most [`MAX_JOURNAL_NUMBER`].
    pub epoch: u32,
    /// The life of the journal inside its epoch, at most [`MAX_JOURNAL_NUMBER`].
    pub life: u32,
    /// In which turn of its partition it was published, at most [`MAX_JOURNAL_NUMBER`]. For whoever
    /// records it: events of a turn that a [`Barrier`] closed come too late. `None` where the
    /// publisher keeps no turns.
    pub turn: Option<u32>,
    /// The numbers that the ledger has for kind and target type, for whoever rebuilds one: what
    /// Redis keeps is named by them. `None` where the publisher has none.
    pub numbers: Option<Numbers>,
    /// The kind's name.
    pub kind: CompactString,
    /// Who acted.
    pub user: Id,
    /// On what.
    pub target: Target,
    /// Whether the edge is active now.
    pub active: bool,
    /// The edge's rev now. Differs from the place's seq for imports only.
    pub rev: Rev,
    /// The target's count under this kind after it, at most [`MAX_COUNT`].
    pub count: u64,
    /// Where the write came from. One that says nothing is written as none.
    pub origin: Option<Origin>,
}

#[cfg(test)]
mod tests;
