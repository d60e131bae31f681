//! What a person may set from outside: how long to test, and from which seed.

use std::time::Duration;

/// Seconds from the environment.
///
/// # Panics
/// When the variable is set to something else.
#[must_use]
pub fn seconds(name: &str, default: u64) -> Duration {
    Duration::from_secs(number(name, default))
}

/// A number from the environment.
///
/// # Panics
/// When the variable is set to something else.
#[must_use]
pub fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect("a whole number"),
        Err(_) => default,
    }
}

/// The seed of a test: `ACCLAIM_SEED`, or one by chance.
///
/// # Panics
/// When the variable is no number.
#[must_use]
pub fn seed() -> u64 {
    number("ACCLAIM_SEED", rand::random())
}
