//! Why a bulk load did not happen.

use std::io;

use acclaim_core::ReadError;
use acclaim_core::limits::MAX_TARGET_TYPES;

use super::super::base;
use super::super::codec::Damaged;
use super::super::log::is_full;

/// Why a bulk load did not happen. After any of them the store is as empty as before.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    /// There is no room.
    #[error("the disk is full; make room and run it again")]
    Full,
    /// Somebody asked it to stop.
    #[error("interrupted")]
    Interrupted,
    /// An op that is no set. Nothing else can be loaded into an empty store.
    #[error("only sets can be loaded")]
    NotASet,
    /// The store knows as many target types as it can.
    #[error("target type {given} is one more than the {MAX_TARGET_TYPES} that a store can have")]
    TooManyTargetTypes {
        /// The type that is one too many.
        given: String,
    },
    /// A file that sorts could not be made, written or read.
    #[error("sorting failed: {0}")]
    Sort(io::Error),
    /// The tables could not be written.
    #[error("the tables could not be written: {0}")]
    Store(fjall::Error),
    /// What was sorted does not read as it was written.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The thread that writes the tables is gone; it has the reason.
    #[error("the tables are not written any more")]
    WriterGone,
}

impl From<io::Error> for BulkError {
    fn from(error: io::Error) -> Self {
        match is_full(&error) {
            true => Self::Full,
            false => Self::Sort(error),
        }
    }
}

impl From<fjall::Error> for BulkError {
    fn from(error: fjall::Error) -> Self {
        match base::is_full(&error) {
            true => Self::Full,
            false => Self::Store(error),
        }
    }
}

impl From<Damaged> for BulkError {
    fn from(damaged: Damaged) -> Self {
        Self::Read(damaged.into())
    }
}
