//! The cluster engine: Redis decides each transition, SQL is the record, and nothing is lost between
//! them.
//!
//! Under way: the two sides are here, each held against the reference model on a real server, and
//! the worker that moves events from one to the other; the engine behind the port is not yet, so no
//! command starts it.
//!
//! Nothing in [`redis`] knows SQL, nothing in [`ledger`] knows Redis; [`worker`] joins them.
//! [`foreign`] reads what other systems keep, for stores that move in.
#![forbid(unsafe_code)]

pub mod engine;
pub mod foreign;
pub mod ledger;
pub mod redis;
pub mod worker;
