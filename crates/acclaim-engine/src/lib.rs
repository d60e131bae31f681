//! What decides and keeps transitions: the combiner that gathers writes into batches, and the
//! embedded engine that makes them durable in one directory.
//!
//! It may not know HTTP or the command line. It is reached through the port of `acclaim-core`.
#![forbid(unsafe_code)]

mod clock;
pub mod combiner;
pub mod embedded;
pub mod failpoint;

pub use clock::SystemClock;
