//! What every bus promises, held against real ones. The cases know the port and a [`Harness`], not
//! which bus they run on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a panic is how a test fails"
)]

mod batches;
mod faults;
mod groups;
#[macro_use]
mod harness;
#[cfg(feature = "kafka")]
mod kafka;
mod opening;
mod order;
#[cfg(feature = "pulsar")]
mod pulsar;
mod redelivery;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "rocketmq")]
mod rocketmq;
mod seeking;
mod trust;
