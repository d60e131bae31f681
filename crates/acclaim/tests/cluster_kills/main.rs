//! `kill -9` of everything that a cluster is made of, under load over HTTP, on the real program and
//! real servers: nothing acknowledged is lost, nothing is done twice, and every count equals its
//! edges, in Redis and in the ledger.
//!
//! With the feature `failpoints` nodes and workers die at named places too.
//!
//! - `ACCLAIM_CRASH_ROUNDS`: kills of each, 2 by default (the figures in the documents are of 50,
//!   and of 20 of Redis).
//! - `ACCLAIM_SEED`: where chance begins; each test prints its seed when it fails.
//! - `ACCLAIM_BINARY`: another binary to test, for example a release build.
//!
//! What calls are made, and how their answers are judged, is that of the crash tests on one machine
//! (`tests/crash`).
#![recursion_limit = "256"]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]
#![allow(dead_code, reason = "the crash tests use more of what is shared")]

#[path = "../crash/client.rs"]
mod client;
#[cfg(feature = "failpoints")]
mod failpoints;
mod kill;
#[path = "../crash/load.rs"]
mod load;
mod notify;
mod process;
#[path = "../crash/round.rs"]
mod round;
mod stage;
#[path = "../crash/told.rs"]
mod told;
#[path = "../crash/world.rs"]
mod world;

/// How often to kill each.
fn rounds() -> u64 {
    acclaim_testkit::settings::number("ACCLAIM_CRASH_ROUNDS", 2)
}
