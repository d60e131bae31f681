//! The engine that the suite runs on: the model, behind one node.
//!
//! Another target may run the cases on an engine of its own: it has a module of this name and takes
//! the files of the cases as they are.

use std::sync::Arc;

use acclaim_core::{Engine, Kinds};
use acclaim_testkit::{ManualClock, ModelEngine};

/// Partitions of the journal.
pub const PARTITIONS: u16 = 1;

/// The acknowledgements that a write can ask for here.
pub const ACKS: [&str; 4] = ["redis", "replica", "bus", "ledger"];

/// What must live as long as the server.
pub struct Kept;

/// An empty store: the engine of each node that serves it.
pub async fn open(kinds: Kinds, clock: Arc<ManualClock>) -> (Vec<Arc<dyn Engine>>, Kept) {
    (vec![Arc::new(ModelEngine::new(kinds, clock))], Kept)
}
