//! A batch of a partition's journal becomes rows, in one transaction, alone or together with those
//! of other partitions.
//!
//! 1. The row of each partition is locked and its fence compared: from here on nobody else writes
//!    these partitions' edges.
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
//! What came over a bus goes the same way ([`Ledger::record`]). Instead of the fence it is compared
//! whether its turn is closed, and `applied` moves on only over what follows on it without a gap
//! ([`super::carry`]).
//!
//! A connection lost at COMMIT leaves open whether it took place. It is found out: the next attempt
//! locks the partition's row, so it waits for the lost transaction to end either way, and looks
//! whether `applied` moved. Only the holder of the fence can have moved it.

use std::collections::{BTreeMap, BTreeSet};

use acclaim_core::Rev;
use parking_lot::Mutex;
use sqlx::Row;

use super::carry::{self, Chain};
use super::checked::Checked;
use super::dictionary::TypeNo;
use super::error::{Class, Failure, LedgerError, class};
use super::event::{Batch, Carried, EdgeRow, Recorded, UserRow};
use super::fold::{
    Edges, Flip, TargetValue, Targets, Users, between_users, fold_edges, fold_users, pairs,
};
use super::journals::dead_letters::bury;
use super::moving::IS_MOVED;
use super::pools::Ledger;
use super::rows;
use super::session::{Kept, Session, Sql, give_up};
use crate::failpoint;

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
    before: Vec<Rev>,
    outcomes: Vec<Recorded>,
}

impl Ledger {
    /// Applies a batch. May be called again with the same, or with parts of it.
    ///
    /// # Errors
    /// [`LedgerError::Fenced`] when the partition is somebody else's;
    /// [`LedgerError::Unavailable`] and [`LedgerError::Contended`] when the attempts are used up:
    /// then the batch is in the ledger or not, and is to be given again.
    pub async fn apply(&self, batch: &Batch) -> Result<Applied, LedgerError> {
        let applied = self.apply_together(&Kept::default(), &[batch]).await?;
        let applied = applied.into_iter().next();
        applied.ok_or_else(|| LedgerError::Corrupt("a batch came to nothing".to_owned()))
    }

    /// Applies batches of different partitions in one transaction, all of them or none: what is
    /// written for each is less when they are small. They may have [`MAX_BATCH_EVENTS`] together.
    ///
    /// # Errors
    /// As [`Ledger::apply`]; where it matters whose batch it was, give each by itself again.
    pub async fn apply_together(
        &self,
        kept: &Kept,
        batches: &[&Batch],
    ) -> Result<Vec<Applied>, LedgerError> {
        let mut checked = Vec::with_capacity(batches.len());
        for batch in batches {
            checked.push(self.check(batch).await?);
        }
        let outcomes = self.write(kept, &checked).await?;
        Ok(outcomes.into_iter().map(|one| one.applied).collect())
    }

    /// The same for stretches of different partitions that came over the bus, whoever brings them:
    /// two who bring the same at once come to the same.
    ///
    /// # Errors
    /// As [`Ledger::apply`], but for the fence; [`LedgerError::Moved`] while the ledger is moved.
    pub async fn record(&self, stretches: &[&Carried]) -> Result<Vec<Recorded>, LedgerError> {
        let mut checked = Vec::with_capacity(stretches.len());
        for stretch in stretches {
            let mut one = self.check(&stretch.batch).await?;
            one.carried = Some(stretch);
            checked.push(one);
        }
        self.write(&Kept::default(), &checked).await
    }

    async fn write(
        &self,
        kept: &Kept,
        checked: &[Checked<'_>],
    ) -> Result<Vec<Recorded>, LedgerError> {
        let given = checked.iter().map(|one| one.batch.entries.len()).sum();
        if given > MAX_BATCH_EVENTS {
            return Err(LedgerError::TooMany {
                what: "events",
                given,
                limit: MAX_BATCH_EVENTS,
            });
        }
        let unsure = &Mutex::new(None);
        self.retried(|| async move {
            let mut session = match kept.take() {
                Some(session) => session,
                None => self.writing().await?,
            };
            let outcome = self.attempt(&mut session, checked, unsure).await;
            let outcome = give_up(&mut session, outcome).await;
            if outcome.is_ok() {
                kept.keep(session);
            }
            outcome
        })
        .await
    }

    async fn attempt(
        &self,
        session: &mut Session,
        given: &[Checked<'_>],
        unsure: &Mutex<Option<Unsure>>,
    ) -> Result<Vec<Recorded>, Failure> {
        session.begin("START TRANSACTION").await?;
        let found = fence(session, given).await?;
        let lost = unsure.lock().take();
        if let Some(outcomes) = self.find_out(lost, &found, given) {
            session.roll_back().await;
            return Ok(outcomes);
        }
        let is_late = |(checked, locked): &(&Checked<'_>, &Locked)| {
            let turn = checked.carried.map(|carried| carried.turn);
            turn.is_some_and(|turn| turn < locked.closed)
        };
        let in_time = given.iter().zip(&found).filter(|one| !is_late(one));
        let (all, locked): (Vec<&Checked<'_>>, Vec<Locked>) =
            in_time.map(|(checked, locked)| (checked, *locked)).unzip();
        let all = all.as_slice();
        let accepted = all.iter().flat_map(|checked| &checked.accepted);
        let mut edges: Edges = accepted
            .map(|event| (event.edge.clone(), Default::default()))
            .collect();
        let flips = write_targets_side(session, all, &mut edges).await?;
        let of_each: Vec<usize> = flips.iter().map(Vec::len).collect();
        let users_side = UsersSide {
            partition: all.first().map_or(0, |checked| checked.batch.partition),
            user_type: all.first().and_then(|checked| checked.user_type),
            now: all
                .iter()
                .map(|checked| checked.last)
                .max()
                .unwrap_or(Rev::ZERO),
            is_cautious: self.shared.counters.is_cautious(),
        };
        users_side.write(session, &edges, &flips.concat()).await?;
        for checked in all {
            bury(session, checked.batch, &checked.refused, self.manual_now()).await?;
        }
        let chains = move_on(session, all, &locked).await?;
        let outcome = |((checked, chain), flips): ((&&Checked<'_>, Chain), usize)| Recorded {
            applied: Applied {
                applied: chain.applied,
                flips,
                stale: checked.accepted.len() - flips,
                refused: checked.refused.len(),
            },
            is_late: false,
            has_gap: chain.has_gap,
        };
        let mut in_time = all.iter().zip(chains).zip(of_each).map(outcome);
        let outcome = |one: (&Checked<'_>, &Locked)| match is_late(&one) {
            true => Some(carry::late(one.1.applied)),
            false => in_time.next(),
        };
        let outcomes: Vec<Recorded> = given.iter().zip(&found).filter_map(outcome).collect();
        failpoint::hit(failpoint::APPLY_BEFORE_COMMIT);
        if let Err(error) = session.commit().await {
            // A refusal is an answer; anything else leaves the outcome open.
            if !matches!(error, sqlx::Error::Database(_)) || class(&error) == Some(Class::Lost) {
                *unsure.lock() = Some(Unsure {
                    before: found.iter().map(|locked| locked.applied).collect(),
                    outcomes,
                });
            }
            return Err(error.into());
        }
        Ok(outcomes)
    }

    /// What became of a commit whose answer was lost, or `None` where it is not there, or where
    /// `applied` cannot tell (a batch that was applied before): then applying again is harmless.
    fn find_out(
        &self,
        unsure: Option<Unsure>,
        locked: &[Locked],
        all: &[Checked<'_>],
    ) -> Option<Vec<Recorded>> {
        let Unsure { before, outcomes } = unsure?;
        let mut each = before.iter().zip(locked).zip(all);
        // All of them moved or none.
        let is_there = |((before, now), checked): ((&Rev, &Locked), &Checked<'_>)| {
            *before < checked.last && now.applied >= checked.last
        };
        if each.any(is_there) {
            self.shared.counters.count_found_committed();
            return Some(outcomes);
        }
        self.shared.counters.count(Class::NotCommitted);
        None
    }
}

/// What a partition's row says, while it is locked.
#[derive(Clone, Copy)]
pub(super) struct Locked {
    pub fence: u64,
    pub epoch: u32,
    pub applied: Rev,
    /// Turns of the seat below this one are closed.
    pub closed: u64,
    /// The highest place of which something came over the bus, where that is beyond `applied`.
    pub reached: Rev,
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
    let mut locked = lock_partitions(session, &[partition]).await?;
    match locked.remove(&partition) {
        Some(locked) => Ok(locked),
        None => Err(no_partition(session, partition).await?),
    }
}

/// Locks partitions, in their order, so that two who lock several do not wait for each other.
async fn lock_partitions(
    session: &mut Session,
    partitions: &[u16],
) -> Result<BTreeMap<u16, Locked>, Failure> {
    let mut sql = Sql::new("SELECT n, fence, epoch, applied, CAST(");
    sql.push(IS_MOVED)
        .push(" AS UNSIGNED), closed, reached FROM partitions WHERE n IN (");
    let padded = padded(partitions);
    sql.rows("?", padded.len()).push(") ORDER BY n FOR UPDATE");
    for partition in padded {
        sql.bind(partition);
    }
    let mut all = BTreeMap::new();
    for row in session.all(sql).await? {
        let locked = Locked {
            fence: row.try_get(1)?,
            epoch: row.try_get(2)?,
            applied: Rev(row.try_get(3)?),
            is_moved: row.try_get::<u64, _>(4)? != 0,
            closed: row.try_get(5)?,
            reached: Rev(row.try_get(6)?),
        };
        all.insert(row.try_get(0)?, locked);
    }
    Ok(all)
}

/// The same things, the last repeated up to a power of two: statements of few lengths stay
/// prepared.
fn padded<T: Copy>(things: &[T]) -> Vec<T> {
    let mut padded = things.to_vec();
    if let Some(last) = things.last() {
        padded.resize(things.len().next_power_of_two(), *last);
    }
    padded
}

async fn no_partition(session: &mut Session, partition: u16) -> Result<Failure, Failure> {
    let count = session
        .first(Sql::new("SELECT COUNT(*) FROM partitions"))
        .await?;
    let count: i64 = count.map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
    let partitions = u16::try_from(count).unwrap_or(u16::MAX);
    Ok(LedgerError::NoPartition {
        partition,
        partitions,
    }
    .into())
}

/// Locks the partitions and compares the fences. Answers what their rows say, in the order of the
/// batches.
async fn fence(session: &mut Session, all: &[Checked<'_>]) -> Result<Vec<Locked>, Failure> {
    let mut partitions: Vec<u16> = all.iter().map(|checked| checked.batch.partition).collect();
    partitions.sort_unstable();
    let found = lock_partitions(session, &partitions).await?;
    let mut locked = Vec::with_capacity(all.len());
    for Checked { batch, carried, .. } in all {
        let Some(of_it) = found.get(&batch.partition) else {
            return Err(no_partition(session, batch.partition).await?);
        };
        if carried.is_some() {
            of_it.unless_moved()?;
        } else if of_it.fence != batch.fence {
            return Err(LedgerError::Fenced {
                partition: batch.partition,
                ours: batch.fence,
                found: of_it.fence,
            }
            .into());
        }
        if batch.epoch > of_it.epoch {
            return Err(LedgerError::FutureEpoch {
                batch: batch.epoch,
                ledger: of_it.epoch,
            }
            .into());
        }
        locked.push(*of_it);
    }
    Ok(locked)
}

/// Edges and targets: what lies in the partitions. Answers the flips of each batch.
async fn write_targets_side(
    session: &mut Session,
    all: &[&Checked<'_>],
    edges: &mut Edges,
) -> Result<Vec<Vec<Flip>>, Failure> {
    let mut targets: Targets = edges
        .keys()
        .map(|edge| (edge.target_row(), TargetValue::default()))
        .collect();
    rows::read_edges(session, edges).await?;
    rows::read_targets(session, &mut targets).await?;
    let before = targets.clone();
    let fold =
        |checked: &&Checked<'_>| fold_edges(&checked.accepted, edges, &mut targets, checked.last);
    let flips = all.iter().map(fold).collect();
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

/// Moves on how far each partition is applied, where its batch is of the ledger's epoch. Answers
/// how far each is.
async fn move_on(
    session: &mut Session,
    all: &[&Checked<'_>],
    locked: &[Locked],
) -> Result<Vec<Chain>, Failure> {
    let mut chains = Vec::with_capacity(all.len());
    let mut moved: Vec<(u16, Rev)> = Vec::new();
    for (checked, locked) in all.iter().zip(locked) {
        let partition = checked.batch.partition;
        let mut chain = Chain::at(locked.applied);
        if checked.batch.epoch == locked.epoch {
            match checked.carried {
                Some(carried) => chain.follow(carried),
                None => chain.applied = chain.applied.max(checked.last),
            }
        }
        if chain.applied > locked.applied {
            moved.push((partition, chain.applied));
        }
        if chain.has_gap && checked.last > locked.reached {
            carry::reach(session, partition, checked.last).await?;
        }
        chains.push(chain);
    }
    if moved.is_empty() {
        return Ok(chains);
    }
    let moved = padded(&moved);
    let mut sql = Sql::new("UPDATE partitions SET applied = CASE n");
    for (partition, applied) in &moved {
        sql.push(" WHEN ? THEN ?").bind(*partition).bind(applied.0);
    }
    sql.push(" END WHERE n IN (")
        .rows("?", moved.len())
        .push(")");
    for (partition, _) in &moved {
        sql.bind(*partition);
    }
    session.run(sql).await?;
    Ok(chains)
}
