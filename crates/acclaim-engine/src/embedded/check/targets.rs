//! Targets: their lists and counts against their edges, which lie scattered over the users.

use acclaim_core::ReadError;
use acclaim_core::port::Invariant;
use hashbrown::HashMap;
use std::collections::{BTreeSet, HashSet};
use std::hash::BuildHasher;

use super::super::key::{EdgeRef, TargetRef, tag};
use super::super::record::{TargetRecord, decode_edge};
use super::{Check, HASH, Sum};

/// Targets that one pass holds in memory.
const TARGETS_A_PASS: u64 = 2_000_000;

/// The sums of a part of the targets, by the hash of the target. Two targets of one hash add up to
/// one sum on both sides, so a clash hides nothing but a pair of errors that cancel.
type Sums = HashMap<u64, Sum, foldhash::fast::FixedState>;

/// How much there is to check.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    targets: u64,
    /// Active edges.
    pub(super) edges: u64,
}

impl Sizes {
    /// In how many passes the targets are dealt with.
    pub(super) fn parts(self) -> u64 {
        self.targets / TARGETS_A_PASS + 1
    }

    /// Edges and list entries that a check reads where there are so many edges: all edges for the
    /// users, and all edges and lists once a pass for the targets.
    pub(super) fn reads(self, edges: u64) -> u64 {
        let a_pass = edges.saturating_add(self.edges);
        edges.saturating_add(self.parts().saturating_mul(a_pass))
    }
}

fn hash(target: &TargetRef) -> u64 {
    HASH.hash_one(target)
}

impl Check {
    /// How much there is, as far as the targets' records say.
    pub(super) fn sizes(&self) -> Result<Sizes, ReadError> {
        let mut sizes = Sizes::default();
        for stored in self.base().prefix(&self.prefix(tag::TARGET)) {
            let (count, _) = TargetRecord::decode_count(&stored?.1)?;
            sizes.targets += 1;
            sizes.edges = sizes.edges.saturating_add(count);
        }
        Ok(sizes)
    }

    /// Holds every target's list and record against the edges.
    pub(super) fn targets(&mut self, parts: u64) -> Result<(), ReadError> {
        for part in 0..parts {
            let mine = |target: &TargetRef| (hash(target) >> 32) % parts == part;
            let sums = self.sums(mine)?;
            self.lists(mine, &sums)?;
            self.records(mine, &sums)?;
        }
        Ok(())
    }

    fn sums(&self, mine: impl Fn(&TargetRef) -> bool) -> Result<Sums, ReadError> {
        let mut sums = Sums::with_hasher(HASH);
        for stored in self.base().prefix(&self.prefix(tag::EDGE)) {
            let (key, value) = stored?;
            self.steps.step();
            let state = decode_edge(&value)?;
            if !state.active {
                continue;
            }
            let edge = EdgeRef::from_key(&key)?;
            let target = edge.target_ref();
            if mine(&target) {
                sums.entry(hash(&target))
                    .or_default()
                    .add(state.rev, &edge.user);
            }
        }
        Ok(sums)
    }

    fn lists(&mut self, mine: impl Fn(&TargetRef) -> bool, sums: &Sums) -> Result<(), ReadError> {
        let view = std::sync::Arc::clone(&self.view);
        let mut listed = HashSet::new();
        let mut current: Option<(TargetRef, Sum)> = None;
        for stored in view.base.prefix(&self.prefix(tag::TARGET_LIST)) {
            let (edge, rev) = EdgeRef::from_target_list_key(&stored?.0)?;
            self.steps.step();
            let target = edge.target_ref();
            if !mine(&target) {
                continue;
            }
            self.report.checked += 1;
            if current.as_ref().is_none_or(|(known, _)| *known != target)
                && let Some((done, sum)) = current.replace((target, Sum::default()))
            {
                self.list(&done, &sum, sums);
                listed.insert(hash(&done));
            }
            if let Some((_, sum)) = &mut current {
                sum.add(rev, &edge.user);
            }
        }
        if let Some((done, sum)) = current {
            self.list(&done, &sum, sums);
            listed.insert(hash(&done));
        }
        for target in self.unseen(mine, sums, &listed)? {
            let expected = sums.get(&hash(&target)).copied().unwrap_or_default();
            self.wrong_list(&target, expected, Sum::default());
        }
        Ok(())
    }

    fn list(&mut self, target: &TargetRef, sum: &Sum, sums: &Sums) {
        let expected = sums.get(&hash(target)).copied().unwrap_or_default();
        if expected != *sum {
            self.wrong_list(target, expected, *sum);
        }
    }

    fn wrong_list(&mut self, target: &TargetRef, expected: Sum, found: Sum) {
        let entries = |sum: Sum| format!("{} entries", sum.count);
        let subject = self.show_target(target);
        self.find(
            Invariant::TargetList,
            subject,
            entries(expected),
            entries(found),
        );
        self.bad_target(target.clone());
    }

    fn records(&mut self, mine: impl Fn(&TargetRef) -> bool, sums: &Sums) -> Result<(), ReadError> {
        let view = std::sync::Arc::clone(&self.view);
        let mut seen = HashSet::new();
        for stored in view.base.prefix(&self.prefix(tag::TARGET)) {
            let (key, value) = stored?;
            let target = TargetRef::from_key(&key)?;
            if !mine(&target) {
                continue;
            }
            self.report.checked += 1;
            let (count, _) = TargetRecord::decode_count(&value)?;
            let expected = sums.get(&hash(&target)).map_or(0, |sum| sum.count);
            seen.insert(hash(&target));
            if count != expected {
                let subject = self.show_target(&target);
                let (expected, found) = (expected.to_string(), count.to_string());
                self.find(Invariant::TargetCount, subject, expected, found);
                self.bad_target(target);
            }
        }
        for target in self.unseen(mine, sums, &seen)? {
            let expected = sums.get(&hash(&target)).map_or(0, |sum| sum.count);
            let subject = self.show_target(&target);
            self.find(
                Invariant::TargetCount,
                subject,
                expected.to_string(),
                "none".to_owned(),
            );
            self.bad_target(target);
        }
        Ok(())
    }

    /// Targets that have edges and are not among those seen. Walks the edges only if there are any.
    fn unseen(
        &self,
        mine: impl Fn(&TargetRef) -> bool,
        sums: &Sums,
        seen: &HashSet<u64>,
    ) -> Result<BTreeSet<TargetRef>, ReadError> {
        let mut found = BTreeSet::new();
        if sums.keys().all(|target| seen.contains(target)) {
            return Ok(found);
        }
        for stored in self.base().prefix(&self.prefix(tag::EDGE)) {
            let target = EdgeRef::from_key(&stored?.0)?.target_ref();
            let hash = hash(&target);
            if mine(&target) && sums.contains_key(&hash) && !seen.contains(&hash) {
                found.insert(target);
            }
        }
        Ok(found)
    }
}
