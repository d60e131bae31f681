//! What can go wrong in a call to Redis, and whether anything may have happened.

use std::time::Duration;

use super::address::RedisUrlError;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisError {
    /// The URL cannot be used.
    #[error(transparent)]
    Url(#[from] RedisUrlError),
    /// No answer in time. The call may have been carried out.
    #[error("{address} did not answer within {} ms; the outcome is unknown", waited.as_millis())]
    Timeout {
        /// The server asked.
        address: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The connection broke after the call was sent. The call may have been carried out.
    #[error("the connection to {address} broke ({reason}); the outcome is unknown")]
    Lost {
        /// The server asked.
        address: String,
        /// What the connection said.
        reason: String,
    },
    /// The call was not sent, or was refused before anything was done.
    #[error("{address} cannot be used now: {reason}")]
    Unavailable {
        /// The server asked, or all that were tried.
        address: String,
        /// Why.
        reason: String,
    },
    /// Redis is at its memory limit and cannot evict enough; nothing was done.
    #[error("{address} is out of memory; raise maxmemory, or see whether the worker keeps up")]
    OutOfMemory {
        /// The server asked.
        address: String,
    },
    /// The server failed in the middle of the call, or refused it for a reason of its own.
    #[error("{address} refused the call: {reason}")]
    Server {
        /// The server asked.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The server answered what this program does not understand.
    #[error("{script} answered {reply}")]
    Reply {
        /// The script called.
        script: &'static str,
        /// What it said.
        reply: String,
    },
}

impl RedisError {
    /// Whether it is certain that the call changed nothing.
    #[must_use]
    pub fn nothing_done(&self) -> bool {
        matches!(
            self,
            Self::Url(_) | Self::Unavailable { .. } | Self::OutOfMemory { .. }
        )
    }
}
