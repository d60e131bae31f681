//! The ledger: the record of the cluster engine in MySQL, MariaDB or TiDB.
//!
//! It decides nothing about a like: it takes the journal's events, each with the state after it,
//! and keeps what follows from them, guarded by rev, so that it comes out the same however often
//! and however late they come. It may not know Redis, nor who calls it.
//!
//! - [`codec`] and [`blob`]: how things stand in columns;
//! - [`schema`] and [`migrate`]: the tables and how they come to be;
//! - [`dictionary`]: the numbers of kinds and target types;
//! - [`seat`]: which server of Redis decides each partition;
//! - [`store`]: who the store is, how many partitions it has, its epoch;
//! - [`moving`]: copying a whole ledger to another one while it is in use, and the change-over;
//! - [`rebuild`]: beginning and ending a ledger that comes back from the bus;
//! - [`activity`]: days and rankings of a store that moves in;
//! - [`lease`]: who may write a partition;
//! - [`notes`] and [`duty`]: notifications and webhooks, and who makes them;
//! - [`apply`]: a batch of events in one transaction;
//! - [`bulk`]: many edges at once, past Redis;
//! - [`read`]: everything that is asked of the record;
//! - [`check`] and `repair`: whether everything follows from the edges, and mending it;
//! - [`replicas`]: reading from replicas what may be a moment late;
//! - [`journals`]: audit, checks, dead letters and jobs.
//!
//! Invariants:
//! - Whoever writes edges of a partition holds the partition's row locked and has checked its
//!   fence in the same transaction.
//! - Locks are taken in one order: the partition, users, the days. Notifications are locked by themselves. Rows of one table in the order
//!   of their keys. The partition's lock stands for its edges and targets, which have none.
//! - Statements that hold on all three servers only: `VALUES(col)` in upserts, no `SKIP LOCKED`, no
//!   `FOR SHARE`, no index that must descend.

pub mod activity;
pub mod apply;
pub mod blob;
pub mod bulk;
pub mod carry;
pub mod check;
mod checked;
pub mod codec;
pub mod dictionary;
pub mod duty;
pub mod error;
pub mod event;
mod fold;
pub mod forget;
pub mod journals;
pub mod lease;
mod members;
pub mod migrate;
pub mod moving;
pub mod notes;
mod pools;
pub mod read;
pub mod rebuild;
pub mod recount;
mod repair;
pub mod replicas;
mod retry;
mod rows;
pub mod schema;
pub mod seat;
mod session;
pub mod store;

pub use apply::{Applied, MAX_BATCH_EVENTS};
pub use dictionary::{KindNo, TypeNo};
pub use error::{Class, LedgerError, SchemaError};
pub use event::{Batch, Carried, Entry, LedgerEvent, Recorded};
pub use lease::Lease;
pub use pools::{Bounds, Ledger};
pub use session::Kept;
pub use store::{EpochRaised, Store, StoreSpec};
