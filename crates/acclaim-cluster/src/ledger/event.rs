//! What a worker hands over: a stretch of one partition's journal.

use acclaim_core::{Id, Rev};
use bytes::Bytes;

use super::apply::Applied;
use super::codec::IdKey;
use super::dictionary::{KindNo, TypeNo};

/// A transition with the state after it, in the ledger's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEvent {
    /// The relation.
    pub kind: KindNo,
    /// The target's class.
    pub target_type: TypeNo,
    /// The target's id inside its class.
    pub target: Id,
    /// Who acted.
    pub user: Id,
    /// Whether the edge is active now.
    pub active: bool,
    /// The edge's rev now.
    pub rev: Rev,
    /// The target's count after it.
    pub count: u64,
}

/// An entry of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the journal.
    pub seq: Rev,
    /// What it says, or why it cannot be read.
    pub event: Result<LedgerEvent, String>,
    /// As it stood in the journal, for the dead letters.
    pub payload: Bytes,
}

/// A stretch of a partition's journal, at most [`super::MAX_BATCH_EVENTS`] entries, to be applied
/// together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Whose journal.
    pub partition: u16,
    /// Of which epoch. An older one than the ledger's is applied by rev guard alone.
    pub epoch: u32,
    /// The fence of the caller's lease.
    pub fence: u64,
    /// The entries, in the order of the journal.
    pub entries: Vec<Entry>,
}

/// A stretch of a partition's journal that came over the bus. Whoever brings it holds no lease:
/// what it may do follows from what the events say of themselves ([`super::carry`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The events, in the order in which they came. Its fence is not looked at.
    pub batch: Batch,
    /// In which turn of the partition's seat they were read from the journal.
    pub turn: u64,
    /// For each entry the place of the one before it in the journal, where the journal still had
    /// it; otherwise the ledger had everything before it when it was read.
    pub previous: Vec<Option<Rev>>,
}

/// What became of a stretch that came over the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// As of any batch.
    pub applied: Applied,
    /// It was published in a turn that is closed: nothing of it was applied.
    pub is_late: bool,
    /// Something before one of its events never came: the partition is not applied beyond.
    pub has_gap: bool,
}

/// The primary key of an edge, ordered as the server orders it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EdgeRow {
    pub kind: KindNo,
    pub target_type: TypeNo,
    pub target: IdKey,
    pub user_hash: u32,
    pub user: IdKey,
}

impl EdgeRow {
    pub fn new(kind: KindNo, target_type: TypeNo, target: IdKey, user: IdKey) -> Self {
        Self {
            kind,
            target_type,
            target,
            user_hash: user.user_hash(),
            user,
        }
    }

    pub fn target_row(&self) -> TargetRow {
        TargetRow {
            kind: self.kind,
            target_type: self.target_type,
            target: self.target.clone(),
        }
    }

    /// The edge from the target, a user, back to the user.
    pub fn back(&self) -> Self {
        Self::new(
            self.kind,
            self.target_type,
            self.user.clone(),
            self.target.clone(),
        )
    }
}

/// The primary key of a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TargetRow {
    pub kind: KindNo,
    pub target_type: TypeNo,
    pub target: IdKey,
}

/// The primary key of a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct UserRow {
    pub kind: KindNo,
    pub user: IdKey,
}
