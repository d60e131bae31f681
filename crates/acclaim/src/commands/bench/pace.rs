//! When requests are due, in an open load.
//!
//! Requests are due at even distances. Any idle connection takes the next one that is due, so a
//! slow answer delays nobody else while there are idle connections; when there are none, what is
//! due waits, and its latency grows from when it was due.
//!
//! A thread of its own keeps the time: the runtime's timer is exact to a millisecond only, which
//! would be counted as latency.

use std::cell::Cell;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// The dues of one thread of the load.
pub(super) struct Pace {
    start: Instant,
    every: Duration,
    total: u64,
    taken: Cell<u64>,
    due: Arc<Semaphore>,
}

impl Pace {
    /// Starts the time: `rate` requests a second for so long. Ends by itself.
    pub(super) fn start(rate: f64, how_long: Duration) -> Self {
        let start = Instant::now();
        let every = Duration::from_secs_f64(1.0 / rate);
        let total = (how_long.as_secs_f64() * rate).ceil() as u64;
        let due = Arc::new(Semaphore::new(0));
        let released = Arc::clone(&due);
        thread::spawn(move || keep_time(start, every, total, &released));
        Self {
            start,
            every,
            total,
            taken: Cell::new(0),
            due,
        }
    }

    /// Waits for the next request to be due and returns when it was; `None` at the end. What is
    /// due and not taken by then is never sent.
    pub(super) async fn next(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        let number = self.taken.get();
        self.taken.set(number + 1);
        Some(due_at(self.start, self.every, number))
    }

    /// Requests that were due and never sent, since no connection was idle.
    pub(super) fn unsent(&self) -> u64 {
        self.total - self.taken.get()
    }
}

fn due_at(start: Instant, every: Duration, number: u64) -> Instant {
    // A product of floats is exact to nanoseconds for months, and does not overflow.
    start + every.mul_f64(number as f64)
}

fn keep_time(start: Instant, every: Duration, total: u64, due: &Semaphore) {
    let mut released = 0;
    while released < total {
        let passed = start.elapsed().as_secs_f64() / every.as_secs_f64();
        let now_due = (passed as u64 + 1).min(total);
        // Never more than fit: there are as many as connections could take in the whole run.
        due.add_permits(usize::try_from(now_due - released).unwrap_or(0));
        released = now_due;
        let next = due_at(start, every, released);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    due.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_due_evenly_and_never_early() {
        let pace = Pace::start(1_000.0, Duration::from_millis(20));
        let mut dues = Vec::new();
        while let Some(due) = pace.next().await {
            assert!(Instant::now() >= due);
            dues.push(due - pace.start);
        }
        let expected: Vec<Duration> = (0..20).map(Duration::from_millis).collect();
        assert_eq!(dues, expected[..dues.len()]);
        assert_eq!(pace.unsent(), 20 - dues.len() as u64);
    }
}
