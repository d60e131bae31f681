//! What can go wrong between us and a broker, and what its codes mean.

use crate::error::{OpenError, TopicAt};
use crate::limits::Limits;
use crate::persist::{Passing, opening};

pub const SUCCESS: i32 = 0;
const SYSTEM_ERROR: i32 = 1;
const SYSTEM_BUSY: i32 = 2;
const SERVICE_NOT_AVAILABLE: i32 = 14;
const NO_PERMISSION: i32 = 16;
pub const TOPIC_NOT_EXIST: i32 = 17;
pub const PULL_NOT_FOUND: i32 = 19;
pub const PULL_AGAIN: i32 = 20;
pub const PULL_MOVED: i32 = 21;
pub const QUERY_NOT_FOUND: i32 = 22;
pub const GROUP_NOT_EXIST: i32 = 26;

/// Why a request was not answered as it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no connection, or it broke.
    #[error("{0}")]
    Broken(String),
    /// Nothing came in time.
    #[error("no answer")]
    Silent,
    /// The other side is not trusted, before anything was said.
    #[error("{0}")]
    Distrust(String),
    /// It said what cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It refused.
    #[error("code {code}: {remark}")]
    Refused {
        /// Why.
        code: i32,
        /// In its words.
        remark: String,
    },
}

impl Passing for Failure {
    fn may_pass(&self) -> bool {
        match self {
            Self::Broken(_) | Self::Silent => true,
            Self::Distrust(_) | Self::Unreadable(_) => false,
            Self::Refused { code, .. } => {
                matches!(*code, SYSTEM_ERROR | SYSTEM_BUSY | SERVICE_NOT_AVAILABLE)
            }
        }
    }
}

impl Failure {
    /// Whether it is about who we are, or who the other side is.
    pub fn is_about_us(&self) -> bool {
        match self {
            Self::Distrust(_) => true,
            Self::Refused { code, .. } => *code == NO_PERMISSION,
            _ => false,
        }
    }

    /// As the end of an attempt to open.
    pub fn opening(&self, at: &TopicAt, limits: &Limits) -> OpenError {
        opening(self, self.is_about_us(), at, limits)
    }
}
