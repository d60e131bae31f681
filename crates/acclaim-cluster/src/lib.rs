//! The cluster engine: Redis decides each transition, SQL is the record, and nothing is lost between
//! them.
//!
//! Under way: the two sides are here, each held against the reference model on a real server; what
//! joins them (workers, the engine behind the port) is not yet, so no command starts it.
//!
//! Nothing in [`redis`] knows SQL, nothing in [`ledger`] knows Redis.
#![forbid(unsafe_code)]

pub mod engine;
pub mod ledger;
pub mod redis;
