//! What can go wrong between us and a broker, and what it means.

use pulsar::message::proto::ServerError;

use crate::error::{OpenError, TopicAt};
use crate::limits::Limits;
use crate::persist::{Passing, opening};

/// Why a request was not answered as it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no connection, or it broke.
    #[error("{0}")]
    Broken(String),
    /// Nothing came in time.
    #[error("no answer")]
    Silent,
    /// The other side is not trusted, or does not trust us, before anything was said.
    #[error("{0}")]
    Distrust(String),
    /// The broker refused.
    #[error("{code:?}: {message}")]
    Refused {
        /// Why.
        code: ServerError,
        /// In its words.
        message: String,
    },
}

impl Failure {
    /// Whether it says that we or they are not trusted.
    pub fn is_distrust(&self) -> bool {
        matches!(
            self,
            Self::Distrust(_)
                | Self::Refused {
                    code: ServerError::AuthenticationError | ServerError::AuthorizationError,
                    ..
                }
        )
    }

    /// As the end of an attempt to open.
    pub fn opening(&self, at: &TopicAt, limits: &Limits) -> OpenError {
        opening(self, self.is_distrust(), at, limits)
    }
}

impl Passing for Failure {
    fn may_pass(&self) -> bool {
        match self {
            Self::Broken(_) | Self::Silent => true,
            Self::Distrust(_) => false,
            Self::Refused { code, .. } => matches!(
                code,
                ServerError::UnknownError
                    | ServerError::MetadataError
                    | ServerError::PersistenceError
                    | ServerError::ConsumerBusy
                    | ServerError::ServiceNotReady
                    | ServerError::ProducerBlockedQuotaExceededError
                    | ServerError::ProducerBlockedQuotaExceededException
                    | ServerError::TooManyRequests
                    | ServerError::ProducerBusy
                    | ServerError::ConsumerAssignError
                    | ServerError::ConsumerNotFound
            ),
        }
    }
}
