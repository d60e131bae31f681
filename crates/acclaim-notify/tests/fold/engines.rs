//! The engine that the cases run on: the model.
//!
//! Another target may run them on an engine of its own: it has a module of this name beside them.

use std::sync::Arc;

use acclaim_core::{Engine, Kinds};
use acclaim_testkit::{ManualClock, ModelEngine};

/// Random histories that are tried.
pub const HISTORIES: u32 = 64;

/// What must live as long as the engine.
pub struct Kept;

impl Kept {
    /// Waits until everything that was decided is recorded.
    pub async fn settle(&self) {}
}

/// An empty store.
pub async fn open(kinds: Kinds, clock: Arc<ManualClock>) -> (Arc<dyn Engine>, Kept) {
    (Arc::new(ModelEngine::new(kinds, clock)), Kept)
}
