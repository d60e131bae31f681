//! What tests share: the model as an engine, the conformance suite for the port, random and
//! concurrent histories, fault injection.
//!
//! Everything here runs inside tests only, where a panic is how a failure is told.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod concurrent;
pub mod conformance;
pub mod histories;
pub mod linear;
mod memory_notes;
mod model_engine;
pub mod settings;

pub use memory_notes::MemoryNotes;
pub use model_engine::{ManualClock, ModelEngine};
