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
/// After each step of a job that was written down.
pub const JOB_STEP: &str = "job.step";
