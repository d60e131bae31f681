//! The places of this engine at which tests let the process die.

pub use acclaim_failpoint::hit;

/// Before a pipeline of writes is sent to Redis.
pub const DECIDE_BEFORE_CALL: &str = "decide.before-call";
/// After Redis decided, before anybody is answered.
pub const DECIDE_BEFORE_ANSWER: &str = "decide.before-answer";
/// With the token for what is cold in hand, before it is read from the ledger and installed.
pub const LOAD_CLAIMED: &str = "load.claimed";
/// After a worker took leases.
pub const LEASES_TAKEN: &str = "leases.taken";
/// After a batch was read from a journal, before the ledger has it.
pub const DRAIN_BEFORE_APPLY: &str = "drain.before-apply";
/// With everything of a transaction written, before it commits.
pub const APPLY_BEFORE_COMMIT: &str = "apply.before-commit";
/// After the ledger has a batch, before Redis is told.
pub const DRAIN_BEFORE_TELL: &str = "drain.before-tell";
/// With a batch of the journal in hand, before it is published to the bus.
pub const RELAY_BEFORE_PUBLISH: &str = "relay.before-publish";
/// After the bus acknowledged a batch, before that is noted.
pub const RELAY_BEFORE_MARK: &str = "relay.before-mark";
/// With a batch of the bus in hand, before the ledger has it.
pub const RECORD_BEFORE_APPLY: &str = "record.before-apply";
/// After the ledger has a batch of the bus, before Redis is told and it is acknowledged.
pub const RECORD_BEFORE_TELL: &str = "record.before-tell";
/// After Redis was told, before the batch is acknowledged to the bus.
pub const RECORD_BEFORE_ACKNOWLEDGE: &str = "record.before-acknowledge";
/// After the ledger has a batch that is replayed, before it is acknowledged to the bus.
pub const REPLAY_BEFORE_ACKNOWLEDGE: &str = "replay.before-acknowledge";
/// Before a batch of notifications is committed.
pub const NOTES_BEFORE_COMMIT: &str = "notes.before-commit";
/// After each step of a job that was written down.
pub const JOB_STEP: &str = "job.step";
/// With everything of an import's transaction written, before it commits.
pub const BULK_BEFORE_COMMIT: &str = "bulk.before-commit";
/// After a transaction of an import, with what it holds in Redis not given back.
pub const BULK_COMMITTED: &str = "bulk.committed";
/// After the workers were paused for the change-over to another ledger.
pub const MOVE_PAUSED: &str = "move.paused";
/// After the old ledger was closed, before the new one is opened.
pub const MOVE_CLOSED: &str = "move.closed";
