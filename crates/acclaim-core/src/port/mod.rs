//! The port: what the service asks of an engine, in batches.
//!
//! One conformance suite runs against every implementation. An engine decides transitions and
//! answers reads; it does not know HTTP, and it trusts its callers to have checked ids, kinds and
//! limits (the service does).

mod admin;
mod import;
mod journal;
mod place;
mod read;
mod write;

pub use admin::{
    Admin, AuditEntry, CheckReport, DeadLetter, DeadLetterId, ExportedEdge, Finding, Invariant,
    Job, JobId, JobSpec, JobState, Recovered, Resent,
};
pub use import::{ImportSpec, Spool};
pub use journal::{Event, Journal};
pub use place::{BadPlace, Place};
pub use read::{Count, Daily, Known, Listing, Ranked, Reads, Relationship, Status, UserNumbers};
pub use write::{Ack, Applied, Fingerprint, Idempotency, Write, Writes};

use crate::cursor::CursorKey;
use crate::kind::Kinds;
use crate::notify::Notes;
use crate::rev::Rev;

/// Where an engine takes the time from. Tests pass one that they set by hand.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since the epoch. May go back; revs never do.
    fn now(&self) -> Rev;
}

/// An engine: decides transitions, answers reads, keeps the journal and mends itself.
pub trait Engine: Writes + Reads + Journal + Admin {
    /// Its name in configuration and in `/ready`.
    fn name(&self) -> &'static str;

    /// The kinds it was opened with.
    fn kinds(&self) -> &Kinds;

    /// The key that this store's cursors are signed with.
    fn cursor_key(&self) -> &CursorKey;

    /// How it stands.
    fn health(&self) -> Health;

    /// Where it keeps notifications; `None` where it has none.
    fn notes(&self) -> Option<&dyn Notes> {
        None
    }
}

/// How an engine stands, for `/ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it takes reads and writes.
    pub ready: bool,
    /// What an acknowledgement survives, in words.
    pub guarantee: String,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
    /// Events acknowledged and not yet in the ledger. 0 on the embedded engine.
    pub backlog_events: u64,
    /// The age of the oldest of them, in milliseconds.
    pub backlog_millis: u64,
}

/// Something an engine depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its name, `data-directory`.
    pub name: &'static str,
    /// Whether it can be used.
    pub up: bool,
    /// How long it took to answer last time, in microseconds.
    pub latency_micros: u64,
    /// What is wrong, where something is.
    pub detail: Option<String>,
}
