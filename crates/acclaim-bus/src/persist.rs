//! Trying again what may come to be, and what it means that it did not.

use std::fmt::Display;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::error::{OpenError, TopicAt};
use crate::limits::Limits;

/// The waits between attempts: the first, and the longest.
pub const PAUSE: Duration = Duration::from_millis(50);
/// See [`PAUSE`].
pub const MAX_PAUSE: Duration = Duration::from_millis(1_000);

/// A failure that may be over when it is tried again.
pub trait Passing {
    /// Whether waiting helps.
    fn may_pass(&self) -> bool;
}

/// Tries again until it is done, or it makes no sense, or the time is over.
pub async fn persist<T, E: Passing, F: Future<Output = Result<T, E>>>(
    deadline: Instant,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E> {
    let mut pause = PAUSE;
    let mut before = None;
    loop {
        let failure = match attempt().await {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        if !failure.may_pass() {
            return Err(failure);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        // An attempt that ran out of time says less than the one before it.
        if left.is_zero() {
            return Err(before.unwrap_or(failure));
        }
        if left < PAUSE {
            return Err(failure);
        }
        before = Some(failure);
        sleep(pause.min(left / 2)).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// A failure as the end of an attempt to open.
pub fn opening<F: Passing + Display>(
    failure: &F,
    is_distrust: bool,
    at: &TopicAt,
    limits: &Limits,
) -> OpenError {
    let (at, why) = (at.clone(), failure.to_string());
    if is_distrust {
        return OpenError::Credentials { at, why };
    }
    if failure.may_pass() {
        let after_millis = limits.call_timeout_millis;
        return OpenError::Unreachable {
            at,
            after_millis,
            why,
        };
    }
    OpenError::Other { at, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Failure(&'static str, bool);

    impl Passing for Failure {
        fn may_pass(&self) -> bool {
            self.1
        }
    }

    #[tokio::test]
    async fn what_passes_is_tried_until_the_end_and_what_does_not_once() {
        let deadline = Instant::now() + MAX_PAUSE;
        let mut tries = 0;
        let outcome: Result<(), _> = persist(deadline, || {
            tries += 1;
            async { Err(Failure("it is full", true)) }
        })
        .await;
        assert_eq!(outcome, Err(Failure("it is full", true)));
        assert!(tries > 1, "{tries}");

        let mut tries = 0;
        let outcome: Result<(), _> = persist(deadline + PAUSE, || {
            tries += 1;
            async { Err(Failure("never", false)) }
        })
        .await;
        assert_eq!((outcome, tries), (Err(Failure("never", false)), 1));
    }

    #[tokio::test]
    async fn who_ran_out_of_time_says_what_was_before() {
        let deadline = Instant::now() + MAX_PAUSE;
        let mut tries = 0;
        let outcome: Result<(), _> = persist(deadline, || {
            tries += 1;
            let is_first = tries == 1;
            async move {
                if is_first {
                    return Err(Failure("it is full", true));
                }
                tokio::time::sleep_until(deadline.into()).await;
                Err(Failure("no answer", true))
            }
        })
        .await;
        assert_eq!((outcome, tries), (Err(Failure("it is full", true)), 2));
    }
}
