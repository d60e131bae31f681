//! The worker between a real Redis and a real MariaDB.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod dead_letters;
mod drain;
mod faults;
mod keep;
mod leases;
mod stage;

use std::time::Duration;

/// How long a test waits for what has to happen.
const LIMIT: Duration = Duration::from_secs(60);

/// A condition for [`acclaim_servers::until`].
fn holds(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise()) }
}
