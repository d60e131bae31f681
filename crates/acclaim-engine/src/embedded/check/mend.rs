//! Mending what a check found: from the edges, through the lane.

use std::collections::{BTreeMap, BTreeSet};

use acclaim_core::port::Invariant;
use acclaim_core::{ReadError, Rev};

use super::super::jobs::{StepError, commit};
use super::super::key::{EdgeRef, Key, TargetRef, TypeNo, UserRef, tag};
use super::super::lane::{Command, Reply};
use super::super::log::{Entry, UserAdjustment};
use super::super::record::{TargetRecord, decode_edge};
use super::Check;
use crate::combiner::Combiner;

/// List entries written or removed in one commit.
const ENTRIES_A_COMMIT: usize = 1_000;

/// A list entry that is missing (`true`) or too much.
pub(super) type Fix = (EdgeRef, Key, bool);

impl Check {
    /// Mends the targets and users that were found wrong.
    pub(super) fn mend(&mut self, lane: &Combiner<Command, Reply>) -> Result<(), StepError> {
        let mut fixes = Vec::new();
        let mut entries = Vec::new();
        self.mend_targets(&mut fixes, &mut entries)?;
        for user in &self.bad_users {
            self.mend_user(user, &mut fixes, &mut entries)?;
        }
        write(lane, &fixes, &entries)?;
        for finding in &mut self.report.findings {
            // Which of two that exclude each other is meant, only a person can say; and what does
            // not read cannot be derived.
            finding.repaired =
                !matches!(finding.invariant, Invariant::Exclusion | Invariant::Record);
        }
        let left = self
            .report
            .findings
            .iter()
            .filter(|finding| !finding.repaired)
            .count();
        self.report.repaired = self.report.mismatches - left as u64;
        Ok(())
    }

    fn mend_targets(
        &self,
        fixes: &mut Vec<Fix>,
        entries: &mut Vec<Entry>,
    ) -> Result<(), ReadError> {
        if self.bad_targets.is_empty() {
            return Ok(());
        }
        let mut edges: BTreeMap<TargetRef, BTreeSet<(Rev, EdgeRef)>> = self
            .bad_targets
            .iter()
            .map(|target| (target.clone(), BTreeSet::new()))
            .collect();
        for stored in self.base().prefix(&self.prefix(tag::EDGE)) {
            let (key, value) = stored?;
            self.steps.step();
            let (edge, state) = (EdgeRef::from_key(&key)?, decode_edge(&value)?);
            if let (true, Some(known)) = (state.active, edges.get_mut(&edge.target_ref())) {
                known.insert((state.rev, edge));
            }
        }
        for (target, expected) in edges {
            let mut listed = BTreeSet::new();
            for stored in self.base().prefix(&target.list_prefix()) {
                let (edge, rev) = EdgeRef::from_target_list_key(&stored?.0)?;
                listed.insert((rev, edge));
            }
            difference(&expected, &listed, EdgeRef::target_list_key, fixes);
            let count = match self.base().get(&target.key())? {
                Some(bytes) => TargetRecord::decode_count(&bytes)?.0,
                None => 0,
            };
            if count != expected.len() as u64 {
                entries.push(Entry::AdjustTarget(
                    target,
                    expected.len() as i64 - count as i64,
                ));
            }
        }
        Ok(())
    }

    fn mend_user(
        &self,
        user: &UserRef,
        fixes: &mut Vec<Fix>,
        entries: &mut Vec<Entry>,
    ) -> Result<(), ReadError> {
        let record = self.view.base_user(user)?;
        let mut given: BTreeMap<TypeNo, i64> = record
            .types
            .iter()
            .map(|t| (t.target_type, -(t.given as i64)))
            .collect();
        let (mut edges, mut mutual) = (-(record.edges as i64), -(record.mutual as i64));
        let mut expected = BTreeSet::new();
        for stored in self.base().prefix(&user.edges_prefix()) {
            let (key, value) = stored?;
            let (edge, state) = (EdgeRef::from_key(&key)?, decode_edge(&value)?);
            edges += 1;
            if state.active {
                *given.entry(edge.target_type).or_default() += 1;
                mutual += i64::from(self.is_mutual(&edge)?);
                expected.insert((state.rev, edge));
            }
        }
        let of_all = UserAdjustment {
            edges,
            mutual,
            ..UserAdjustment::default()
        };
        if edges != 0 || mutual != 0 {
            entries.push(Entry::AdjustUser(user.clone(), of_all));
        }
        for (target_type, given) in given.into_iter().filter(|(_, given)| *given != 0) {
            let by = UserAdjustment {
                target_type,
                given,
                ..UserAdjustment::default()
            };
            entries.push(Entry::AdjustUser(user.clone(), by));
        }
        if record.indexed {
            let mut prefix = user.key();
            prefix[0] = tag::USER_LIST;
            let mut listed = BTreeSet::new();
            for stored in self.base().prefix(&prefix) {
                let (edge, rev) = EdgeRef::from_user_list_key(&stored?.0)?;
                listed.insert((rev, edge));
            }
            difference(&expected, &listed, EdgeRef::user_list_key, fixes);
        }
        Ok(())
    }
}

/// Commits repairs.
pub(super) fn write(
    lane: &Combiner<Command, Reply>,
    fixes: &[Fix],
    entries: &[Entry],
) -> Result<(), StepError> {
    for chunk in entries.chunks(ENTRIES_A_COMMIT) {
        let chunk = chunk.to_vec();
        commit(lane, move |work| {
            chunk.into_iter().try_for_each(|entry| work.enter(entry))
        })?;
    }
    for chunk in fixes.chunks(ENTRIES_A_COMMIT) {
        let chunk = chunk.to_vec();
        commit(lane, move |work| {
            for (edge, key, missing) in chunk {
                // An edge that changed since moves its entry by itself.
                if !work.view().overrides_base(&edge) {
                    work.note(key, missing.then(Vec::new));
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

pub(super) fn difference(
    expected: &BTreeSet<(Rev, EdgeRef)>,
    listed: &BTreeSet<(Rev, EdgeRef)>,
    key: fn(&EdgeRef, Rev) -> Key,
    fixes: &mut Vec<Fix>,
) {
    for (rev, edge) in expected.difference(listed) {
        fixes.push((edge.clone(), key(edge, *rev), true));
    }
    for (rev, edge) in listed.difference(expected) {
        fixes.push((edge.clone(), key(edge, *rev), false));
    }
}
