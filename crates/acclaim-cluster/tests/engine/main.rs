//! The engine behind the port, on a real Redis and a real MariaDB: the suites of the testkit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod bus;
mod faults;
mod harness;
mod imports;
mod nodes;
mod notes;
mod replicas;
mod servers;
mod suites;
