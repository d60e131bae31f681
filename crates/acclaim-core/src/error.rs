//! What can go wrong behind the port: one enum an operation. The HTTP layer maps them to problems
//! in one place.

use std::time::Duration;

use crate::port::Place;

/// Why a write was not decided, or why its outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The queue before the engine is full; nothing was decided.
    #[error("{queued} writes are waiting, which is the limit ({limit}); try again in a moment")]
    Overloaded {
        /// Operations waiting.
        queued: usize,
        /// The limit, `engine.queue_max_ops`.
        limit: usize,
    },
    /// The engine cannot write now; nothing was decided.
    #[error("writes are not possible now: {reason}")]
    Unavailable {
        /// Why, for the caller's eyes.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// Whether it was decided, wholly, in part or not at all, is not known. Nothing is promised.
    #[error(
        "the outcome of this write is unknown: {reason}; a repeat with the same Idempotency-Key \
         is safe"
    )]
    Unknown {
        /// What happened, for the caller's eyes.
        reason: String,
    },
    /// The same idempotency key came before with another body.
    #[error("this Idempotency-Key was used before with a different body")]
    IdempotencyMismatch,
    /// The first write under this idempotency key is not answered yet.
    #[error("the first request with this Idempotency-Key is still under way")]
    IdempotencyInFlight,
    /// The store has as many target types as it can.
    #[error("the store knows {limit} target types, which is the limit; {given} would be a new one")]
    TooManyTargetTypes {
        /// [`crate::limits::MAX_TARGET_TYPES`].
        limit: usize,
        /// The new type.
        given: String,
    },
    /// The server is stopping; nothing was decided.
    #[error("the server is stopping")]
    Stopping,
    /// The engine cannot give the acknowledgement asked for; nothing was decided.
    #[error("the acknowledgement {asked:?} is not possible here: {reason}")]
    AckNotPossible {
        /// What was asked for, as the API names it.
        asked: &'static str,
        /// Why not.
        reason: &'static str,
    },
}

/// Why a read could not be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The store could not be read. The text is for the log, not for the caller.
    #[error("the store could not be read: {0}")]
    Store(String),
    /// What the engine reads from does not answer now.
    #[error("reads are not possible now: {reason}")]
    Unavailable {
        /// Why, for the caller's eyes.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
}

/// Why the journal could not be read from a position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The position is older than what is kept.
    #[error("event {asked} is no longer kept; the oldest kept is after {oldest}")]
    Trimmed {
        /// The position asked for.
        asked: Place,
        /// The oldest position that can be resumed from.
        oldest: Place,
    },
    /// The journal could not be read. The text is for the log.
    #[error("the journal could not be read: {0}")]
    Store(String),
    /// What the engine reads the journal from does not answer now.
    #[error("the journal cannot be read now: {reason}")]
    Unavailable {
        /// Why, for the caller's eyes.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
}

/// Why a job could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// As many jobs wait as may.
    #[error("{queued} jobs are waiting, which is the limit; try again when one is done")]
    TooMany {
        /// Jobs waiting.
        queued: usize,
    },
    /// The text of an import is longer than all such texts together may be.
    #[error(
        "an import that runs as a job has at most {limit} bytes of text, unpacked; cut it into \
         several, or stream it instead"
    )]
    TooLarge {
        /// The limit, `spool_max_bytes` of the engine.
        limit: u64,
    },
    /// The texts of other imports take the room.
    #[error(
        "the texts of imports that wait take {held} of {limit} bytes; try again when one is done"
    )]
    SpoolsFull {
        /// Bytes of all texts.
        held: u64,
        /// The limit, `spool_max_bytes` of the engine.
        limit: u64,
    },
    /// The text of an import could not be kept. The reason is for the log.
    #[error("the text of an import could not be kept: {0}")]
    Spool(String),
    /// The job could not be written down.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
