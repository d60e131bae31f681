//! What failures of the two servers mean at the port.

use std::fmt::Display;
use std::time::Duration;

use acclaim_core::{ReadError, WriteError};

/// When to try again while a server is away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A read that could not be answered.
pub fn read_error(error: impl Display) -> ReadError {
    ReadError::Store(error.to_string())
}

/// A write of which nothing was decided.
pub fn unavailable(error: &dyn Display) -> WriteError {
    tracing::warn!(%error, "a write was not decided");
    WriteError::Unavailable {
        reason: "a server behind this one does not answer".to_owned(),
        retry_after: RETRY_AFTER,
    }
}

/// A write of which something may have been decided.
pub fn unknown(error: &dyn Display) -> WriteError {
    tracing::warn!(%error, "the outcome of a write is not known");
    WriteError::Unknown {
        reason: "a server behind this one did not answer".to_owned(),
    }
}
