//! The limits of the embedded engine: each a key of `[engine]` in the configuration.

/// How much the engine may use and keep. Every field has a default that suits a small machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of memory for blocks read from disk.
    pub cache_bytes: u64,
    /// Transitions held in memory before they are moved into sorted tables. Twice as many can be
    /// there for a moment, and as many are read back from the log at start.
    pub delta_max_edges: usize,
    /// Operations that may wait for a commit; more are refused as `overloaded`.
    pub queue_max_ops: usize,
    /// Operations in one commit.
    pub commit_max_ops: usize,
    /// Bytes of one log segment.
    pub log_segment_bytes: u64,
    /// Bytes of log kept for subscribers who resume, beyond what recovery needs.
    pub journal_max_bytes: u64,
    /// How long log is kept for subscribers who resume, in seconds.
    pub journal_max_seconds: u64,
    /// Idempotency answers kept; beyond it the oldest go before their 24 hours are over.
    pub answers_max: u64,
    /// Jobs that may wait or run at once.
    pub jobs_max_queued: usize,
    /// Edges that a job deals with in one commit.
    pub job_step_edges: usize,
    /// Bytes of the texts of import jobs, all of them together, unpacked. One longer than that is
    /// refused for good, one that only finds no room is refused until another job is done.
    pub spool_max_bytes: u64,
    /// Bytes of memory in which a bulk load sorts; what does not fit is sorted in files.
    pub bulk_memory_bytes: usize,
    /// Open anyway when the log lost commits that were acknowledged, and go on without them.
    pub accept_loss: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 192 << 20,
            delta_max_edges: 150_000,
            queue_max_ops: 100_000,
            commit_max_ops: 10_000,
            log_segment_bytes: 16 << 20,
            journal_max_bytes: 128 << 20,
            journal_max_seconds: 7 * 24 * 3600,
            answers_max: 10_000_000,
            jobs_max_queued: 100,
            job_step_edges: 1_000,
            spool_max_bytes: 4 << 30,
            bulk_memory_bytes: 256 << 20,
            accept_loss: false,
        }
    }
}
