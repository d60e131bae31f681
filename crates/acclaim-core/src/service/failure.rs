//! What the service refuses, and what it passes on from the engine: one enum an operation.

use compact_str::CompactString;

use crate::cursor::BadCursor;
use crate::error::{JobError, JournalError, ReadError, WriteError};
use crate::kind::NotAllowed;
use crate::limits;
use crate::notify::desk::DeskFailure;

/// A kind that is not configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a kind of this server; it has {known}")]
pub struct UnknownKind {
    /// The name given.
    pub given: CompactString,
    /// The names there are, joined by commas.
    pub known: String,
}

/// A number outside its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} has {given}; it takes {least} to {most}")]
pub struct OutOfRange {
    /// Which parameter or list.
    pub name: &'static str,
    /// Its value or length.
    pub given: u64,
    /// The least allowed.
    pub least: u64,
    /// The most allowed.
    pub most: u64,
}

impl OutOfRange {
    pub(super) fn check(
        name: &'static str,
        given: u64,
        least: u64,
        most: u64,
    ) -> Result<u64, Self> {
        if (least..=most).contains(&given) {
            return Ok(given);
        }
        Err(Self {
            name,
            given,
            least,
            most,
        })
    }

    pub(super) fn check_length(
        name: &'static str,
        length: usize,
        most: usize,
    ) -> Result<u64, Self> {
        Self::check(name, length as u64, 1, most as u64)
    }
}

/// A page beyond what `page` reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "page {page} of {size} entries begins at entry {}, and page reaches the first {} only; go on with cursor",
    page.saturating_mul(*size),
    limits::MAX_OFFSET_ENTRIES
)]
pub struct PageTooDeep {
    /// The page asked for, from 0.
    pub page: u64,
    /// Its size.
    pub size: u64,
}

/// An idempotency key outside its grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an Idempotency-Key is 1 to {} printable ASCII characters",
    limits::MAX_IDEMPOTENCY_KEY_BYTES
)]
pub struct BadIdempotencyKey;

/// Why a write was refused or not decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteFailure {
    /// The kind does not allow the edge.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// An empty batch or one over its limit.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// The engine did not decide it.
    #[error(transparent)]
    Engine(#[from] WriteError),
}

/// Why a read was refused or not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFailure {
    /// The kind does not take the target.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// A number or a list outside its limits.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A page beyond the first thousand entries.
    #[error(transparent)]
    PageTooDeep(#[from] PageTooDeep),
    /// Both a page and a cursor.
    #[error("page and cursor exclude each other; send one of them")]
    PageAndCursor,
    /// A cursor that is not one of this list.
    #[error(transparent)]
    BadCursor(#[from] BadCursor),
    /// The engine could not read.
    #[error(transparent)]
    Engine(#[from] ReadError),
}

/// Why an administrative call was refused or not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminFailure {
    /// The kind does not take the target.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// A number outside its limits.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// There is no such job.
    #[error("there is no job {0}")]
    UnknownJob(u64),
    /// There is no such dead letter.
    #[error("there is no dead letter {0}; it may have been sent again already")]
    UnknownDeadLetter(u64),
    /// The audit log could not be written, so nothing was begun.
    #[error("the audit log could not be written, so nothing was begun: {0}")]
    Audit(WriteError),
    /// The engine could not do it.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The engine could not read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Any failure of the service, for whoever maps them all in one place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No such kind.
    #[error(transparent)]
    Kind(#[from] UnknownKind),
    /// An idempotency key outside its grammar.
    #[error(transparent)]
    IdempotencyKey(#[from] BadIdempotencyKey),
    /// Of a write.
    #[error(transparent)]
    Write(#[from] WriteFailure),
    /// Of a read.
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// Of an administrative call.
    #[error(transparent)]
    Admin(#[from] AdminFailure),
    /// Of the journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Of notifications and webhooks.
    #[error(transparent)]
    Notify(#[from] NotifyFailure),
}

/// Why a call about notifications or webhooks was refused or not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotifyFailure {
    /// A number outside its limits.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// Everything else.
    #[error(transparent)]
    Desk(#[from] DeskFailure),
    /// The audit log could not be written, so nothing was begun.
    #[error("the audit log could not be written, so nothing was begun: {0}")]
    Audit(WriteError),
}
