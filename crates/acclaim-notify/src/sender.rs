//! Sending one message to one endpoint: what the deliverer asks for, whoever does it.

use std::time::Duration;

use async_trait::async_trait;

/// A signed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub url: String,
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`, in seconds since the epoch.
    pub seconds: u64,
    /// `webhook-signature`.
    pub signature: String,
    /// The body, JSON.
    pub body: String,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken, with this status.
    Taken(u16),
    /// The endpoint says that it is gone for good (410).
    Gone,
    /// It was not taken.
    Failed {
        /// The status, where one was answered.
        status: Option<u16>,
        /// What was wrong.
        error: String,
        /// When the endpoint wants to be tried again.
        retry_after: Option<Duration>,
    },
}

impl Outcome {
    /// A failure without an answer.
    #[must_use]
    pub fn failed(error: impl Into<String>) -> Self {
        Self::Failed {
            status: None,
            error: error.into(),
            retry_after: None,
        }
    }
}

/// Sends messages.
#[async_trait]
pub trait Sender: Send + Sync + 'static {
    /// Sends one, once. Ends within a time that it knows.
    async fn send(&self, message: Message) -> Outcome;
}
