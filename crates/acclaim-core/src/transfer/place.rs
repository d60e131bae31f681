//! How far a stream was read, so that another reading can go on there.

use serde::{Deserialize, Serialize};

/// The end of the last whole line of a stream: everything before it was given out, nothing after
/// it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Bytes before it.
    pub bytes: u64,
    /// Line feeds before it, by which later lines are numbered.
    pub(super) line_feeds: u64,
    /// The first of those bytes, up to the end of a CSV header. Without them what follows has no
    /// meaning.
    pub header_bytes: u64,
}
