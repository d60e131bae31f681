//! A batch of a partition's journal becomes rows, in one transaction.
//!
//! 1. The partition's row is locked and its fence compared: from here on nobody else writes this
//!    partition's edges.
//! 2. Edges and targets are read, folded ([`super::fold`]) and written.
//! 3. Users are locked and read: who acted, and both ends of each edge between users that flipped.
//! 4. Only then the edges back are read, without locks. Of two transactions that flip the two edges
//!    of a pair, one has to wait for the pair's users until the other has committed, and then sees
//!    its edge; so one of them sees both, and never do both miss the other's. It does not depend
//!    on locks of rows that are not there, which TiDB does not have.
//! 5. Users are written, the days added to, dead letters put away.
//! 6. `applied` moves on, and the transaction commits.
//!
//! An event that cannot be applied is a dead letter with its reason; the others of the batch go on.
//!
//! A connection lost at COMMIT leaves open whether it took place. It is found out: the next attempt
//! locks the partition's row, so it waits for the lost transaction to end either way, and looks
//! whether `applied` moved. Only the holder of the fence can have moved it.

use std::collections::{BTreeMap, BTreeSet, btree_map};

use acclaim_core::{Rev, TargetType};
use parking_lot::Mutex;
use sqlx::Row;

use super::codec::IdKey;
use super::dictionary::{KindNo, TypeNo};
use super::error::{Class, Failure, LedgerError, class};
use super::event::{Batch, EdgeRow, Entry, UserRow};
use super::fold::{
    Accepted, Edges, Flip, TargetValue, Targets, Users, between_users, fold_edges, fold_users,
    pairs,
};
use super::journals::dead_letters::{DeadLetter, bury};
use super::moving::IS_MOVED;
use super::pools::Ledger;
use super::rows;
use super::session::{Session, Sql, give_up};

/// Entries in one batch.
pub const MAX_BATCH_EVENTS: usize = 1_000;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The partition's journal is in the ledger up to here.
    pub applied: Rev,
    /// Events that flipped their edge.
    pub flips: usize,
    /// Events that the ledger knew already, or newer ones of their edge.
    pub stale: usize,
    /// Events that became dead letters.
    pub refused: usize,
}

/// A commit whose answer was lost.
struct Unsure {
    applied_before: Rev,
    outcome: Applied,
}

/// A batch whose events are checked.
struct Checked<'a> {
    batch: &'a Batch,
    accepted: Vec<Accepted>,
    refused: Vec<DeadLetter<'a>>,
    /// The number of `USER`, if any target has that type.
    user_type: Option<TypeNo>,
    last: Rev,
}

impl Ledger {
    /// Applies a batch. May be called again with the same, or with parts of it.
    ///
    /// # Errors
    /// [`LedgerError::Fenced`] when the partition is somebody else's;
    /// [`LedgerError::Unavailable`] and [`LedgerError::Contended`] when the attempts are used up:
    /// then the batch is in the ledger or not, and is to be given again.
    pub async fn apply(&self, batch: &Batch) -> Result<Applied, LedgerError> {
        let given = batch.entries.len();
        if given > MAX_BATCH_EVENTS {
            return Err(LedgerError::TooMany {
                what: "events",
                given,
                limit: MAX_BATCH_EVENTS,
            });
        }
        let checked = self.check(batch).await?;
        let unsure = Mutex::new(None);
        let (checked, unsure) = (&checked, &unsure);
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let outcome = self.attempt(&mut session, checked, unsure).await;
            give_up(&mut session, outcome).await
        })
        .await
    }

    /// Sorts out what cannot be applied.
    async fn check<'a>(&self, batch: &'a Batch) -> Result<Checked<'a>, LedgerError> {
        let mut checked = Checked {
            batch,
            accepted: Vec::with_capacity(batch.entries.len()),
            refused: Vec::new(),
            user_type: self.known_type_no(&TargetType::USER).await?,
            last: Rev::ZERO,
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

    async fn attempt(
        &self,
        session: &mut Session,
        checked: &Checked<'_>,
        unsure: &Mutex<Option<Unsure>>,
    ) -> Result<Applied, Failure> {
        session.begin("START TRANSACTION").await?;
        let (epoch, applied_before) = fence(session, checked.batch).await?;
        let lost = unsure.lock().take();
        if let Some(outcome) = self.find_out(lost, applied_before, checked.last) {
            session.roll_back().await;
            return Ok(outcome);
        }
        let mut edges: Edges = checked
            .accepted
            .iter()
            .map(|event| (event.edge.clone(), Default::default()))
            .collect();
        let flips = write_targets_side(session, checked, &mut edges).await?;
        let users_side = UsersSide {
            partition: checked.batch.partition,
            user_type: checked.user_type,
            now: checked.last,
            is_cautious: self.shared.counters.is_cautious(),
        };
        users_side.write(session, &edges, &flips).await?;
        bury(session, checked.batch, &checked.refused, self.manual_now()).await?;
        let applied = if checked.batch.epoch == epoch {
            move_on(session, checked, applied_before).await?
        } else {
            applied_before
        };
        let outcome = Applied {
            applied,
            flips: flips.len(),
            stale: checked.accepted.len() - flips.len(),
            refused: checked.refused.len(),
        };
        if let Err(error) = session.commit().await {
            // A refusal is an answer; anything else leaves the outcome open.
            if !matches!(error, sqlx::Error::Database(_)) || class(&error) == Some(Class::Lost) {
                *unsure.lock() = Some(Unsure {
                    applied_before,
                    outcome,
                });
            }
            return Err(error.into());
        }
        Ok(outcome)
    }

    /// What became of a commit whose answer was lost, or `None` where it is not there, or where
    /// `applied` cannot tell (a batch that was applied before): then applying again is harmless.
    fn find_out(&self, unsure: Option<Unsure>, applied: Rev, last: Rev) -> Option<Applied> {
        let Unsure {
            applied_before,
            outcome,
        } = unsure?;
        if applied_before < last && applied >= last {
            self.shared.counters.count_found_committed();
            return Some(outcome);
        }
        self.shared.counters.count(Class::NotCommitted);
        None
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

/// What a partition's row says, while it is locked.
pub(super) struct Locked {
    pub fence: u64,
    pub epoch: u32,
    pub applied: Rev,
    /// Whether the ledger is being moved, or was.
    is_moved: bool,
}

impl Locked {
    /// For who writes without a fence, which alone would tell them.
    pub fn unless_moved(self) -> Result<Self, LedgerError> {
        match self.is_moved {
            true => Err(LedgerError::Moved),
            false => Ok(self),
        }
    }
}

/// Locks a partition: until the transaction ends nobody else writes its edges.
pub(super) async fn lock_partition(
    session: &mut Session,
    partition: u16,
) -> Result<Locked, Failure> {
    let mut sql = Sql::new("SELECT fence, epoch, applied, CAST(");
    sql.push(IS_MOVED)
        .push(" AS UNSIGNED) FROM partitions WHERE n = ? FOR UPDATE");
    sql.bind(partition);
    let Some(row) = session.first(sql).await? else {
        let count = session
            .first(Sql::new("SELECT COUNT(*) FROM partitions"))
            .await?;
        let count: i64 = count.map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
        let partitions = u16::try_from(count).unwrap_or(u16::MAX);
        return Err(LedgerError::NoPartition {
            partition,
            partitions,
        }
        .into());
    };
    Ok(Locked {
        fence: row.try_get(0)?,
        epoch: row.try_get(1)?,
        applied: Rev(row.try_get(2)?),
        is_moved: row.try_get::<u64, _>(3)? != 0,
    })
}

/// Locks the partition and compares the fence. Answers its epoch and how far it is applied.
async fn fence(session: &mut Session, batch: &Batch) -> Result<(u32, Rev), Failure> {
    let Locked {
        fence: found,
        epoch,
        applied,
        ..
    } = lock_partition(session, batch.partition).await?;
    if found != batch.fence {
        let (partition, ours) = (batch.partition, batch.fence);
        return Err(LedgerError::Fenced {
            partition,
            ours,
            found,
        }
        .into());
    }
    if batch.epoch > epoch {
        return Err(LedgerError::FutureEpoch {
            batch: batch.epoch,
            ledger: epoch,
        }
        .into());
    }
    Ok((epoch, applied))
}

/// Edges and targets: what lies in the partition.
async fn write_targets_side(
    session: &mut Session,
    checked: &Checked<'_>,
    edges: &mut Edges,
) -> Result<Vec<Flip>, Failure> {
    let mut targets: Targets = edges
        .keys()
        .map(|edge| (edge.target_row(), TargetValue::default()))
        .collect();
    rows::read_edges(session, edges).await?;
    rows::read_targets(session, &mut targets).await?;
    let before = targets.clone();
    let flips = fold_edges(&checked.accepted, edges, &mut targets, checked.last);
    rows::write_edges(session, edges).await?;
    let changed: Vec<_> = targets
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(*value))
        .collect();
    rows::write_targets(session, &changed).await?;
    Ok(flips)
}

/// Users and days: what lies across partitions.
pub(super) struct UsersSide {
    pub partition: u16,
    /// The number of `USER`, if any target has that type.
    pub user_type: Option<TypeNo>,
    /// The time of the newest event.
    pub now: Rev,
    /// Whether users without a row are locked before they are written, at the cost of writing them
    /// twice. Those of pairs always are.
    pub is_cautious: bool,
}

impl UsersSide {
    pub async fn write(
        &self,
        session: &mut Session,
        edges: &Edges,
        flips: &[Flip],
    ) -> Result<(), Failure> {
        if flips.is_empty() {
            return Ok(());
        }
        let mut users = Users::new();
        for flip in flips {
            let (kind, user) = (flip.kind, flip.user.clone());
            users.insert(UserRow { kind, user }, Default::default());
        }
        let between: Vec<&EdgeRow> = match self.user_type {
            Some(user_type) => between_users(edges, user_type).collect(),
            None => Vec::new(),
        };
        let mut of_pairs = BTreeSet::new();
        for edge in &between {
            for user in [&edge.user, &edge.target] {
                let (kind, user) = (edge.kind, user.clone());
                of_pairs.insert(UserRow { kind, user });
            }
        }
        for user in &of_pairs {
            users.insert(user.clone(), Default::default());
        }
        let must_lock = match self.is_cautious {
            true => users.keys().cloned().collect(),
            false => of_pairs,
        };
        let missing = rows::lock_users(session, &mut users, &must_lock).await?;
        let before = users.clone();
        let back = between.into_iter().map(EdgeRow::back);
        let back = back.filter(|back| !edges.contains_key(back)).collect();
        let back = rows::read_back(session, back).await?;
        let pairs_changed = match self.user_type {
            Some(user_type) => pairs(edges, &back, user_type),
            None => Vec::new(),
        };
        let days = fold_users(flips, &pairs_changed, &mut users, self.now);
        let (new, known): (Vec<_>, Vec<_>) =
            users.iter().partition(|(key, _)| missing.contains(key));
        rows::add_users(session, &new).await?;
        let changed: Vec<_> = known
            .into_iter()
            .filter(|(key, value)| before.get(*key) != Some(*value))
            .collect();
        rows::write_users(session, &changed).await?;
        rows::add_days(session, &days, self.partition).await
    }
}

async fn move_on(
    session: &mut Session,
    checked: &Checked<'_>,
    before: Rev,
) -> Result<Rev, Failure> {
    let applied = before.max(checked.last);
    if applied > before {
        let mut sql = Sql::new("UPDATE partitions SET applied = ? WHERE n = ? AND fence = ?");
        sql.bind(applied.0)
            .bind(checked.batch.partition)
            .bind(checked.batch.fence);
        session.run(sql).await?;
    }
    Ok(applied)
}
