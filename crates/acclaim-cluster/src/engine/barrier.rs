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

/// How it is known that the ledger has some places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Our own worker applied the events at these very places, all of them.
    Told,
    /// Of some, Redis says that nothing is owed up to there, or lacks the partition.
    Durable,
    /// It does not have them yet, as far as is known, and the time is over.
    TooLate,
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
        let owed = self.still_owed(owed).await?;
        Ok(self.ledger_gets(owed, end).await? != Reached::TooLate)
    }

    /// The same, for places that were given only now: it is not asked first whether the ledger has
    /// them already.
    pub async fn ledger_gets(
        &self,
        mut owed: Vec<(u16, Rev)>,
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
            owed = self.still_owed(owed).await?;
        }
    }

    /// Those of which Redis does not say that the ledger has them.
    async fn still_owed(&self, mut owed: Vec<(u16, Rev)>) -> Result<Vec<(u16, Rev)>, RedisError> {
        let numbers: Vec<u16> = owed.iter().map(|(number, _)| *number).collect();
        let found = self.progress_of(&numbers).await?;
        let mut found = found.into_iter();
        owed.retain(|(_, place)| {
            let progress = found.next().and_then(|(_, progress)| progress);
            progress.is_some_and(|progress| progress.durable < *place)
        });
        Ok(owed)
    }

    /// Waits until the worker of this process told of all of these, or for a while.
    async fn own_worker_told(&self, owed: &[(u16, Rev)], until: Instant) -> bool {
        let told = owed
            .iter()
            .map(|(number, place)| self.worker.applied(self.partition(*number), *place));
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

    /// Waits until the bus has acknowledged these places of partitions, each published in the turn
    /// that stands with it. Answers whether it has.
    pub async fn bus_gets(
        &self,
        mut owed: Vec<(u16, u64, Rev)>,
        end: Instant,
    ) -> Result<bool, RedisError> {
        let mut pause = FIRST_PAUSE;
        let mut asked = false;
        loop {
            if owed.is_empty() {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            let places: Vec<(u16, Rev)> = owed.iter().map(|(n, _, place)| (*n, *place)).collect();
            let are_own = self.hurry(&places, asked).await;
            asked |= !are_own;
            let wait = if are_own { OWN_PAUSE } else { pause };
            let wait = end.min(Instant::now() + wait);
            let told = owed.iter().map(|(number, turn, place)| {
                let journal = self.partition(*number);
                self.worker.published(journal, *turn, *place)
            });
            let all = async { join_all(told).await.into_iter().all(|told| told) };
            match tokio::time::timeout_at(wait, all).await {
                Ok(true) => return Ok(true),
                // Some are not its own.
                Ok(false) => tokio::time::sleep_until(wait).await,
                Err(_) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            owed = self.still_unpublished(owed).await?;
        }
    }

    /// Those of which Redis does not say that the bus or the ledger has them.
    async fn still_unpublished(
        &self,
        owed: Vec<(u16, u64, Rev)>,
    ) -> Result<Vec<(u16, u64, Rev)>, RedisError> {
        let marks = owed
            .iter()
            .map(|(number, _, _)| self.redis.marks(self.partition(*number)));
        let marks = join_all(marks).await;
        let mut still = Vec::new();
        for ((number, turn, place), marks) in owed.into_iter().zip(marks) {
            let is_there = match marks? {
                Marks::Known {
                    durable, published, ..
                } => {
                    let published = published.filter(|published| published.turn == turn);
                    durable >= place || published.is_some_and(|published| published.upto >= place)
                }
                Marks::Cold | Marks::Unmarked { .. } => false,
            };
            if !is_there {
                still.push((number, turn, place));
            }
        }
        Ok(still)
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
    async fn hurry(&self, owed: &[(u16, Rev)], were_asked: bool) -> bool {
        let mut are_own = true;
        for (number, place) in owed {
            if self.worker.hurry(*number) {
                continue;
            }
            are_own = false;
            if were_asked {
                continue;
            }
            let asked = self.redis.want_durable(self.partition(*number), *place);
            if let Err(error) = asked.await {
                // The worker comes by in a moment anyway.
                tracing::debug!(%error, number, "a worker could not be asked to hurry");
            }
        }
        are_own
    }
}
