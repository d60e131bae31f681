//! The cluster engine: Redis decides each transition, SQL is the record.
//!
//! Nothing in [`redis`] knows SQL.
#![forbid(unsafe_code)]

pub mod redis;
