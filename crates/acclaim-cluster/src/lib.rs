//! The cluster engine: Redis decides each transition, SQL is the record, and nothing is lost between
//! them.
//!
//! Nothing in [`redis`] knows SQL, nothing in [`ledger`] knows Redis; [`worker`] joins them, and [`engine`]
//! answers for both.
//! [`replay`] gives what a bus carried once more.
//! [`foreign`] reads what other systems keep, for stores that move in.
#![forbid(unsafe_code)]

pub mod engine;
mod failpoint;
pub mod foreign;
mod gather;
pub mod ledger;
pub mod redis;
pub mod replay;
pub mod worker;
