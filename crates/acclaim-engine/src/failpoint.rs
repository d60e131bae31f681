//! The places of this engine at which tests let the process die.

pub use acclaim_failpoint::hit;

/// Before the log is written.
pub const COMMIT_BEFORE_WRITE: &str = "commit.before-write";
/// After the log is written, before it is made durable.
pub const COMMIT_BEFORE_SYNC: &str = "commit.before-sync";
/// After it is durable, before anybody is answered.
pub const COMMIT_BEFORE_ANSWER: &str = "commit.before-answer";
/// After a checkpoint's records are sorted, before the store takes them.
pub const CHECKPOINT_BEFORE_INGEST: &str = "checkpoint.before-ingest";
/// After the store took a checkpoint, before the log is trimmed.
pub const CHECKPOINT_AFTER_INGEST: &str = "checkpoint.after-ingest";
/// After the records of a bulk load are written, before the store takes them.
pub const BULK_BEFORE_INGEST: &str = "bulk.before-ingest";
/// After the store took a bulk load.
pub const BULK_AFTER_INGEST: &str = "bulk.after-ingest";
/// After each step of a job.
pub const JOB_STEP: &str = "job.step";
/// After the text of an import job is durable, before the job is written down.
pub const IMPORT_SPOOLED: &str = "import.spooled";
/// After an import job is done, before its text is removed.
pub const IMPORT_BEFORE_REMOVAL: &str = "import.before-removal";
