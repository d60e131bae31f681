//! The cluster engine: Redis decides, SQL records, and nothing is lost between them.
#![forbid(unsafe_code)]

pub mod ledger;
