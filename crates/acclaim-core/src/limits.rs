//! The limits of the API that are part of its contract. Limits of a machine (queues, memory,
//! times) belong to the configuration instead.

/// Operations in one batch of writes.
pub const MAX_BATCH_OPS: usize = 1_000;
/// Targets in one batch of counts or statuses, and others in one batch of relationships.
pub const MAX_BATCH_READS: usize = 500;
/// Entries in one page.
pub const MAX_PAGE_ENTRIES: usize = 100;
/// Entries in a page when nothing is asked for.
pub const DEFAULT_PAGE_ENTRIES: usize = 20;
/// Entries that `page` can reach; deeper ones need a cursor.
pub const MAX_OFFSET_ENTRIES: usize = 1_000;
/// Entries in a ranking.
pub const MAX_RANKING_ENTRIES: usize = 100;
/// Days in a daily report.
pub const MAX_REPORT_DAYS: u32 = 366;
/// Days in a daily report when nothing is asked for.
pub const DEFAULT_REPORT_DAYS: u32 = 30;
/// The newest of whom a user follows that `known` looks at.
pub const MAX_KNOWN_FOLLOWED: usize = 1_000;
/// Edges that one page of a filtered list (mutual, common) looks at.
pub const MAX_FILTERED_EDGES: usize = 2_000;
/// Bytes in an idempotency key.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 128;
/// How long the answer under an idempotency key is kept, in seconds.
pub const IDEMPOTENCY_SECONDS: u64 = 24 * 3600;
/// How far ahead of the server's clock an imported time may be, in microseconds.
pub const MAX_IMPORT_AHEAD_MICROS: u64 = 60_000_000;
/// Target types that one store knows.
pub const MAX_TARGET_TYPES: usize = 4_096;
/// Hours that an audit or consistency report reaches back.
pub const MAX_REPORT_HOURS: u32 = 24 * 366;
