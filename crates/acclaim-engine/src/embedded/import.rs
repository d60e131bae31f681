//! Taking the text of an import job: the port's spool, answered by the embedded engine.

use acclaim_core::JobError;
use acclaim_core::port::{ImportSpec, JobId, Spool};
use async_trait::async_trait;

use super::EmbeddedEngine;
use super::jobs::{JobQueue, What};
use super::spool::SpoolFile;
use crate::failpoint;

/// A text that is being taken.
struct Taken {
    queue: JobQueue,
    file: SpoolFile,
    spec: ImportSpec,
}

impl EmbeddedEngine {
    pub(super) async fn take_import(&self, spec: ImportSpec) -> Result<Box<dyn Spool>, JobError> {
        let queue = self.jobs.clone();
        // Counted from here on, so that of two who come at once one is refused.
        let file = SpoolFile::begin(&self.shared.spools).await?;
        queue.require_room(1).await?;
        Ok(Box::new(Taken { queue, file, spec }))
    }
}

#[async_trait]
impl Spool for Taken {
    async fn write(&mut self, piece: &[u8]) -> Result<(), JobError> {
        self.file.write(piece).await
    }

    async fn start(self: Box<Self>) -> Result<JobId, JobError> {
        // A task of its own: once the job may be written down, its text must not go because a
        // caller does.
        let started = tokio::spawn(self.queue_job()).await;
        started.unwrap_or_else(|died| Err(JobError::Spool(died.to_string())))
    }
}

impl Taken {
    async fn queue_job(self: Box<Self>) -> Result<JobId, JobError> {
        let Self {
            queue,
            mut file,
            spec,
        } = *self;
        file.sync().await?;
        failpoint::hit(failpoint::IMPORT_SPOOLED);
        let what = What::import(file.name().to_owned(), &spec, queue.kinds());
        let id = queue.write_down(what, file.bytes()).await?;
        file.keep();
        queue.run(id);
        Ok(id)
    }
}
