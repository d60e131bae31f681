//! The Redis half against a real Redis, with a ledger in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod cold;
mod histories;
mod idempotency;
mod ledger;
mod lists;
mod stage;
