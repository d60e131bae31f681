//! Recovering one target, at the price of what it has.
//!
//! Each entry of the target's list in the base is held against its edge and, where its user has a
//! list of their own, against that; then the count against the entries that stand. Nothing else of
//! the store is read, and where all is well nothing is written.
//!
//! Where something is wrong, or the target changes so fast that its count cannot be told, what is
//! in memory is first moved into the base, and all is read and mended there. One sort of damage
//! cannot be mended from what the target has: a count above the entries means that the count is
//! wrong or that entries are missing, and only a walk over the kind's edges tells which. Where an
//! entry is missing and the count is too low by the same number, the target looks sound to itself;
//! the check over everything finds that.

use std::collections::BTreeSet;

use acclaim_core::port::Recovered;
use acclaim_core::{ReadError, Rev};

use super::super::jobs::{StepError, checkpoint};
use super::super::key::{EdgeRef, TargetRef, tag};
use super::super::lane::{Command, Reply};
use super::super::log::Entry;
use super::super::record::{TargetRecord, decode_edge};
use super::super::shared::Shared;
use super::super::view::View;
use super::mend::{Fix, difference, write};
use crate::combiner::Combiner;

/// Rebuilds the list and the count of one target from its edges, off the runtime's threads.
pub fn recover(
    shared: &Shared,
    lane: &Combiner<Command, Reply>,
    target: &TargetRef,
) -> Result<Recovered, StepError> {
    let view = shared.view.load_full();
    let count_before = view.count(target)?.0;
    if !is_sound(&view, target)? {
        checkpoint(shared, lane)?;
        let (fixes, entries) = what_is_wrong(&shared.view.load_full(), target)?;
        if !fixes.is_empty() || !entries.is_empty() {
            write(lane, &fixes, &entries)?;
            checkpoint(shared, lane)?;
        }
    }
    let count_after = shared.view.load().count(target)?.0;
    Ok(Recovered {
        count_before,
        count_after,
        edges: count_after,
    })
}

/// Whether list, edges, users' lists and count agree. A target that changes meanwhile may not seem
/// to.
fn is_sound(view: &View, target: &TargetRef) -> Result<bool, ReadError> {
    let mut standing = 0;
    for stored in view.base.prefix(&target.list_prefix()) {
        let (edge, rev) = EdgeRef::from_target_list_key(&stored?.0)?;
        let state = view.base_edge(&edge)?;
        if !state.active || state.rev != rev || !is_in_users_list(view, &edge, rev)? {
            return Ok(false);
        }
        standing += u64::from(!view.overrides_base(&edge));
    }
    standing += in_memory(view, target);
    Ok(view.count(target)?.0 == standing)
}

/// Whether the edge is in its user's list in the base, where that user has one.
fn is_in_users_list(view: &View, edge: &EdgeRef, rev: Rev) -> Result<bool, ReadError> {
    if !view.base_user(&edge.user_ref())?.indexed {
        return Ok(true);
    }
    Ok(view.base.get(&edge.user_list_key(rev))?.is_some())
}

/// Active edges of the target in the deltas, each counted in the newest that knows it.
fn in_memory(view: &View, target: &TargetRef) -> u64 {
    let active = view.active.target_shard(target);
    let newest = active.target(target);
    let mut standing = newest.map_or(0, |known| known.list.after(None).count());
    if let Some(sealed) = &view.sealed {
        let shard = sealed.target_shard(target);
        if let Some(known) = shard.target(target) {
            let mut entries = known.list.after(None);
            standing += entries
                .by_ref()
                .filter(|(_, user)| active.edge(target, user).is_none())
                .count();
        }
    }
    standing as u64
}

/// What has to be written so that the target in the base is as its edges say.
fn what_is_wrong(view: &View, target: &TargetRef) -> Result<(Vec<Fix>, Vec<Entry>), ReadError> {
    let (mut listed, mut expected) = (BTreeSet::new(), BTreeSet::new());
    for stored in view.base.prefix(&target.list_prefix()) {
        let (edge, rev) = EdgeRef::from_target_list_key(&stored?.0)?;
        let state = view.base_edge(&edge)?;
        if state.active {
            expected.insert((state.rev, edge.clone()));
        }
        listed.insert((rev, edge));
    }
    let count = match view.base.get(&target.key())? {
        Some(bytes) => TargetRecord::decode_count(&bytes)?.0,
        None => 0,
    };
    if count > expected.len() as u64 {
        expected.extend(all_edges(view, target)?);
    }
    let mut fixes = Vec::new();
    difference(&expected, &listed, EdgeRef::target_list_key, &mut fixes);
    for (rev, edge) in &expected {
        if !is_in_users_list(view, edge, *rev)? {
            fixes.push((edge.clone(), edge.user_list_key(*rev), true));
        }
    }
    for (rev, edge) in listed.difference(&expected) {
        let key = edge.user_list_key(*rev);
        if view.base.get(&key)?.is_some() {
            fixes.push((edge.clone(), key, false));
        }
    }
    let mut entries = Vec::new();
    if count != expected.len() as u64 {
        let by = expected.len() as i64 - count as i64;
        entries.push(Entry::AdjustTarget(target.clone(), by));
    }
    Ok((fixes, entries))
}

/// The active edges of a target, found among all of its kind.
fn all_edges(view: &View, target: &TargetRef) -> Result<Vec<(Rev, EdgeRef)>, ReadError> {
    let mut found = Vec::new();
    for stored in view.base.prefix(&[tag::EDGE, target.kind]) {
        let (key, value) = stored?;
        let (edge, state) = (EdgeRef::from_key(&key)?, decode_edge(&value)?);
        if state.active && edge.target_type == target.target_type && edge.target == target.id {
            found.push((state.rev, edge));
        }
    }
    Ok(found)
}
