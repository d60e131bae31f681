//! What failures of the two servers mean at the port.

use std::fmt::Display;
use std::time::Duration;

use acclaim_core::{JournalError, ReadError, WriteError};

use super::cold::LoadFailure;
use crate::ledger::LedgerError;
use crate::redis::error::RedisError;
use crate::redis::load::LoadError;
use crate::worker::dead_letters::RetryError;

/// When to try again while a server is away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What went wrong, and whether only because a server is away.
pub trait Trouble: Display {
    /// Whether the same may succeed when all servers answer again.
    fn is_away(&self) -> bool;
}

impl Trouble for RedisError {
    fn is_away(&self) -> bool {
        !matches!(
            self,
            Self::Url(_) | Self::Reply { .. } | Self::Server { .. }
        )
    }
}

impl Trouble for LedgerError {
    fn is_away(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Contended { .. })
    }
}

impl Trouble for LoadFailure {
    fn is_away(&self) -> bool {
        match self {
            Self::Server(LoadError::Redis(error)) => error.is_away(),
            Self::Server(LoadError::Source(_)) | Self::Busy(_) => true,
            Self::Died => false,
        }
    }
}

impl Trouble for LoadError {
    fn is_away(&self) -> bool {
        match self {
            Self::Redis(error) => error.is_away(),
            Self::Source(_) => true,
        }
    }
}

impl Trouble for RetryError {
    fn is_away(&self) -> bool {
        match self {
            Self::Redis(error) => error.is_away(),
            Self::Ledger(error) => error.is_away(),
            Self::Behind(_) => true,
        }
    }
}

impl Trouble for String {
    fn is_away(&self) -> bool {
        false
    }
}

impl Trouble for &str {
    fn is_away(&self) -> bool {
        false
    }
}

const AWAY: &str = "a server behind this one does not answer";

/// A read that could not be answered.
pub fn read_error(error: impl Trouble) -> ReadError {
    if error.is_away() {
        tracing::warn!(%error, "a read was not answered");
        return ReadError::Unavailable {
            reason: AWAY.to_owned(),
            retry_after: RETRY_AFTER,
        };
    }
    ReadError::Store(error.to_string())
}

/// A journal that could not be read.
pub fn journal_error(error: impl Trouble) -> JournalError {
    if error.is_away() {
        tracing::warn!(%error, "the journal was not read");
        return JournalError::Unavailable {
            reason: AWAY.to_owned(),
            retry_after: RETRY_AFTER,
        };
    }
    JournalError::Store(error.to_string())
}

/// A write of which nothing was decided.
pub fn unavailable(error: &dyn Display) -> WriteError {
    tracing::warn!(%error, "a write was not decided");
    WriteError::Unavailable {
        reason: AWAY.to_owned(),
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
