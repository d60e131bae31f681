//! Names of topics that no other test of this process has.

use std::sync::atomic::{AtomicU32, Ordering};

static NEXT_TOPIC: AtomicU32 = AtomicU32::new(1);

/// Another name with every call. The topic itself is not made.
pub fn name() -> String {
    format!("test-{}", NEXT_TOPIC.fetch_add(1, Ordering::Relaxed))
}
