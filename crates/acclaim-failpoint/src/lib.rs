//! Named places at which tests let the process die, to show that nothing acknowledged is lost.
//!
//! Built in only with the feature `failpoints`; without it [`hit`] is nothing at all. The process
//! is killed as `kill -9` would, so no destructor and no buffer gets a chance. Which places there
//! are is for those who have them to say; this part knows none.

/// Dies here if `ACCLAIM_FAILPOINT` is `name` or `name:n` and this is the n-th time.
#[cfg(feature = "failpoints")]
pub fn hit(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);
    let armed = ARMED.get_or_init(|| {
        let value = std::env::var("ACCLAIM_FAILPOINT").ok()?;
        let (name, nth) = value.split_once(':').unwrap_or((&value, "1"));
        Some((name.to_owned(), nth.parse().ok()?))
    });
    if let Some((armed, nth)) = armed
        && armed == name
        && HITS.fetch_add(1, Ordering::Relaxed) + 1 == *nth
    {
        let pid = std::process::id().to_string();
        // If the signal cannot be sent, aborting is the next best thing to it.
        let _ = std::process::Command::new("kill")
            .args(["-9", &pid])
            .status();
        std::process::abort();
    }
}

/// Nothing: failpoints are not built in.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_name: &str) {}
