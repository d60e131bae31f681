//! The Redis half of the cluster engine: one script call decides all ops of a batch that lie in
//! one partition, together with their counts and journal entries.
//!
//! What holds at every moment (`tests/race` searches for a counterexample):
//!
//! 1. A key that is not there is *cold*: nothing is decided on it until a load has put it back.
//! 2. A key carries a TTL, and so may be evicted, only while the ledger has its last transition.
//! 3. A load installs only what was read after its token was taken while the key was missing, and
//!    only while it still holds that token.
//! 4. The buckets of a loaded record have names that no bucket had before.
//! 5. Nothing is sent about a partition to a server that may have less of it than the ledger
//!    ([`seat`]).
//!
//! This module knows no SQL: what a load reads comes through [`load::Source`].

mod access;
pub mod address;
pub mod connection;
pub mod decide;
pub mod durability;
pub mod error;
pub mod event;
pub mod idempotency;
mod identity;
pub mod journal;
pub mod keys;
pub mod layout;
pub mod limits;
pub mod list;
mod lives;
pub mod load;
mod node;
pub mod persist;
pub mod progress;
pub mod published;
pub mod read;
mod refusal;
pub mod renew;
mod rounds;
mod scan;
mod script;
pub mod seat;
mod slots;
mod topology;
