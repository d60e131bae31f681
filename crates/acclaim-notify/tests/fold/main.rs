//! The fold of the journal into notifications, on the reference model.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod batches;
mod cases;
mod engines;
