//! Mends what a check found not to follow from the edges.
//!
//! Each row by itself, under the locks under which it is written otherwise, counted anew there:
//! what the check saw may have changed since. A target needs its partition's lock, so that none of
//! its edges moves; a user needs their own row's, which every transaction that moves one of their
//! edges takes before it commits. What Redis holds of a mended target is not known here: the caller
//! lets it go, or the target's next event brings the old count back.
//!
//! Counting is by bounded statements, but a large target keeps its partition locked for as long as
//! all of them take.

use acclaim_core::{Id, TargetType};

use super::apply::lock_partition;
use super::blob::UserType;
use super::check::walk::groups_of;
use super::check::{CheckStep, WrongTarget, WrongUser, mutual};
use super::dictionary::TypeNo;
use super::error::{Failure, LedgerError};
use super::fold::{TargetValue, Targets, UserValue, Users};
use super::pools::Ledger;
use super::read::TargetRef;
use super::rows;
use super::seat::pass;
use super::session::{Session, give_up};

impl WrongTarget {
    /// Which one.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] where the row holds no id.
    pub fn target(&self) -> Result<TargetRef, LedgerError> {
        Ok(TargetRef {
            kind: self.0.kind,
            target_type: self.0.target_type,
            target: self.0.target.id()?,
        })
    }
}

impl Ledger {
    /// Mends all that a step found and that follows from the edges, and says so in its report.
    /// `partition` tells in which one a target lies.
    ///
    /// # Errors
    /// [`LedgerError`]; then some of it may be mended.
    pub async fn repair(
        &self,
        step: &mut CheckStep,
        partition: impl Fn(TypeNo, &Id) -> u16,
    ) -> Result<(), LedgerError> {
        for wrong in &step.targets {
            let target = wrong.target()?;
            let partition = partition(target.target_type, &target.target);
            self.repair_target(partition, wrong).await?;
        }
        for wrong in &step.users {
            self.repair_user(wrong).await?;
        }
        step.report.repaired = step.mendable;
        for finding in &mut step.report.findings {
            finding.repaired = super::check::is_mendable(finding.invariant);
        }
        Ok(())
    }

    /// Counts a target's edges anew.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn repair_target(
        &self,
        partition: u16,
        wrong: &WrongTarget,
    ) -> Result<(), LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = target(&mut session, partition, wrong).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Counts a user's edges anew.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn repair_user(&self, wrong: &WrongUser) -> Result<(), LedgerError> {
        let user_type = self.known_type_no(&TargetType::USER).await?;
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = user(&mut session, wrong, user_type).await;
            give_up(&mut session, outcome).await
        })
        .await
    }
}

async fn target(session: &mut Session, partition: u16, wrong: &WrongTarget) -> Result<(), Failure> {
    session.begin("START TRANSACTION").await?;
    lock_partition(session, partition).await?.unless_moved()?;
    let mut targets = Targets::from([(wrong.0.clone(), TargetValue::default())]);
    rows::read_targets(session, &mut targets).await?;
    let group = groups_of(session, &wrong.0, None).await?;
    for value in targets.values_mut() {
        (value.count, value.edges) = (group.active, group.edges);
    }
    rows::write_targets(session, &targets.iter().collect::<Vec<_>>()).await?;
    pass(session, partition).await?;
    session.commit().await?;
    Ok(())
}

async fn user(
    session: &mut Session,
    wrong: &WrongUser,
    user_type: Option<TypeNo>,
) -> Result<(), Failure> {
    session.begin("START TRANSACTION").await?;
    let mut users = Users::from([(wrong.0.clone(), UserValue::default())]);
    let must_lock = users.keys().cloned().collect();
    rows::lock_users(session, &mut users, &must_lock).await?;
    let group = groups_of(session, &wrong.0, user_type).await?;
    let mutual = mutual(session, &wrong.0, &group, user_type).await?;
    for value in users.values_mut() {
        (value.given, value.mutual) = (group.active, mutual);
        for of_type in &mut value.types {
            of_type.given = 0;
        }
        for (type_no, given) in &group.by_type {
            let place = value
                .types
                .partition_point(|known| known.type_no < *type_no);
            match value.types.get_mut(place) {
                Some(known) if known.type_no == *type_no => known.given = *given,
                _ => value.types.insert(
                    place,
                    UserType {
                        type_no: *type_no,
                        given: *given,
                        days: Default::default(),
                    },
                ),
            }
        }
    }
    rows::write_users(session, &users.iter().collect::<Vec<_>>()).await?;
    session.commit().await?;
    Ok(())
}
