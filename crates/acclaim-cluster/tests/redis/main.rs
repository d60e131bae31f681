//! The Redis half against a real Redis, with a ledger in memory.

mod cold;
mod histories;
mod idempotency;
mod ledger;
mod lists;
mod server;
mod stage;
