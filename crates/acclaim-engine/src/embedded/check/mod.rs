//! The check: compares everything derived with the edges, and mends it.
//!
//! It moves everything into the base and then reads one snapshot of it, so it sees one moment while
//! writes go on. Edges are the truth. They are read once in user order, which gives every user's
//! numbers at once, and summed up by target into a count and an order-free fingerprint; the lists
//! and records of the targets are then held against those sums. Where there are more targets than
//! fit into memory, that is done in several passes, each over a part of the targets.
//!
//! Repairs go through the lane like any write: counts are corrected by their difference, list
//! entries are written or removed only where the edge has not changed since.

mod mend;
mod progress;
mod recover;
mod targets;
#[cfg(test)]
mod tests;
mod users;

use std::collections::HashSet;
use std::sync::Arc;

use acclaim_core::Kinds;
use acclaim_core::port::{CheckReport, Finding, Invariant};

use foldhash::fast::FixedState;

use super::base::BaseSnapshot;
use super::dictionary::Dictionary;
use super::jobs::{StepError, checkpoint};
use super::key::{EdgeRef, KindNo, TargetRef, UserRef};
use super::lane::{Command, Reply};
use super::shared::Shared;
use super::view::View;
use crate::combiner::Combiner;
use progress::Steps;

pub use progress::CheckProgress;
pub use recover::recover;

/// Findings that a report names; more are only counted.
const MAX_FINDINGS: usize = 1_000;
/// Targets and users that one check mends; another check mends the rest.
const MAX_MENDED: usize = 100_000;

const HASH: FixedState = FixedState::with_seed(0xC4EC);

/// The entries of a list, as a count and a fingerprint that does not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    hashes: u64,
}

/// One check under way.
pub struct Check {
    view: Arc<View>,
    dictionary: Arc<Dictionary>,
    kinds: Kinds,
    kind: Option<KindNo>,
    report: CheckReport,
    steps: Steps,
    /// Targets whose list or count is wrong.
    bad_targets: HashSet<TargetRef>,
    /// Users whose numbers or list are wrong.
    bad_users: HashSet<UserRef>,
}

/// Runs a check, over one kind or all, off the runtime's threads.
pub fn run(
    shared: &Shared,
    lane: &Combiner<Command, Reply>,
    repair: bool,
    kind: Option<&str>,
    progress: Arc<CheckProgress>,
) -> Result<CheckReport, StepError> {
    checkpoint(shared, lane)?;
    let dictionary = shared.dictionary.load_full();
    let kind = match kind {
        None => None,
        Some(name) => {
            let id = shared.kinds.find(name);
            let id = id.ok_or_else(|| StepError::Failed(format!("{name:?} is not a kind")))?;
            Some(dictionary.kind(id))
        }
    };
    let mut check = Check {
        view: shared.view.load_full(),
        dictionary,
        kinds: shared.kinds.clone(),
        kind,
        report: CheckReport::default(),
        steps: Steps::new(progress, shared.metrics.clone()),
        bad_targets: HashSet::new(),
        bad_users: HashSet::new(),
    };
    let sizes = check.sizes()?;
    check.steps.expect(sizes.reads(sizes.edges));
    let edges = check.users()?;
    check.steps.expect(sizes.reads(edges) - edges);
    check.targets(sizes.parts())?;
    if repair && check.report.mismatches > 0 {
        check.steps.expect(edges);
        check.mend(lane)?;
        checkpoint(shared, lane)?;
    }
    check.steps.expect(0);
    Ok(check.report)
}

impl Check {
    fn base(&self) -> &BaseSnapshot {
        &self.view.base
    }

    /// The prefix under which records of a tag are looked at.
    fn prefix(&self, tag: u8) -> Vec<u8> {
        std::iter::once(tag).chain(self.kind).collect()
    }

    fn find(&mut self, invariant: Invariant, subject: String, expected: String, found: String) {
        self.report.mismatches += 1;
        if self.report.findings.len() < MAX_FINDINGS {
            let repaired = false;
            self.report.findings.push(Finding {
                invariant,
                subject,
                expected,
                found,
                repaired,
            });
        }
    }

    fn kind_name(&self, kind: KindNo) -> String {
        match self.dictionary.kind_id(kind) {
            Some(id) => self.kinds.get(id).name.to_string(),
            None => format!("kind #{kind}"),
        }
    }

    fn show_target(&self, target: &TargetRef) -> String {
        let kind = self.kind_name(target.kind);
        match self.dictionary.type_name(target.target_type) {
            Some(name) => format!("{kind} {name}:{}", target.id),
            None => format!("{kind} type #{}:{}", target.target_type, target.id),
        }
    }

    fn show_user(&self, user: &UserRef) -> String {
        format!("{} user {}", self.kind_name(user.kind), user.id)
    }

    fn show_edge(&self, edge: &EdgeRef) -> String {
        format!(
            "{} of user {}",
            self.show_target(&edge.target_ref()),
            edge.user
        )
    }

    fn bad_target(&mut self, target: TargetRef) {
        if self.bad_targets.len() < MAX_MENDED {
            self.bad_targets.insert(target);
        }
    }

    fn bad_user(&mut self, user: UserRef) {
        if self.bad_users.len() < MAX_MENDED {
            self.bad_users.insert(user);
        }
    }
}
