//! The Redis half against a real Redis, with a ledger in memory.

mod histories;
mod ledger;
mod server;
mod stage;
