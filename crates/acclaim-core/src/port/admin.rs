//! Looking after an engine through the port.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::import::{ImportSpec, Spool};
use crate::edge::EdgeKey;
use crate::error::{JobError, ReadError, WriteError};
use crate::id::Id;
use crate::kind::KindId;
use crate::rev::Rev;
use crate::target::{Target, TargetKey};
use crate::transfer::Summary;

/// An active edge, as exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedEdge {
    /// The edge.
    pub edge: EdgeKey,
    /// Since when.
    pub at: Rev,
}

/// What a recovery found and left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The count before.
    pub count_before: u64,
    /// The count after.
    pub count_after: u64,
    /// Active edges of the target.
    pub edges: u64,
}

/// The id of a job.
pub type JobId = u64;

/// Work that goes on by itself, also after a crash. An import is such work too, but begins with a
/// [`Spool`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobSpec {
    /// Remove every edge of a user: those they made and those whose target they are.
    EraseUser(Id),
    /// Remove every edge of a target.
    EraseTarget(Target),
    /// Rebuild what is derived from the edges, for every target of a kind.
    Recover(KindId),
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for its turn.
    Queued,
    /// Under way.
    Running,
    /// Ended well.
    Done,
    /// Ended with an error.
    Failed,
}

/// A job, for `/jobs/{id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it does, in words: `erase user 42`.
    pub job: String,
    /// Where it stands.
    pub state: JobState,
    /// Edges dealt with; of an import, bytes of its text.
    pub done: u64,
    /// Edges to deal with, as far as known; of an import, bytes of its text.
    pub total: u64,
    /// Why it failed.
    pub error: Option<String>,
    /// Of an import, what became of the lines so far.
    pub import: Option<Summary>,
}

/// What must always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invariant {
    /// A target's count equals its active edges.
    TargetCount,
    /// A user's count equals their active edges.
    UserCount,
    /// Every active edge is in its target's list once, and nothing else is.
    TargetList,
    /// Every active edge of an indexed user is in the user's list once, and nothing else is.
    UserList,
    /// A user's mutual count equals the pairs that are there.
    MutualCount,
    /// Two kinds that exclude each other are not active on one target.
    Exclusion,
    /// A stored record can be read.
    Record,
}

/// A place where an invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Which one.
    pub invariant: Invariant,
    /// Of what: `likes POST:123`.
    pub subject: String,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub found: String,
    /// Whether it was mended.
    pub repaired: bool,
}

/// The outcome of checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Records compared.
    pub checked: u64,
    /// Of those, wrong.
    pub mismatches: u64,
    /// Of those, mended.
    pub repaired: u64,
    /// The first of the findings.
    pub findings: Vec<Finding>,
}

/// Something done to the store other than by its users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Rev,
    /// What: `erase`, `recover`, `check`, `backup`.
    pub action: String,
    /// In words.
    pub detail: String,
}

/// The number of a dead letter.
pub type DeadLetterId = u64;

/// A transition that was decided and could not be recorded, with the reason, so that somebody looks
/// at it. Engines that record as they decide have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number.
    pub id: DeadLetterId,
    /// The partition of its journal.
    pub partition: u16,
    /// Its place in its journal.
    pub seq: Rev,
    /// When it was put away.
    pub at: Rev,
    /// Why it was refused last.
    pub reason: String,
    /// As it stood in the journal; what is no text in it is replaced.
    pub event: String,
}

/// What became of a dead letter that was sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resent {
    /// It is recorded, or a newer transition of its edge is. It is no letter any more.
    Applied,
    /// It is refused still, for this reason. It stays.
    Refused(String),
}

/// The administrative half of an engine.
#[async_trait]
pub trait Admin: Send + Sync + 'static {
    /// Up to `max_edges` active edges of a kind after `after`, in the engine's own order.
    async fn export(
        &self,
        kind: KindId,
        after: Option<EdgeKey>,
        max_edges: usize,
    ) -> Result<Vec<ExportedEdge>, ReadError>;

    /// Rebuilds what is derived about one target from its edges.
    async fn recover(&self, target: TargetKey) -> Result<Recovered, JobError>;

    /// Queues a job.
    async fn start_job(&self, spec: JobSpec) -> Result<JobId, JobError>;

    /// Begins to take the text of an import that will run as a job.
    ///
    /// # Errors
    /// [`JobError::TooMany`] also counts texts that are being taken.
    async fn begin_import(&self, spec: ImportSpec) -> Result<Box<dyn Spool + '_>, JobError>;

    /// A job, if it is known.
    async fn job(&self, id: JobId) -> Result<Option<Job>, ReadError>;

    /// Compares everything derived with the edges; mends it if asked to.
    async fn check(&self, repair: bool) -> Result<CheckReport, JobError>;

    /// The sum of the checks of the last hours.
    async fn check_reports(&self, hours: u32) -> Result<CheckReport, ReadError>;

    /// Writes an entry into the audit log.
    async fn write_audit(&self, action: &str, detail: &str) -> Result<(), WriteError>;

    /// The audit log of the last hours, newest first.
    async fn audit(&self, hours: u32) -> Result<Vec<AuditEntry>, ReadError>;

    /// Up to `max_letters` dead letters with numbers above `after`, by number.
    async fn dead_letters(
        &self,
        after: DeadLetterId,
        max_letters: usize,
    ) -> Result<Vec<DeadLetter>, ReadError>;

    /// Sends a dead letter again. `None`: there is none of this number.
    ///
    /// # Errors
    /// [`JobError`]; then it is not known what became of it, and it may be sent again.
    async fn retry_dead_letter(&self, id: DeadLetterId) -> Result<Option<Resent>, JobError>;
}
