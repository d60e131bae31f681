//! What the ledger must know of a bus that carries its events.
//!
//! Whoever brings events from the bus holds no lease. Two things take the place of the fence:
//!
//! - **The chain.** An event says which one was before it in its journal. `applied` moves on from
//!   an event to the one that names it, so it never passes one that was not applied: not where the
//!   bus lost some, not where they come twice or through two hands. Rows are written all the same,
//!   guarded by rev, and `reached` notes how far.
//! - **The turn.** A server of Redis that comes back with less must not go on while the bus still
//!   carries what it lost. An event says in which turn of its partition's seat it was published.
//!   Where any was in the present turn (`carried`), the turn is ended first ([`Ledger::end_turn`]):
//!   nobody may publish in the next one while the partition is `closing`. Then a barrier goes over
//!   the bus, behind all that was published. Who receives it notes that all turns before are
//!   **closed** ([`Ledger::close_turns`]): what of theirs comes later is not applied any more. So
//!   everything that the bus carried is in the ledger before anything is decided on another
//!   server, or never.
//!
//! What was published too late to be applied is published again in the next turn, if the server
//! that took the seat has it; if not, its publisher finds out before it tells anybody
//! ([`Ledger::is_turn`]).

use acclaim_core::Rev;
use sqlx::Row;

use super::apply::Applied;
use super::error::{Failure, LedgerError};
use super::event::{Carried, Recorded};
use super::lease::Lease;
use super::moving::IS_MOVED;
use super::pools::Ledger;
use super::session::{Session, Sql};

/// How far a partition is, event by event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub applied: Rev,
    pub has_gap: bool,
}

impl Chain {
    pub fn at(applied: Rev) -> Self {
        let has_gap = false;
        Self { applied, has_gap }
    }

    /// Goes on over events as far as each names one that was reached. What stands at or before
    /// `applied` came before.
    pub fn follow(&mut self, carried: &Carried) {
        for (entry, previous) in carried.batch.entries.iter().zip(&carried.previous) {
            if entry.seq <= self.applied {
                continue;
            }
            if previous.is_some_and(|previous| previous > self.applied) {
                self.has_gap = true;
                return;
            }
            self.applied = entry.seq;
        }
    }
}

/// The outcome of a stretch that came too late.
pub(super) fn late(applied: Rev) -> Recorded {
    Recorded {
        applied: Applied {
            applied,
            flips: 0,
            stale: 0,
            refused: 0,
        },
        is_late: true,
        has_gap: false,
    }
}

/// Notes that rows beyond `applied` were written, in the transaction that writes them.
pub(super) async fn reach(
    session: &mut Session,
    partition: u16,
    place: Rev,
) -> Result<(), Failure> {
    let mut sql = Sql::new("UPDATE partitions SET reached = ? WHERE n = ? AND reached < ?");
    sql.bind(place.0).bind(partition).bind(place.0);
    session.run(sql).await?;
    Ok(())
}

impl Ledger {
    /// Notes that something of a partition is published in the turn of this lease, before it is.
    ///
    /// # Errors
    /// [`LedgerError::Fenced`] when the partition is somebody else's: nothing may be published.
    pub async fn note_carried(&self, lease: Lease) -> Result<(), LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let mut sql = Sql::new(
                "UPDATE partitions SET carried = 1 \
                 WHERE n = ? AND fence = ? AND turn = ? AND closing = 0",
            );
            sql.bind(lease.partition).bind(lease.fence).bind(lease.turn);
            if session.run(sql).await? == 1 {
                return Ok(());
            }
            let mut sql = Sql::new("SELECT fence FROM partitions WHERE n = ?");
            sql.bind(lease.partition);
            let found = session.first(sql).await?;
            let found = found.map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
            Err(Failure::Final(LedgerError::Fenced {
                partition: lease.partition,
                ours: lease.fence,
                found,
            }))
        })
        .await
    }

    /// Ends the turn in which a partition is, if it is still this one and something was published
    /// in it, and the lease with it. Until the seat is taken nothing is published in the next.
    ///
    /// # Errors
    /// [`LedgerError`]; then it may be ended.
    pub async fn end_turn(&self, partition: u16, turn: u64) -> Result<(), LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new(
                "UPDATE partitions SET closing = 1, turn = turn + 1, \
                 fence = fence + 1, owner = '', lease_until = 0 \
                 WHERE n = ? AND turn = ? AND carried = 1 AND closing = 0 AND NOT ",
            );
            sql.push(IS_MOVED).bind(partition).bind(turn);
            self.writing().await?.run(sql).await?;
            Ok(())
        })
        .await
    }

    /// Notes that everything published in turns before this one has been recorded, unless that is
    /// known. What was lost on the way is lost: the partition is applied as far as anything is.
    ///
    /// # Errors
    /// [`LedgerError`]; [`LedgerError::Moved`] while the ledger is moved.
    pub async fn close_turns(&self, partition: u16, before: u64) -> Result<(), LedgerError> {
        self.retried(|| async move {
            let mut session = self.writing().await?;
            let mut sql = Sql::new(
                "UPDATE partitions SET applied = GREATEST(applied, reached), closed = ? \
                 WHERE n = ? AND closed < ? AND turn >= ? AND NOT ",
            );
            sql.push(IS_MOVED);
            sql.bind(before).bind(partition).bind(before).bind(before);
            if session.run(sql).await? == 1 {
                return Ok(());
            }
            let mut sql = Sql::new("SELECT CAST(");
            sql.push(IS_MOVED)
                .push(" AS UNSIGNED) FROM partitions WHERE n = ?")
                .bind(partition);
            let row = session.first(sql).await?;
            let is_moved: Option<u64> = row.map(|row| row.try_get(0)).transpose()?;
            if is_moved.is_some_and(|is_moved| is_moved != 0) {
                return Err(LedgerError::Moved.into());
            }
            Ok(())
        })
        .await
    }

    /// Whether a partition's seat is in this turn now.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn is_turn(&self, partition: u16, turn: u64) -> Result<bool, LedgerError> {
        self.retried(|| async move {
            let mut sql = Sql::new("SELECT turn FROM partitions WHERE n = ?");
            sql.bind(partition);
            let row = self.writing().await?.first(sql).await?;
            let found: Option<u64> = row.map(|row| row.try_get(0)).transpose()?;
            Ok(found == Some(turn))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ledger::event::{Batch, Entry};

    fn carried(events: &[(u64, Option<u64>)]) -> Carried {
        let entry = |(seq, _): &(u64, Option<u64>)| Entry {
            seq: Rev(*seq),
            event: Err(String::new()),
            payload: Bytes::new(),
        };
        Carried {
            batch: Batch {
                partition: 0,
                epoch: 1,
                fence: 0,
                entries: events.iter().map(entry).collect(),
            },
            turn: 1,
            previous: events.iter().map(|(_, p)| p.map(Rev)).collect(),
        }
    }

    fn from(applied: u64, events: &[(u64, Option<u64>)]) -> (u64, bool) {
        let mut chain = Chain::at(Rev(applied));
        chain.follow(&carried(events));
        (chain.applied.0, chain.has_gap)
    }

    #[test]
    fn applied_passes_nothing_that_did_not_come() {
        assert_eq!(from(0, &[(5, None), (7, Some(5))]), (7, false));
        assert_eq!(
            from(7, &[(5, None), (7, Some(5)), (9, Some(7))]),
            (9, false)
        );
        assert_eq!(from(5, &[(9, Some(7)), (11, Some(9))]), (5, true));
        assert_eq!(from(5, &[(7, Some(5)), (11, Some(9))]), (7, true));
        // Behind a place that is no event's: the ledger was told of an empty stretch.
        assert_eq!(from(8, &[(9, Some(7))]), (9, false));
        // What comes again before what is new, and twice.
        assert_eq!(
            from(5, &[(7, Some(5)), (5, None), (7, Some(5))]),
            (7, false)
        );
    }
}
