//! Imports that go on by themselves: their text is kept first and worked off later, as a job.

use async_trait::async_trait;

use super::JobId;
use crate::error::JobError;
use crate::transfer::{Defaults, Format};

/// What the text of an import job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportSpec {
    /// How edges are written down in it.
    pub format: Format,
    /// What its lines have that do not say so.
    pub defaults: Defaults,
}

/// Where the text of an import is kept until its job has read it. Dropped before it was started,
/// it leaves nothing behind.
#[async_trait]
pub trait Spool: Send {
    /// Adds a piece of the text, cut anywhere.
    ///
    /// # Errors
    /// [`JobError`]; then the spool is of no more use.
    async fn write(&mut self, piece: &[u8]) -> Result<(), JobError>;

    /// Makes the text durable and queues the job that reads it. The job ends like any other; its
    /// summary is that of a streamed import of the same text.
    ///
    /// # Errors
    /// [`JobError`]; then nothing is left of the text.
    async fn start(self: Box<Self>) -> Result<JobId, JobError>;
}
