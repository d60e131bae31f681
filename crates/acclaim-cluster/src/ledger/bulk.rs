//! Imports straight into the ledger: edges with the time they were set at, thousands in one
//! transaction, decided here and not in Redis.
//!
//! The rule is that of an import anywhere ([`EdgeState::after`], exclusions as in
//! [`acclaim_core::edge::decide`]): an edge that is there already stays as it is, and an import
//! gives way to any transition of its edge that is as new or newer. A property test holds it
//! against the model. Nothing goes into the journal: no event tells of these edges.
//!
//! # Beside a running worker
//! Deciding and writing happen in one transaction under the partition's lock, and nothing that was
//! read before it is relied upon. So no fence is asked for: whoever holds the lease, its batches
//! come wholly before or wholly after. The epoch must be the ledger's, for what follows hangs on
//! the Redis of that epoch.
//!
//! # What Redis may hold meanwhile
//! An event carries "the count after it", and Redis counts from what it loaded. So a target that
//! Redis holds must not be changed here: its next event would write the count without the imported
//! edges. **Only cold targets are imported this way**, and they must stay cold until the
//! transaction has ended. The caller, for every target under every kind of the batch and under the
//! kinds that those exclude:
//!
//! 1. takes the token that a load takes. It is given only while the record is missing, and while
//!    it is held no load installs one. A record that is there, with all its events in the ledger
//!    (`#r` not above `:d`), is unlinked first, with its buckets and its list; also one that says
//!    "nothing here", which a mere read leaves behind. A record with events that the ledger does
//!    not have yet is hot: those edges go the ordinary way, as sets with `at`;
//! 2. calls [`Ledger::import_bulk`] with a time limit that is shorter than the tokens live, by at
//!    least the time that one statement may take ([`super::Bounds`]);
//! 3. gives the tokens back. Whoever loads now reads the imported edges.
//!
//! A missing record means that the ledger has all events of the target (a key with others never
//! expires and is never evicted), so what is decided from the rows is decided from the truth. And
//! no event of it can come in between, since nothing is decided on a missing record.
//!
//! # The place in the journal
//! A target's `seq` becomes the partition's `applied` where it was lower. It may not be higher: a
//! load is refused while the ledger says more than Redis knows to be in it, and an event with a
//! lower place than the target's would not be counted. Every event to come has a higher one.
//!
//! The times of the edges may be any; what is older than the record of activity reaches back is in
//! the lists, the counts and the days, and in no ranking of a window.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use acclaim_core::{Action, EdgeState, Id, Rev, TargetType};
use parking_lot::Mutex;

use super::apply::{UsersSide, lock_partition};
use super::codec::IdKey;
use super::dictionary::{KindNo, TypeNo};
use super::error::{Failure, LedgerError};
use super::event::EdgeRow;
use super::fold::{EdgeValue, Edges, Flip, TargetValue, Targets};
use super::pools::Ledger;
use super::rows;
use super::seat::pass;
use super::session::{Session, give_up};
use crate::failpoint;

/// Edges in one call. More make a call longer, and everything else of the partition waits for it.
pub const MAX_BULK_EDGES: usize = 10_000;

/// Which kinds a set of a kind unsets on the same target.
pub type Excludes = BTreeMap<KindNo, Vec<KindNo>>;

/// An edge to be set, in the ledger's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkEdge {
    /// The relation.
    pub kind: KindNo,
    /// The target's class.
    pub target_type: TypeNo,
    /// The target's id inside its class.
    pub target: Id,
    /// Who did it.
    pub user: Id,
    /// When: the edge's rev and its place in the lists.
    pub at: Rev,
}

/// Edges whose targets lie in one partition and are cold.
#[derive(Clone, Copy, Debug)]
pub struct Bulk<'a> {
    /// The partition of all their targets.
    pub partition: u16,
    /// The epoch in which they were found cold.
    pub epoch: u32,
    /// At most [`MAX_BULK_EDGES`], decided in this order.
    pub edges: &'a [BulkEdge],
    /// The kinds that exclude each other.
    pub excludes: &'a Excludes,
    /// The time: what is long past counts in no ranking of a window.
    pub now: Rev,
    /// After this nothing is committed any more.
    pub limit: Duration,
}

/// What became of a bulk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Edges that were set.
    pub set: u64,
    /// Edges that were there, or gave way to what is newer.
    pub unchanged: u64,
}

/// What is decided, before it is written.
struct Decided {
    edges: Edges,
    targets: Targets,
    flips: Vec<Flip>,
    imported: Imported,
}

impl Ledger {
    /// Sets edges of cold targets. May be called again with the same.
    ///
    /// # Errors
    /// [`LedgerError::TooMany`] for more than [`MAX_BULK_EDGES`]; [`LedgerError::Refused`] for
    /// kinds, types and times that no row may have; [`LedgerError::FutureEpoch`] when the ledger is
    /// in another epoch; [`LedgerError::TooLate`] after the limit. After
    /// [`LedgerError::Unavailable`] it is in the ledger or not, and is to be given again.
    pub async fn import_bulk(&self, bulk: &Bulk<'_>) -> Result<Imported, LedgerError> {
        self.check_bulk(bulk).await?;
        let user_type = self.known_type_no(&TargetType::USER).await?;
        let began = Instant::now();
        let unsure = Mutex::new(None);
        let unsure = &unsure;
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let users = (user_type, self.shared.counters.is_cautious());
            let outcome = attempt(&mut session, bulk, users, began, unsure).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    async fn check_bulk(&self, bulk: &Bulk<'_>) -> Result<(), LedgerError> {
        let given = bulk.edges.len();
        if given > MAX_BULK_EDGES {
            return Err(LedgerError::TooMany {
                what: "edges of an import",
                given,
                limit: MAX_BULK_EDGES,
            });
        }
        let mut kinds: Vec<KindNo> = bulk.edges.iter().map(|edge| edge.kind).collect();
        let mut types: Vec<TypeNo> = bulk.edges.iter().map(|edge| edge.target_type).collect();
        kinds.extend(bulk.excludes.values().flatten());
        kinds.sort_unstable();
        kinds.dedup();
        types.sort_unstable();
        types.dedup();
        let refused = |what: &str, no| format!("{what} number {no} was never given");
        for kind in kinds {
            if self.kind_name(kind).await?.is_none() {
                return Err(LedgerError::Refused(refused("kind", kind.0)));
            }
        }
        for type_no in types {
            if self.type_name(type_no).await?.is_none() {
                return Err(LedgerError::Refused(refused("target type", type_no.0)));
            }
        }
        let allowed = 1..=Rev::MAX.0;
        match bulk.edges.iter().find(|edge| !allowed.contains(&edge.at.0)) {
            Some(edge) => Err(LedgerError::Refused(format!(
                "the time {} is outside 1 to {}",
                edge.at.0,
                Rev::MAX.0
            ))),
            None => Ok(()),
        }
    }
}

async fn attempt(
    session: &mut Session,
    bulk: &Bulk<'_>,
    (user_type, is_cautious): (Option<TypeNo>, bool),
    began: Instant,
    unsure: &Mutex<Option<Imported>>,
) -> Result<Imported, Failure> {
    let late = || began.elapsed() >= bulk.limit;
    if late() {
        return Err(LedgerError::TooLate(bulk.limit).into());
    }
    session.begin("START TRANSACTION").await?;
    let locked = lock_partition(session, bulk.partition)
        .await?
        .unless_moved()?;
    if locked.epoch != bulk.epoch {
        let (batch, ledger) = (bulk.epoch, locked.epoch);
        return Err(LedgerError::FutureEpoch { batch, ledger }.into());
    }
    let (edges, targets) = read(session, bulk).await?;
    let before = targets.clone();
    let decided = decide(bulk, edges, targets, locked.applied);
    if decided.imported.set == 0 {
        session.roll_back().await;
        // Nothing to do, where the answer to a commit was lost: it took place.
        return Ok(unsure.lock().take().unwrap_or(decided.imported));
    }
    rows::write_edges(session, &decided.edges).await?;
    let changed: Vec<_> = decided
        .targets
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(*value))
        .collect();
    rows::write_targets(session, &changed).await?;
    let users_side = UsersSide {
        partition: bulk.partition,
        user_type,
        now: bulk.now,
        is_cautious,
    };
    users_side
        .write(session, &decided.edges, &decided.flips)
        .await?;
    if late() {
        return Err(LedgerError::TooLate(bulk.limit).into());
    }
    pass(session, bulk.partition).await?;
    *unsure.lock() = Some(decided.imported);
    failpoint::hit(failpoint::BULK_BEFORE_COMMIT);
    session.commit().await?;
    failpoint::hit(failpoint::BULK_COMMITTED);
    Ok(decided.imported)
}

/// The rows of the batch, and those of the edges that it may unset. A target without rows is not
/// asked for any: most of what is imported is new.
async fn read(session: &mut Session, bulk: &Bulk<'_>) -> Result<(Edges, Targets), Failure> {
    let mut edges = Edges::new();
    for op in bulk.edges {
        let edge = row(op);
        for other in excluded(bulk.excludes, &edge) {
            edges.insert(other, EdgeValue::default());
        }
        edges.insert(edge, EdgeValue::default());
    }
    let mut targets: Targets = edges
        .keys()
        .map(|edge| (edge.target_row(), TargetValue::default()))
        .collect();
    rows::read_targets(session, &mut targets).await?;
    let has_rows = |edge: &EdgeRow| {
        let target = targets.get(&edge.target_row());
        target.is_some_and(|target| target.edges > 0)
    };
    let mut known: Edges = edges
        .keys()
        .filter(|edge| has_rows(edge))
        .map(|edge| (edge.clone(), EdgeValue::default()))
        .collect();
    rows::read_edges(session, &mut known).await?;
    edges.append(&mut known);
    Ok((edges, targets))
}

fn row(op: &BulkEdge) -> EdgeRow {
    EdgeRow::new(
        op.kind,
        op.target_type,
        IdKey::new(&op.target),
        IdKey::new(&op.user),
    )
}

fn excluded(excludes: &Excludes, edge: &EdgeRow) -> impl Iterator<Item = EdgeRow> {
    let kinds = excludes.get(&edge.kind).into_iter().flatten();
    kinds.map(|kind| EdgeRow {
        kind: *kind,
        ..edge.clone()
    })
}

fn decide(bulk: &Bulk<'_>, edges: Edges, targets: Targets, applied: Rev) -> Decided {
    let mut decided = Decided {
        edges,
        targets,
        flips: Vec::with_capacity(bulk.edges.len()),
        imported: Imported::default(),
    };
    for op in bulk.edges {
        let edge = row(op);
        let state = decided.state(&edge);
        let standing: Vec<EdgeRow> = excluded(bulk.excludes, &edge)
            .filter(|other| decided.state(other).active)
            .collect();
        let is_newer = standing
            .iter()
            .all(|other| op.at > decided.state(other).rev);
        if state.after(Action::Set, Some(op.at), op.at).is_none() || !is_newer {
            decided.imported.unchanged += 1;
            continue;
        }
        for other in standing {
            decided.flip(other, false, op.at, bulk.now, applied);
        }
        decided.flip(edge, true, op.at, bulk.now, applied);
        decided.imported.set += 1;
    }
    // A target that nothing happened to has no row of its own making.
    decided.targets.retain(|_, target| target.edges > 0);
    decided
}

impl Decided {
    fn state(&self, edge: &EdgeRow) -> EdgeState {
        let value = self.edges.get(edge).copied().unwrap_or_default();
        EdgeState {
            active: value.active,
            rev: value.rev,
        }
    }

    fn flip(&mut self, edge: EdgeRow, active: bool, at: Rev, now: Rev, applied: Rev) {
        let target = self.targets.entry(edge.target_row()).or_default();
        let value = self.edges.entry(edge.clone()).or_default();
        if !value.known && !value.changed {
            target.edges += 1;
        }
        *value = EdgeValue {
            active,
            rev: at,
            changed: true,
            ..*value
        };
        target.count = target
            .count
            .saturating_add_signed(if active { 1 } else { -1 });
        target.seq = target.seq.max(applied);
        target.pulse.record(at, active, now);
        target.last_day = target.last_day.max(at.day());
        self.flips.push(Flip {
            kind: edge.kind,
            target_type: edge.target_type,
            user: edge.user,
            active,
            rev: at,
        });
    }
}
