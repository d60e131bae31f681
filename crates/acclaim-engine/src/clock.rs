//! The machine's clock behind the port's [`Clock`].

use std::time::{SystemTime, UNIX_EPOCH};

use acclaim_core::Rev;
use acclaim_core::port::Clock;

/// The time of day.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Rev {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        // Revs end in 2255; a clock beyond that is treated as standing still there.
        Rev(u64::try_from(since_epoch.as_micros())
            .unwrap_or(Rev::MAX.0)
            .min(Rev::MAX.0))
    }
}
