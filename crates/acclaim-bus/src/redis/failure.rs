//! What can go wrong between us and the server, and what it means.

use redis::{ErrorKind, RedisError};

use crate::error::{OpenError, TopicAt};
use crate::limits::Limits;
use crate::persist::{Passing, opening};

/// Why a call was not answered as it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no connection.
    #[error("{0}")]
    Away(String),
    /// The connection broke under a call, which may have been carried out.
    #[error("{0}")]
    Broken(String),
    /// Nothing came in time.
    #[error("no answer")]
    Silent,
    /// The server does not trust us, or we do not trust it.
    #[error("{0}")]
    Distrust(String),
    /// The server does not take it now, and did nothing.
    #[error("{0}")]
    NotNow(String),
    /// The server is a replica now, and did nothing.
    #[error("{0}")]
    NotMaster(String),
    /// The server refuses for good.
    #[error("{0}")]
    Refused(String),
}

/// Errors of a server that starts, is full, or must not go on alone.
const NOT_NOW: [&str; 5] = ["LOADING", "OOM", "NOREPLICAS", "BUSY", "MISCONF"];
/// Errors of a server that became a replica.
const NOT_MASTER: [&str; 2] = ["READONLY", "MASTERDOWN"];
/// Errors of a server that does not know us, or does not let us.
const DISTRUST: [&str; 3] = ["NOAUTH", "WRONGPASS", "NOPERM"];

impl Failure {
    /// Of a call on a connection that there was.
    pub fn of_call(error: &RedisError) -> Self {
        let text = error.to_string();
        if error.is_timeout() {
            return Self::Silent;
        }
        match error.code() {
            Some(code) if DISTRUST.contains(&code) => Self::Distrust(text),
            Some(code) if NOT_NOW.contains(&code) => Self::NotNow(text),
            Some(code) if NOT_MASTER.contains(&code) => Self::NotMaster(text),
            Some(_) => Self::Refused(text),
            None if error.is_io_error() || error.is_connection_dropped() => Self::Broken(text),
            None => Self::Refused(text),
        }
    }

    /// Of an attempt to connect.
    pub fn of_connecting(error: &RedisError) -> Self {
        let text = error.to_string();
        let is_certificate = text.contains("certificate") || text.contains("Certificate");
        match Self::of_call(error) {
            _ if error.kind() == ErrorKind::AuthenticationFailed => Self::Distrust(text),
            Self::Broken(_) if is_certificate => Self::Distrust(text),
            Self::Broken(text) => Self::Away(text),
            Self::Silent => Self::Away("no answer".to_owned()),
            failure => failure,
        }
    }

    /// Whether a new connection may do better.
    pub fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::Broken(_) | Self::Silent | Self::Distrust(_) | Self::NotMaster(_)
        )
    }

    /// Whether it is known that nothing was carried out.
    pub fn did_nothing(&self) -> bool {
        matches!(self, Self::Away(_) | Self::NotNow(_) | Self::NotMaster(_))
    }

    /// As the end of an attempt to open.
    pub fn opening(&self, at: &TopicAt, limits: &Limits) -> OpenError {
        opening(self, matches!(self, Self::Distrust(_)), at, limits)
    }
}

impl Passing for Failure {
    fn may_pass(&self) -> bool {
        !matches!(self, Self::Distrust(_) | Self::Refused(_))
    }
}
