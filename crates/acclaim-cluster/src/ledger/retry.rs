//! Tries again what is worth it, within bounds, with full jitter.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;

use super::error::{Class, Failure, LedgerError};
use super::pools::Bounds;

/// How often each kind of trouble was met.
#[derive(Debug, Default)]
pub struct Counters {
    deadlocks: AtomicU64,
    lock_waits: AtomicU64,
    lost: AtomicU64,
    timeouts: AtomicU64,
    overtaken: AtomicU64,
    not_committed: AtomicU64,
    found_committed: AtomicU64,
    cautious: AtomicU32,
}

/// Batches that lock new users first after one was overtaken.
const CAUTIOUS_BATCHES: u32 = 64;

impl Counters {
    fn of(&self, class: Class) -> &AtomicU64 {
        match class {
            Class::Deadlock => &self.deadlocks,
            Class::LockWait => &self.lock_waits,
            Class::Lost => &self.lost,
            Class::Timeout => &self.timeouts,
            Class::Overtaken => &self.overtaken,
            Class::NotCommitted => &self.not_committed,
        }
    }

    /// How often this was met.
    #[must_use]
    pub fn met(&self, class: Class) -> u64 {
        self.of(class).load(Ordering::Relaxed)
    }

    /// How often a commit whose answer was lost turned out to be there.
    #[must_use]
    pub fn found_committed(&self) -> u64 {
        self.found_committed.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, class: Class) {
        self.of(class).fetch_add(1, Ordering::Relaxed);
        if class == Class::Overtaken {
            self.cautious.store(CAUTIOUS_BATCHES, Ordering::Relaxed);
        }
    }

    /// Whether users without a row are to be locked before they are written: lately somebody else
    /// wrote one in between, as happens while many users are new.
    pub(super) fn is_cautious(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.cautious
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }

    pub(super) fn count_found_committed(&self) {
        self.found_committed.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) async fn retried<T, F>(
    bounds: &Bounds,
    counters: &Counters,
    mut work: impl FnMut() -> F,
) -> Result<T, LedgerError>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut attempt = 1;
    loop {
        let (class, last) = match work().await {
            Ok(done) => return Ok(done),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Again(class, last)) => (class, last),
        };
        counters.count(class);
        tracing::debug!(attempt, ?class, last, "the ledger failed");
        if attempt >= bounds.attempts {
            return Err(match class {
                Class::Deadlock | Class::LockWait | Class::Overtaken => LedgerError::Contended {
                    attempts: attempt,
                    last,
                },
                _ => LedgerError::Unavailable {
                    attempts: attempt,
                    last,
                },
            });
        }
        tokio::time::sleep(pause(bounds, attempt)).await;
        attempt += 1;
    }
}

/// Between nothing and the bound of this attempt, so that nodes that failed together do not come
/// back together.
fn pause(bounds: &Bounds, attempt: u32) -> Duration {
    let doubled = bounds
        .first_pause
        .saturating_mul(1 << attempt.min(20).saturating_sub(1));
    let longest = doubled.min(bounds.longest_pause);
    longest.mul_f64(rand::rng().random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_bounded() {
        let bounds = Bounds::default();
        for attempt in 1..100 {
            let pause = pause(&bounds, attempt);
            assert!(pause <= bounds.longest_pause);
            assert!(attempt > 1 || pause <= bounds.first_pause);
        }
    }

    #[test]
    fn caution_ends() {
        let counters = Counters::default();
        assert!(!counters.is_cautious());
        counters.count(Class::Overtaken);
        assert!((0..CAUTIOUS_BATCHES).all(|_| counters.is_cautious()));
        assert!(!counters.is_cautious());
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_bounded() {
        let bounds = Bounds::default();
        let counters = Counters::default();
        let mut tries = 0;
        let outcome = retried(&bounds, &counters, || {
            tries += 1;
            async { Err::<(), _>(Failure::Again(Class::Deadlock, "1213".to_owned())) }
        })
        .await;
        assert!(
            matches!(outcome, Err(LedgerError::Contended { attempts: 8, .. })),
            "{outcome:?}"
        );
        assert_eq!(tries, bounds.attempts);
        assert_eq!(counters.met(Class::Deadlock), 8);
    }
}
