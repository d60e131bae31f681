//! The ledger on a real MariaDB.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod apply;
mod faults;
mod journals;
mod lease;
mod migrate;
mod reads;
mod server;
mod stage;
mod store;
