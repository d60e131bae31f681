//! What of a batch can be applied.

use std::collections::{BTreeMap, btree_map};

use acclaim_core::{Rev, TargetType};

use super::codec::IdKey;
use super::dictionary::{KindNo, TypeNo};
use super::error::LedgerError;
use super::event::{Batch, Carried, EdgeRow, Entry};
use super::fold::Accepted;
use super::journals::dead_letters::DeadLetter;
use super::pools::Ledger;

/// A batch whose events are checked.
pub(super) struct Checked<'a> {
    pub batch: &'a Batch,
    pub accepted: Vec<Accepted>,
    pub refused: Vec<DeadLetter<'a>>,
    /// The number of `USER`, if any target has that type.
    pub user_type: Option<TypeNo>,
    /// The place of the last entry.
    pub last: Rev,
    /// What it says of itself where it came over the bus; it is written under its fence otherwise.
    pub carried: Option<&'a Carried>,
}

impl Ledger {
    /// Sorts out what cannot be applied.
    pub(super) async fn check<'a>(&self, batch: &'a Batch) -> Result<Checked<'a>, LedgerError> {
        let mut checked = Checked {
            batch,
            accepted: Vec::with_capacity(batch.entries.len()),
            refused: Vec::new(),
            user_type: self.known_type_no(&TargetType::USER).await?,
            last: Rev::ZERO,
            carried: None,
        };
        let mut kinds = BTreeMap::new();
        let mut types = BTreeMap::new();
        for entry in &batch.entries {
            checked.last = checked.last.max(entry.seq);
            if let Ok(event) = &entry.event {
                if let btree_map::Entry::Vacant(kind) = kinds.entry(event.kind) {
                    kind.insert(self.kind_name(event.kind).await?.is_some());
                }
                if let btree_map::Entry::Vacant(target_type) = types.entry(event.target_type) {
                    target_type.insert(self.type_name(event.target_type).await?.is_some());
                }
            }
            match accept(entry, &kinds, &types) {
                Ok(accepted) => checked.accepted.push(accepted),
                Err(reason) => {
                    let seq = entry.seq;
                    checked.refused.push(DeadLetter {
                        seq,
                        reason,
                        payload: &entry.payload,
                    });
                }
            }
        }
        Ok(checked)
    }
}

fn accept(
    entry: &Entry,
    kinds: &BTreeMap<KindNo, bool>,
    types: &BTreeMap<TypeNo, bool>,
) -> Result<Accepted, String> {
    let event = entry.event.as_ref().map_err(Clone::clone)?;
    if !kinds.get(&event.kind).is_some_and(|known| *known) {
        return Err(format!("kind number {} was never given", event.kind.0));
    }
    if !types.get(&event.target_type).is_some_and(|known| *known) {
        return Err(format!(
            "target type number {} was never given",
            event.target_type.0
        ));
    }
    for (what, value) in [("seq", entry.seq.0), ("rev", event.rev.0)] {
        if !(1..=Rev::MAX.0).contains(&value) {
            return Err(format!("{what} {value} is outside 1 to {}", Rev::MAX.0));
        }
    }
    if event.count > Rev::MAX.0 {
        return Err(format!("count {} is over {}", event.count, Rev::MAX.0));
    }
    let edge = EdgeRow::new(
        event.kind,
        event.target_type,
        IdKey::new(&event.target),
        IdKey::new(&event.user),
    );
    let (active, rev, count) = (event.active, event.rev, event.count);
    Ok(Accepted {
        seq: entry.seq,
        edge,
        active,
        rev,
        count,
    })
}
