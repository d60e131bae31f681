//! The ledger on real servers: each test runs on every one that it works with.
// The layouts of the tests' futures nest deeper than the compiler's default allows.
#![recursion_limit = "256"]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod apply;
mod bulk;
mod check;
mod compare;
mod faults;
mod histories;
mod journals;
mod lease;
mod migrate;
mod notes;
mod reads;
mod recount;
mod replicas;
mod sql;
mod stage;
mod store;
mod texts;
