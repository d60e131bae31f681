//! What a store that moves in needs beside the port: what the ledger alone has, and the other
//! store's days and rankings.

use std::collections::BTreeMap;

use acclaim_core::port::Daily;
use acclaim_core::pulse::Pulse;
use acclaim_core::{EdgeKey, EdgeState, KindId, ReadError, Rev, Target, TargetKey, TargetType};

use super::Cluster;
use super::errors::read_error;
use super::names::target_ref;
use crate::ledger::activity::MAX_ACTIVE_TARGETS;
use crate::ledger::read::TargetRef;

impl Cluster {
    /// The state of each edge as the ledger has it, in order. Nothing comes into Redis by it, which
    /// a status of a cold target would; so it suits who looks at everything.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn recorded(&self, edges: &[EdgeKey]) -> Result<Vec<EdgeState>, ReadError> {
        let mut states = vec![EdgeState::default(); edges.len()];
        let (mut places, mut known) = (Vec::new(), Vec::new());
        for (place, edge) in edges.iter().enumerate() {
            if let Some(edge) = self.shared.known_edge(edge).await? {
                places.push(place);
                known.push(edge);
            }
        }
        let found = self.shared.ledger.edge_states(&known).await;
        for (place, state) in places.into_iter().zip(found.map_err(read_error)?) {
            states[place] = state;
        }
        Ok(states)
    }

    /// Puts another store's recent activity of targets in the place of what their edges made of it
    /// here; see [`crate::ledger::activity`]. The ledger must have the edges.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn take_pulses(
        &self,
        kind: KindId,
        pulses: Vec<(Target, Pulse)>,
        end: Rev,
    ) -> Result<(), ReadError> {
        let mut parts: BTreeMap<u16, Vec<(TargetRef, Pulse)>> = BTreeMap::new();
        for (target, pulse) in pulses {
            let key = TargetKey { kind, target };
            if let Some(name) = self.shared.known_target(&key).await? {
                let partition = name.partition(self.shared.store.partitions);
                let part = parts.entry(partition).or_default();
                part.push((target_ref(&name), pulse));
            }
        }
        for (partition, pulses) in &parts {
            for pulses in pulses.chunks(MAX_ACTIVE_TARGETS) {
                let taken = self.shared.ledger.take_pulses(*partition, pulses, end);
                taken.await.map_err(read_error)?;
            }
        }
        Ok(())
    }

    /// The same for days, of one type or of all.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn take_days(
        &self,
        kind: KindId,
        target_type: Option<&TargetType>,
        days: &[Daily],
        end: Rev,
    ) -> Result<(), ReadError> {
        let type_no = match target_type {
            None => None,
            // Nothing of a type that nobody knows here is told to anybody.
            Some(target_type) => match self.shared.known_type(target_type).await? {
                None => return Ok(()),
                known => known,
            },
        };
        let kind = self.shared.names.kind_no(kind);
        let taken = self.shared.ledger.take_days(kind, type_no, days, end);
        taken.await.map_err(read_error)
    }
}
