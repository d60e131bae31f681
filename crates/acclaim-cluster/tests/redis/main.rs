//! The Redis half against a real Redis, with a ledger in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod callers;
mod cluster;
mod cold;
mod faults;
mod histories;
mod idempotency;
mod ledger;
mod lists;
mod peek;
mod sentinel;
mod servers;
mod settings;
mod stage;
