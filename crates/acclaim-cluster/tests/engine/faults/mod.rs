//! Servers that die, hang, forget and fill up, and nodes that go, all under load.
//!
//! Every test ends alike: the ledger has everything, the check is clean, and each acknowledged
//! toggle is there once, in the journal, in Redis, and in the ledger without Redis.

mod ledger;
pub mod load;
mod nodes;
mod redis_servers;
pub mod stage;
pub mod went_back;
