//! `acclaim replay`: ledgers that come back from the bus, and groups that are moved back on it.
//! Commands and servers are real.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../program/mod.rs"]
mod program;

mod groups;
mod made;
mod rebuilt;
mod stage;
