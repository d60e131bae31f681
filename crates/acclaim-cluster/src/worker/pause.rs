//! How long to leave something alone that failed.

use std::time::Duration;

use rand::Rng;

use super::limits::WorkerLimits;

/// Half to all of the bound of this failure, counted from 1: never nothing, so that nothing is
/// tried in a busy loop, and never the same for all, so that nodes do not come back together.
pub(super) fn pause(limits: &WorkerLimits, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    let doubled = limits
        .retry_first_pause_millis
        .saturating_mul(1 << doublings);
    let bound = Duration::from_millis(doubled.min(limits.retry_longest_pause_millis));
    bound.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound() {
        let limits = WorkerLimits::default();
        for failures in 1..100 {
            let pause = pause(&limits, failures).as_millis();
            assert!((25..=2_000).contains(&pause), "{failures}: {pause}");
            assert!(failures > 1 || pause <= 50);
            assert!(failures < 7 || pause >= 1_000);
        }
    }
}
