//! Waiting until the ledger has what was written before a read.
//!
//! What a partition owes is its newest transition beyond what the ledger has, looked at once, when
//! the read comes; then the read waits until the ledger has that, for a bounded time. A partition
//! that is cold owes nothing.

use std::time::Duration;

use acclaim_core::Rev;
use tokio::time::Instant;

use super::shared::Shared;
use crate::redis::error::RedisError;
use crate::redis::progress::Progress;

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

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
        mut owed: Vec<(u16, Rev)>,
        longest: Duration,
    ) -> Result<bool, RedisError> {
        if owed.is_empty() {
            return Ok(true);
        }
        let end = Instant::now() + longest;
        let mut pause = FIRST_PAUSE;
        let mut asked = false;
        loop {
            let numbers: Vec<u16> = owed.iter().map(|(number, _)| *number).collect();
            let found = self.progress_of(&numbers).await?;
            let mut left = Vec::new();
            for ((number, place), (_, progress)) in owed.into_iter().zip(found) {
                if progress.is_some_and(|progress| progress.durable < place) {
                    left.push((number, place));
                }
            }
            owed = left;
            if owed.is_empty() {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            if !std::mem::replace(&mut asked, true) {
                self.hurry(&owed).await;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
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

    /// Asks whoever drains these partitions to hurry.
    async fn hurry(&self, owed: &[(u16, Rev)]) {
        for (number, place) in owed {
            let is_own = self.worker.hurry(*number);
            if is_own {
                continue;
            }
            let asked = self.redis.want_durable(self.partition(*number), *place);
            if let Err(error) = asked.await {
                // The worker comes by in a moment anyway.
                tracing::debug!(%error, number, "a worker could not be asked to hurry");
            }
        }
    }
}
