//! What is read of a store that moves to another engine, beside the port.

use acclaim_core::pulse::Pulse;
use acclaim_core::{KindId, ReadError, Target, TargetType};

use super::EmbeddedEngine;
use super::read::at_length;

impl EmbeddedEngine {
    /// Moves what is in memory into the base, which [`EmbeddedEngine::pulses`] reads.
    ///
    /// # Errors
    /// [`ReadError::Store`] when it cannot be written.
    pub async fn settle(&self) -> Result<(), ReadError> {
        let settled = self.checkpoint().await;
        settled.map_err(|error| ReadError::Store(error.to_string()))
    }

    /// Up to `most` targets of a kind after one, in the engine's own order, each with its
    /// transitions of the last month. Fewer at the end only.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn pulses(
        &self,
        kind: KindId,
        after: Option<Target>,
        most: usize,
    ) -> Result<Vec<(Target, Pulse)>, ReadError> {
        at_length(&self.shared, move |_, reading| {
            reading.pulses(kind, after.as_ref(), most)
        })
        .await
    }

    /// The target types that were ever used.
    #[must_use]
    pub fn target_types(&self) -> Vec<TargetType> {
        self.shared.dictionary.load().type_names().to_vec()
    }
}
