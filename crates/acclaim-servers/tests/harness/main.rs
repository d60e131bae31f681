//! The harness itself: each server starts, answers, dies and comes back; nothing outlives the test;
//! the proxy does what its verbs say.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod kafka;
mod lifetime;
mod mariadb;
mod proxy;
mod pulsar;
mod redis_cluster;
mod redis_sentinel;
mod redis_single;
mod rocketmq;
mod tidb;

use std::time::Duration;

/// How long a test waits for what has to happen.
const LIMIT: Duration = Duration::from_secs(60);
/// Long enough that something that must not happen would have.
const SHORT: Duration = Duration::from_millis(300);

/// A condition for [`acclaim_servers::until`].
fn holds(condition: bool, otherwise: &str) -> Result<(), String> {
    if condition {
        Ok(())
    } else {
        Err(otherwise.to_owned())
    }
}
