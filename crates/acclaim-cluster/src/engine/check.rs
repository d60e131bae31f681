//! Comparing what follows from the edges with the edges: in the ledger, then in Redis.
//!
//! The ledger's edges are the truth once it has every transition. What Redis holds of a target is
//! compared only while both have the same last transition of it, looked at before and after, so a
//! check beside writes finds nothing that is only under way. What Redis does not hold is loaded
//! from the ledger when it is needed, so there is nothing to compare.

use std::sync::Arc;

use acclaim_core::error::JobError;
use acclaim_core::port::{CheckReport, Count, Finding, Invariant};
use acclaim_core::{Id, KindId, ReadError, Start};

use super::errors::{read_error, unavailable};
use super::names::target_ref;
use super::shared::Shared;
use crate::ledger::check::{CheckPlace, CheckSpec, CheckStep};
use crate::ledger::journals::checks::MAX_FINDINGS;
use crate::ledger::{KindNo, TypeNo};
use crate::redis::keys::TargetName;
use crate::redis::read::{Asked, Found};

/// Targets looked at together.
const STEP_TARGETS: usize = 500;
/// Edges of one target looked at together.
const STEP_EDGES: usize = 500;

impl Shared {
    /// See [`acclaim_core::port::Admin::check`].
    pub async fn check(self: &Arc<Self>, repair: bool) -> Result<CheckReport, JobError> {
        self.ledger_has_everything().await?;
        let mut report = CheckReport::default();
        self.check_ledger(&mut report, repair).await?;
        for (kind, _) in self.names.kinds() {
            self.check_redis(kind, &mut report, repair).await?;
        }
        let written = self.notes().write_check(&report).await;
        written.map_err(|error| JobError::Write(unavailable(&error)))?;
        Ok(report)
    }

    /// What the ledger's own rows say, step by step.
    async fn check_ledger(
        self: &Arc<Self>,
        report: &mut CheckReport,
        repair: bool,
    ) -> Result<(), JobError> {
        let spec = CheckSpec {
            exclusions: self.exclusions(),
        };
        let mut from = Some(CheckPlace::default());
        while let Some(place) = from {
            let step = self.ledger.check_step(&spec, &place).await;
            let mut step = step.map_err(read_error)?;
            if repair {
                self.repair(&mut step).await?;
            }
            report.checked += step.report.checked;
            report.mismatches += step.report.mismatches;
            report.repaired += step.report.repaired;
            let room = MAX_FINDINGS.saturating_sub(report.findings.len());
            report
                .findings
                .extend(step.report.findings.into_iter().take(room));
            from = step.next;
        }
        Ok(())
    }

    /// Each pair of kinds that exclude each other, once.
    fn exclusions(&self) -> Vec<(KindNo, KindNo)> {
        let pairs = self.kinds.iter().flat_map(|(kind, _)| {
            let others = self.kinds.excluded_by(kind).iter();
            others
                .filter(move |other| kind < **other)
                .map(move |other| (kind, *other))
        });
        pairs
            .map(|(one, other)| (self.names.kind_no(one), self.names.kind_no(other)))
            .collect()
    }

    /// Mends what a step found. A target is dropped from Redis and loaded again behind it.
    async fn repair(self: &Arc<Self>, step: &mut CheckStep) -> Result<(), JobError> {
        let partitions = self.store.partitions;
        let partition = |type_no: TypeNo, id: &Id| {
            let name = TargetName {
                kind: 0,
                target_type: type_no.0,
                id: id.clone(),
            };
            name.partition(partitions)
        };
        self.ledger
            .repair(step, partition)
            .await
            .map_err(read_error)?;
        for wrong in &step.targets {
            let target = wrong.target().map_err(read_error)?;
            let name = TargetName {
                kind: target.kind.0,
                target_type: target.target_type.0,
                id: target.target,
            };
            self.recover_target(&name).await?;
        }
        Ok(())
    }

    /// What Redis holds of the targets of a kind.
    async fn check_redis(
        self: &Arc<Self>,
        kind: KindId,
        report: &mut CheckReport,
        repair: bool,
    ) -> Result<(), JobError> {
        let kind_no = self.names.kind_no(kind);
        let mut after = None;
        loop {
            let page = self
                .ledger
                .targets_of_kind(kind_no, after.as_ref(), STEP_TARGETS);
            let page = page.await.map_err(read_error)?;
            let names: Vec<TargetName> = page
                .iter()
                .map(|target| TargetName {
                    kind: target.kind.0,
                    target_type: target.target_type.0,
                    id: target.target.clone(),
                })
                .collect();
            let recorded = self.ledger.target_counts(&page).await.map_err(read_error)?;
            let held = self.in_lives_of_now(|| self.held(&names)).await?;
            for ((name, recorded), held) in names.iter().zip(recorded).zip(held) {
                // Another last transition: one of both is newer than the other was asked.
                let Some(held) = held.filter(|held| held.rev == recorded.rev) else {
                    continue;
                };
                let found = self.compare_held(name, recorded, held, report).await?;
                let Some(mut finding) = found else { continue };
                if repair {
                    self.recover_target(name).await?;
                    finding.repaired = true;
                }
                note(report, finding);
            }
            after = page.into_iter().next_back();
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// The counts of those targets that Redis holds; nothing is loaded.
    async fn held(&self, names: &[TargetName]) -> Result<Vec<Option<Count>>, ReadError> {
        let asked = names.iter().map(|name| {
            let partition = self.partition(name.partition(self.store.partitions));
            (partition, vec![(name.clone(), None)])
        });
        let asked: Vec<Asked> = asked.collect();
        let found = self.redis.read_many(&asked).await.into_iter();
        found
            .map(|found| match found.map_err(read_error)?.pop() {
                Some(Found::Here { count, .. }) => Ok(Some(count)),
                _ => Ok(None),
            })
            .collect()
    }

    /// Compares what Redis holds of one target with the ledger.
    async fn compare_held(
        &self,
        name: &TargetName,
        recorded: Count,
        held: Count,
        report: &mut CheckReport,
    ) -> Result<Option<Finding>, ReadError> {
        report.checked += 1;
        if held.count != recorded.count {
            let (expected, found) = (recorded.count.to_string(), held.count.to_string());
            let invariant = Invariant::TargetCount;
            return Ok(Some(self.finding(invariant, name, expected, found).await?));
        }
        let mut start = Start::top();
        loop {
            let page = self
                .ledger
                .users_of(&target_ref(name), &start, STEP_EDGES)
                .await;
            let page = page.map_err(read_error)?.page;
            let users = page.entries.iter();
            let edges: Vec<_> = users
                .map(|entry| (name.clone(), Some(entry.key.clone())))
                .collect();
            let read = || async {
                let partition = self.partition(name.partition(self.store.partitions));
                let found = self.redis.read(partition, &edges).await;
                found.map_err(read_error)
            };
            let found = self.in_lives_of_now(read).await?;
            for (entry, found) in page.entries.iter().zip(found) {
                let Found::Here { status, count } = found else {
                    continue;
                };
                if count.rev != held.rev {
                    return Ok(None);
                }
                report.checked += 1;
                if !status.edge.active || status.edge.rev != entry.at {
                    let expected = format!("user {} since {}", entry.key, entry.at.0);
                    let found = match status.edge.active {
                        true => format!("since {}", status.edge.rev.0),
                        false => "not active".to_owned(),
                    };
                    let invariant = Invariant::TargetList;
                    return Ok(Some(self.finding(invariant, name, expected, found).await?));
                }
            }
            match page.next {
                Some(next) => start = Start::After(next),
                None => return Ok(None),
            }
        }
    }

    async fn finding(
        &self,
        invariant: Invariant,
        name: &TargetName,
        expected: String,
        found: String,
    ) -> Result<Finding, ReadError> {
        let kind = self.ledger.kind_name(KindNo(name.kind)).await;
        let target_type = self.ledger.type_name(TypeNo(name.target_type)).await;
        let kind = kind.map_err(read_error)?.unwrap_or_default();
        let target_type = target_type.map_err(read_error)?;
        let target_type = target_type.map(|name| name.to_string()).unwrap_or_default();
        Ok(Finding {
            invariant,
            subject: format!("{kind} {target_type}:{} in Redis", name.id),
            expected,
            found,
            repaired: false,
        })
    }
}

fn note(report: &mut CheckReport, finding: Finding) {
    report.mismatches += 1;
    report.repaired += u64::from(finding.repaired);
    if report.findings.len() < MAX_FINDINGS {
        report.findings.push(finding);
    }
}
