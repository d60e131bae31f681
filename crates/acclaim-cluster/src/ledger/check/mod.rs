//! Holds what follows from the edges against the edges, step by step.
//!
//! | What | must equal |
//! |---|---|
//! | `targets.count`, `targets.edges` | the target's active edges, its rows |
//! | `users.given`, by type too | the user's active edges, by type |
//! | `users.mutual` | the user's active edges to others whose edge back is active |
//! | `edges.user_hash` | the hash of its user |
//! | kinds that exclude each other | never both active for one user and target |
//!
//! Days, pulses and active days are not checked: they tell of transitions, and the edges tell of
//! the last one only.
//!
//! A step reads one consistent snapshot, a bounded number of rows, and says where to go on
//! ([`CheckPlace`], which can be kept as text). A batch is applied in one transaction, so what a
//! snapshot shows is not half of anything: a finding is one, however busy the store is. Only a
//! target or a user with more edges than a step reads takes a longer one, by many bounded
//! statements.
//!
//! What can be mended is what follows from the edges ([`super::repair`]). Two kinds that are both
//! active are not: that is a matter of transitions, and an unset decides it.

mod place;
pub(super) mod walk;

use std::collections::BTreeMap;

use acclaim_core::TargetType;
use acclaim_core::port::{CheckReport, Finding, Invariant};
use sqlx::Row;

use place::Place;
pub use place::{BadPlace, CheckPlace};
use walk::{Group, groups_after};

use super::blob::read_types;
use super::codec::rev_at;
use super::dictionary::{KindNo, TypeNo};
use super::error::{Failure, LedgerError};
use super::event::{EdgeRow, TargetRow, UserRow};
use super::journals::checks::MAX_FINDINGS;
use super::pools::Ledger;
use super::read::export;
use super::rows::{edge_parts, edge_row, edges_by_key, key};
use super::session::{Session, give_up};

/// Rows of targets or users that one step compares, at most.
pub const MAX_STEP_ROWS: usize = 2_000;
/// Edges that one step reads before it stops at the next target or user.
pub const MAX_STEP_EDGES: usize = 20_000;

/// What is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckSpec {
    /// Pairs of kinds that are never both active for one user and target. Each pair once.
    pub exclusions: Vec<(KindNo, KindNo)>,
}

/// What a step found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckStep {
    /// What was compared and found wrong.
    pub report: CheckReport,
    /// The targets that are wrong and can be mended.
    pub targets: Vec<WrongTarget>,
    /// The users that are wrong and can be mended.
    pub users: Vec<WrongUser>,
    /// Mismatches that can be mended.
    pub mendable: u64,
    /// Where to go on, or `None` at the end.
    pub next: Option<CheckPlace>,
}

/// A target whose row does not follow from its edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongTarget(pub(super) TargetRow);

/// A user whose row does not follow from their edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongUser(pub(super) UserRow);

impl Ledger {
    /// Checks what comes next after `from`.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn check_step(
        &self,
        spec: &CheckSpec,
        from: &CheckPlace,
    ) -> Result<CheckStep, LedgerError> {
        let user_type = self.known_type_no(&TargetType::USER).await?;
        let raw = self
            .retried(|| async move {
                let mut session = self.reading().await?;
                let outcome = step(&mut session, spec, from, user_type).await;
                give_up(&mut session, outcome).await
            })
            .await?;
        let mut step = CheckStep {
            next: raw.next.map(CheckPlace),
            ..CheckStep::default()
        };
        step.report.checked = raw.checked;
        for wrong in raw.wrong {
            let subject = self.subject(&wrong.subject).await?;
            step.report.mismatches += 1;
            step.mendable += u64::from(is_mendable(wrong.invariant));
            match wrong.subject {
                Subject::Target(target) => step.targets.push(WrongTarget(target)),
                Subject::User(user) => step.users.push(WrongUser(user)),
                Subject::Edge(_) => {}
            }
            if step.report.findings.len() < MAX_FINDINGS {
                step.report.findings.push(Finding {
                    invariant: wrong.invariant,
                    subject,
                    expected: wrong.expected,
                    found: wrong.found,
                    repaired: false,
                });
            }
        }
        step.targets.dedup();
        step.users.dedup();
        Ok(step)
    }

    /// A subject in words: `likes POST:123`.
    async fn subject(&self, subject: &Subject) -> Result<String, LedgerError> {
        let (kind, type_no) = match subject {
            Subject::Target(target) => (target.kind, Some(target.target_type)),
            Subject::User(user) => (user.kind, None),
            Subject::Edge(edge) => (edge.kind, Some(edge.target_type)),
        };
        let kind = self
            .kind_name(kind)
            .await?
            .unwrap_or_else(|| format!("kind number {}", kind.0));
        let type_name = match type_no {
            Some(no) => self
                .type_name(no)
                .await?
                .map_or_else(|| format!("type number {}", no.0), |name| name.to_string()),
            None => String::new(),
        };
        Ok(match subject {
            Subject::Target(target) => format!("{kind} {type_name}:{:?}", target.target),
            Subject::User(user) => format!("{kind} by {:?}", user.user),
            Subject::Edge(edge) => {
                format!("{kind} {type_name}:{:?} by {:?}", edge.target, edge.user)
            }
        })
    }
}

/// Whether what is wrong follows from the edges.
pub(super) fn is_mendable(invariant: Invariant) -> bool {
    matches!(
        invariant,
        Invariant::TargetCount | Invariant::UserCount | Invariant::MutualCount
    )
}

#[derive(Clone, Debug)]
enum Subject {
    Target(TargetRow),
    User(UserRow),
    Edge(EdgeRow),
}

struct Wrong {
    invariant: Invariant,
    subject: Subject,
    expected: String,
    found: String,
}

#[derive(Default)]
struct Raw {
    checked: u64,
    wrong: Vec<Wrong>,
    next: Option<Place>,
}

impl Raw {
    fn compare(&mut self, invariant: Invariant, subject: Subject, expected: String, found: String) {
        if expected != found {
            self.wrong.push(Wrong {
                invariant,
                subject,
                expected,
                found,
            });
        }
    }
}

async fn step(
    session: &mut Session,
    spec: &CheckSpec,
    from: &CheckPlace,
    user_type: Option<TypeNo>,
) -> Result<Raw, Failure> {
    session
        .begin("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        .await?;
    let raw = match &from.0 {
        Place::Targets(after) => targets(session, after.as_ref()).await?,
        Place::Users(after) => users(session, after.as_ref(), user_type).await?,
        Place::Exclusions(pair, after) => exclusions(session, spec, *pair, after.as_ref()).await?,
    };
    session.commit().await?;
    Ok(raw)
}

async fn targets(session: &mut Session, after: Option<&TargetRow>) -> Result<Raw, Failure> {
    let mut raw = Raw::default();
    let mut rows: BTreeMap<TargetRow, (u64, u64)> = BTreeMap::new();
    let found = session.all(walk::targets_after(after)).await?;
    for row in &found {
        let target = TargetRow {
            kind: KindNo(row.try_get(0)?),
            target_type: TypeNo(row.try_get(1)?),
            target: key(row, 2)?,
        };
        rows.insert(target, (rev_at(row.try_get(3)?).0, row.try_get(4)?));
    }
    let is_full = found.len() == MAX_STEP_ROWS;
    let mut end = rows.keys().next_back().filter(|_| is_full).cloned();
    let mut groups = BTreeMap::new();
    let stopped = groups_after(session, after, end.as_ref(), None, &mut groups).await?;
    end = stopped.or(end);
    rows.retain(|target, _| end.as_ref().is_none_or(|end| target <= end));
    for target in rows.keys() {
        groups.entry(target.clone()).or_insert_with(Group::default);
    }
    for (target, group) in groups {
        let (count, edges) = rows.get(&target).copied().unwrap_or_default();
        raw.checked += 1;
        let expected = format!("{} active of {} edges", group.active, group.edges);
        let found = format!("{count} active of {edges} edges");
        let subject = Subject::Target(target);
        raw.compare(Invariant::TargetCount, subject, expected, found);
        for (edge, hash) in group.misplaced {
            let (expected, found) = (format!("hash {}", edge.user_hash), format!("hash {hash}"));
            raw.compare(Invariant::Record, Subject::Edge(edge), expected, found);
        }
    }
    raw.next = Some(match end {
        Some(end) => Place::Targets(Some(end)),
        None => Place::Users(None),
    });
    Ok(raw)
}

async fn users(
    session: &mut Session,
    after: Option<&UserRow>,
    user_type: Option<TypeNo>,
) -> Result<Raw, Failure> {
    let mut raw = Raw::default();
    let mut rows = BTreeMap::new();
    let found = session.all(walk::users_after(after)).await?;
    for row in &found {
        let user = UserRow {
            kind: KindNo(row.try_get(0)?),
            user: key(row, 1)?,
        };
        let mut value = Given {
            given: row.try_get(2)?,
            mutual: row.try_get(3)?,
            by_type: BTreeMap::new(),
        };
        for of_type in read_types(row.try_get(4)?)? {
            if of_type.given > 0 {
                value.by_type.insert(of_type.type_no, of_type.given);
            }
        }
        rows.insert(user, value);
    }
    let is_full = found.len() == MAX_STEP_ROWS;
    let mut end = rows.keys().next_back().filter(|_| is_full).cloned();
    let mut groups = BTreeMap::new();
    let stopped = groups_after(session, after, end.as_ref(), user_type, &mut groups).await?;
    end = stopped.or(end);
    rows.retain(|user, _| end.as_ref().is_none_or(|end| user <= end));
    for user in rows.keys() {
        groups.entry(user.clone()).or_insert_with(Group::default);
    }
    for (user, group) in groups {
        let found = rows.remove(&user).unwrap_or_default();
        let mutual = mutual(session, &user, &group, user_type).await?;
        raw.checked += 1;
        let expected = Given {
            given: group.active,
            mutual,
            by_type: group.by_type,
        };
        let subject = || Subject::User(user.clone());
        let (ours, theirs) = (expected.in_words(), found.in_words());
        raw.compare(Invariant::UserCount, subject(), ours, theirs);
        let (ours, theirs) = (expected.mutual.to_string(), found.mutual.to_string());
        raw.compare(Invariant::MutualCount, subject(), ours, theirs);
    }
    raw.next = Some(match end {
        Some(end) => Place::Users(Some(end)),
        None => Place::Exclusions(0, None),
    });
    Ok(raw)
}

/// What a user did, as their row should say.
#[derive(Default)]
pub(super) struct Given {
    pub given: u64,
    pub mutual: u64,
    pub by_type: BTreeMap<TypeNo, u64>,
}

impl Given {
    fn in_words(&self) -> String {
        let types = self.by_type.iter();
        let types = types.map(|(type_no, given)| format!("{given} of type {}", type_no.0));
        let types: Vec<String> = types.collect();
        format!("{} ({})", self.given, types.join(", "))
    }
}

/// How many of a user's active edges to other users are answered by an active edge back.
pub(super) async fn mutual(
    session: &mut Session,
    user: &UserRow,
    group: &Group,
    user_type: Option<TypeNo>,
) -> Result<u64, Failure> {
    let Some(target_type) = user_type else {
        return Ok(0);
    };
    let back: Vec<EdgeRow> = group
        .users
        .iter()
        .map(|other| EdgeRow::new(user.kind, target_type, user.user.clone(), other.clone()))
        .collect();
    let mut mutual = 0;
    for part in edge_parts(&back.iter().collect::<Vec<_>>()) {
        for row in session.all(edges_by_key(&part)).await? {
            mutual += u64::from(row.try_get::<bool, _>(5)?);
        }
    }
    Ok(mutual)
}

async fn exclusions(
    session: &mut Session,
    spec: &CheckSpec,
    pair: usize,
    after: Option<&EdgeRow>,
) -> Result<Raw, Failure> {
    let mut raw = Raw::default();
    let Some((kind, other)) = spec.exclusions.get(pair).copied() else {
        return Ok(raw);
    };
    let rows = session
        .all(export::next(kind, after, MAX_STEP_ROWS))
        .await?;
    let mut active = BTreeMap::new();
    let mut last = None;
    for row in &rows {
        let edge = edge_row(row)?;
        if row.try_get(5)? {
            active.insert(edge.clone(), rev_at(row.try_get(6)?));
        }
        last = Some(edge);
    }
    raw.checked = active.len() as u64;
    let under = |edge: &EdgeRow, kind| EdgeRow {
        kind,
        ..edge.clone()
    };
    let others: Vec<EdgeRow> = active.keys().map(|edge| under(edge, other)).collect();
    for part in edge_parts(&others.iter().collect::<Vec<_>>()) {
        for row in session.all(edges_by_key(&part)).await? {
            let theirs = rev_at(row.try_get(6)?);
            let edge = under(&edge_row(&row)?, kind);
            let ours = active.get(&edge).copied().unwrap_or_default();
            if row.try_get(5)? {
                raw.wrong.push(Wrong {
                    invariant: Invariant::Exclusion,
                    subject: Subject::Edge(edge),
                    expected: format!("not under kind number {} too", other.0),
                    found: format!("both active, since {} and {}", ours.0, theirs.0),
                });
            }
        }
    }
    raw.next = if rows.len() == MAX_STEP_ROWS {
        Some(Place::Exclusions(pair, last))
    } else {
        Some(Place::Exclusions(pair + 1, None)).filter(|_| pair + 1 < spec.exclusions.len())
    };
    Ok(raw)
}
