//! Waiting until the ledger has what was written before a read.
//!
//! What a partition owes is its newest transition beyond what the ledger has, looked at once, when
//! the read comes; then the read waits until the ledger has that, for a bounded time. A partition
//! that is cold owes nothing.
//!
//! Where the worker of the same process drains a partition it tells what the ledger has, as soon as
//! it has it; otherwise Redis is asked, again and again.
//!
//! The same for the bus, where there is one: what it has acknowledged.

use std::time::Duration;

use acclaim_core::{ReadError, Rev};
use futures::future::join_all;
use tokio::time::Instant;

use super::errors::read_error;
use super::shared::Shared;
use crate::redis::error::RedisError;
use crate::redis::journal::Marks;
use crate::redis::progress::Progress;

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// How long our own worker is waited for before Redis is asked all the same, which it tells later
/// than those who wait.
const OWN_PAUSE: Duration = Duration::from_millis(250);

/// How it is known that the ledger, or the bus, has some places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Our own worker brought the events of these very places there, all of them.
    Told,
    /// Of some, Redis says that nothing is owed up to there, or lacks the partition.
    Durable,
    /// It does not have them yet, as far as is known, and the time is over.
    TooLate,
}

/// A place of a partition's journal that is waited for somewhere.
trait Awaited: Sized {
    /// Which.
    fn place(&self) -> (u16, Rev);
    /// Waits until our own worker tells that it is there. `false` where it has not to tell.
    fn told(&self, shared: &Shared) -> impl Future<Output = bool>;
    /// Those of which Redis does not say that they are there.
    async fn still_owed(shared: &Shared, owed: Vec<Self>) -> Result<Vec<Self>, RedisError>;
}

/// A place that the ledger is to have.
struct InLedger {
    partition: u16,
    place: Rev,
}

impl Awaited for InLedger {
    fn place(&self) -> (u16, Rev) {
        (self.partition, self.place)
    }

    fn told(&self, shared: &Shared) -> impl Future<Output = bool> {
        let journal = shared.partition(self.partition);
        shared.worker.applied(journal, self.place)
    }

    async fn still_owed(shared: &Shared, mut owed: Vec<Self>) -> Result<Vec<Self>, RedisError> {
        let numbers: Vec<u16> = owed.iter().map(|one| one.partition).collect();
        let found = shared.progress_of(&numbers).await?;
        let mut found = found.into_iter();
        owed.retain(|one| {
            let progress = found.next().and_then(|(_, progress)| progress);
            progress.is_some_and(|progress| progress.durable < one.place)
        });
        Ok(owed)
    }
}

/// A place that the bus is to acknowledge, published in this turn.
struct OnBus {
    partition: u16,
    turn: u64,
    place: Rev,
}

impl Awaited for OnBus {
    fn place(&self) -> (u16, Rev) {
        (self.partition, self.place)
    }

    fn told(&self, shared: &Shared) -> impl Future<Output = bool> {
        let journal = shared.partition(self.partition);
        shared.worker.published(journal, self.turn, self.place)
    }

    /// What the ledger has was on the bus too.
    async fn still_owed(shared: &Shared, owed: Vec<Self>) -> Result<Vec<Self>, RedisError> {
        let marks = owed
            .iter()
            .map(|one| shared.redis.marks(shared.partition(one.partition)));
        let marks = join_all(marks).await;
        let mut still = Vec::new();
        for (one, marks) in owed.into_iter().zip(marks) {
            let is_there = match marks? {
                Marks::Known {
                    durable, published, ..
                } => {
                    let published = published.filter(|published| published.turn == one.turn);
                    durable >= one.place
                        || published.is_some_and(|published| published.upto >= one.place)
                }
                Marks::Cold | Marks::Unmarked { .. } => false,
            };
            if !is_there {
                still.push(one);
            }
        }
        Ok(still)
    }
}

impl Shared {
    /// Waits until the ledger has what these partitions have now. Answers whether it does; `false`
    /// when the time was over.
    pub async fn ledger_has(
        &self,
        partitions: impl IntoIterator<Item = u16>,
    ) -> Result<bool, RedisError> {
        let mut numbers: Vec<u16> = partitions.into_iter().collect();
        numbers.sort_unstable();
        numbers.dedup();
        let owed = self.owed(&numbers).await?;
        self.ledger_has_places(owed, self.limits.read_wait_max())
            .await
    }

    /// Waits until the ledger has what all partitions have now, or the time is over.
    pub async fn ledger_has_everything(&self) -> Result<(), ReadError> {
        let has = || async {
            let has = self.ledger_has(self.all_partitions()).await;
            has.map_err(read_error)
        };
        self.in_lives_of_now(has).await.map(|_| ())
    }

    /// What these partitions owe the ledger, up to which place.
    pub async fn owed(&self, numbers: &[u16]) -> Result<Vec<(u16, Rev)>, RedisError> {
        let found = self.progress_of(numbers).await?.into_iter();
        let owed = found.filter_map(|(number, progress)| {
            let progress = progress.filter(|progress| !progress.is_durable())?;
            Some((number, progress.newest))
        });
        Ok(owed.collect())
    }

    /// The same, for one partition up to a place.
    pub async fn ledger_has_place(&self, partition: u16, place: Rev) -> Result<bool, RedisError> {
        self.ledger_has_places(vec![(partition, place)], self.limits.read_wait_max())
            .await
    }

    /// The same, for places of partitions and a time of the caller's.
    pub async fn ledger_has_places(
        &self,
        owed: Vec<(u16, Rev)>,
        longest: Duration,
    ) -> Result<bool, RedisError> {
        let end = Instant::now() + longest;
        let owed = owed.into_iter();
        let owed = owed.map(|(partition, place)| InLedger { partition, place });
        let owed = InLedger::still_owed(self, owed.collect()).await?;
        Ok(self.all_get(owed, end).await? != Reached::TooLate)
    }

    /// The same, for places that were given only now: it is not asked first whether the ledger has
    /// them already.
    pub async fn ledger_gets(
        &self,
        owed: Vec<(u16, Rev)>,
        end: Instant,
    ) -> Result<Reached, RedisError> {
        let owed = owed.into_iter();
        let owed = owed.map(|(partition, place)| InLedger { partition, place });
        self.all_get(owed.collect(), end).await
    }

    /// The same for the bus: it acknowledges these places of partitions, each published in the turn
    /// that stands with it.
    pub async fn bus_gets(
        &self,
        owed: Vec<(u16, u64, Rev)>,
        end: Instant,
    ) -> Result<Reached, RedisError> {
        let owed = owed.into_iter().map(|(partition, turn, place)| OnBus {
            partition,
            turn,
            place,
        });
        self.all_get(owed.collect(), end).await
    }

    /// Waits until all is where it is waited for.
    async fn all_get<T: Awaited>(
        &self,
        mut owed: Vec<T>,
        end: Instant,
    ) -> Result<Reached, RedisError> {
        let given = owed.len();
        let mut pause = FIRST_PAUSE;
        let mut asked = false;
        loop {
            if owed.is_empty() {
                return Ok(Reached::Durable);
            }
            if Instant::now() >= end {
                return Ok(Reached::TooLate);
            }
            let are_own = self.hurry(&owed, asked).await;
            asked |= !are_own;
            // One's own worker tells; others' are asked about.
            let wait = if are_own { OWN_PAUSE } else { pause };
            let wait = end.min(Instant::now() + wait);
            if self.own_worker_told(&owed, wait).await {
                // Of those that went before it is only known what Redis said.
                let all_told = owed.len() == given;
                return Ok(if all_told {
                    Reached::Told
                } else {
                    Reached::Durable
                });
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            owed = T::still_owed(self, owed).await?;
        }
    }

    /// Waits until the worker of this process told of all of these, or for a while.
    async fn own_worker_told(&self, owed: &[impl Awaited], until: Instant) -> bool {
        let told = owed.iter().map(|one| one.told(self));
        let all = async { join_all(told).await.into_iter().all(|told| told) };
        match tokio::time::timeout_at(until, all).await {
            Ok(true) => true,
            // Some are not its own.
            Ok(false) => {
                tokio::time::sleep_until(until).await;
                false
            }
            Err(_) => false,
        }
    }

    /// How far each of these partitions is, in order.
    pub async fn progress_of(
        &self,
        numbers: &[u16],
    ) -> Result<Vec<(u16, Option<Progress>)>, RedisError> {
        let partitions: Vec<_> = numbers
            .iter()
            .map(|number| self.partition(*number))
            .collect();
        let found = self.redis.progress_many(&partitions).await?;
        Ok(numbers.iter().copied().zip(found).collect())
    }

    /// Asks whoever drains these partitions to hurry. Workers of other processes are asked through
    /// Redis, which keeps that, unless they `were_asked`. Answers whether all are our own worker's.
    async fn hurry(&self, owed: &[impl Awaited], were_asked: bool) -> bool {
        let mut are_own = true;
        for (number, place) in owed.iter().map(Awaited::place) {
            if self.worker.hurry(number) {
                continue;
            }
            are_own = false;
            if were_asked {
                continue;
            }
            let asked = self.redis.want_durable(self.partition(number), place);
            if let Err(error) = asked.await {
                // The worker comes by in a moment anyway.
                tracing::debug!(%error, number, "a worker could not be asked to hurry");
            }
        }
        are_own
    }
}
