//! Seats as the ledger keeps them, for the side of Redis that asks for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use acclaim_core::{ReadError, Rev};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::shared::Shared;
use crate::ledger::Ledger;
use crate::ledger::seat::Seat;
use crate::redis::connection::Redis;
use crate::redis::error::RedisError;
use crate::redis::load::SourceError;
use crate::redis::seat::{SeatBook, SeatRow};
use crate::worker::Carrier;

/// How often a read is tried that was refused for the life that it named. A seat is seldom taken
/// twice in the time of a read.
const READ_ATTEMPTS: usize = 4;
/// The pause before seats are asked for again that could not be had.
const ASK_PAUSE: Duration = Duration::from_millis(200);

/// The ledger's primary, and the bus that carries events into it, where there is one.
pub struct LedgerSeats {
    pub ledger: Ledger,
    pub carrier: Option<Arc<Carrier>>,
}

fn failed(error: impl std::fmt::Display) -> SourceError {
    SourceError(error.to_string())
}

impl SeatBook for LedgerSeats {
    fn read(&self, partition: u16) -> BoxFuture<'_, Result<SeatRow, SourceError>> {
        async move {
            let seat = self.ledger.seat(partition).await.map_err(failed)?;
            Ok(SeatRow {
                server: seat.server,
                turn: seat.turn,
                life: seat.life,
                applied: seat.applied,
                is_passed: seat.is_passed,
                is_carried: seat.is_carried,
                is_closing: seat.is_closing,
                closed: seat.closed,
            })
        }
        .boxed()
    }

    fn take<'a>(
        &'a self,
        partition: u16,
        found: &'a SeatRow,
        server: &'a str,
        life: u32,
    ) -> BoxFuture<'a, Result<bool, SourceError>> {
        async move {
            let found = Seat {
                server: found.server.clone(),
                turn: found.turn,
                life: found.life,
                applied: found.applied,
                is_passed: found.is_passed,
                is_carried: found.is_carried,
                is_closing: found.is_closing,
                closed: found.closed,
            };
            let taken = self.ledger.take_seat(partition, &found, server, life).await;
            taken.map_err(failed)
        }
        .boxed()
    }

    fn settle<'a>(
        &'a self,
        partition: u16,
        found: &'a SeatRow,
    ) -> BoxFuture<'a, Result<bool, SourceError>> {
        async move {
            let is_open = match found.is_closing {
                true => found.closed < found.turn,
                false => found.is_carried,
            };
            let Some(carrier) = self.carrier.as_ref().filter(|_| is_open) else {
                return Ok(true);
            };
            carrier
                .settle(&self.ledger, partition)
                .await
                .map_err(failed)?;
            Ok(false)
        }
        .boxed()
    }
}

/// Asks for the seats of all partitions, before anybody comes who would have to wait for it; again
/// and again for so long.
pub async fn ask_for_all(
    redis: &Redis,
    epoch: u32,
    partitions: u16,
    longest: Duration,
) -> Result<(), RedisError> {
    let all = || -> Vec<_> { (0..partitions).map(|n| redis.partition(epoch, n)).collect() };
    let end = Instant::now() + longest;
    let mut is_first = true;
    loop {
        match redis.progress_many(&all()).await {
            // It may only have said in which lives they are.
            Err(RedisError::Unavailable { .. }) if is_first => is_first = false,
            Err(error @ RedisError::Unavailable { .. }) if Instant::now() + ASK_PAUSE < end => {
                tracing::warn!(%error, "the seats of partitions cannot be had yet");
                tokio::time::sleep(ASK_PAUSE).await;
            }
            other => return other.map(|_| ()),
        }
    }
}

impl Shared {
    /// Compares the seats that this node knows with the ledger's: one that was taken without its
    /// knowledge is asked for again. So a node that still reaches a server that was replaced goes on
    /// there for at most as long as this is away.
    pub async fn compare_seats(&self) -> Result<(), crate::ledger::LedgerError> {
        if let Some(seats) = self.redis.seats() {
            seats.compare(&self.ledger.seat_turns().await?);
        }
        Ok(())
    }

    /// The turns of the seats of partitions; two that are the same say that no server forgot
    /// anything in between.
    pub fn turns(&self, partitions: &[u16]) -> Vec<Option<u64>> {
        let seats = self.redis.seats();
        let turn = |number: &u16| seats.and_then(|seats| seats.turn(*number));
        partitions.iter().map(turn).collect()
    }

    /// How often the life of a partition came to be known: see [`Shared::in_lives_of_now`].
    pub fn lives_learnt(&self) -> u64 {
        self.redis.seats().map_or(0, |seats| seats.learnt())
    }

    /// Reads, and reads again where it was refused while lives came to be known: the first to ask
    /// after a failover names the old ones, and all that is asked along with it is refused.
    pub async fn in_lives_of_now<T, F>(&self, read: impl Fn() -> F) -> Result<T, ReadError>
    where
        F: Future<Output = Result<T, ReadError>>,
    {
        let mut attempt = 1;
        loop {
            let before = self.lives_learnt();
            match read().await {
                Err(ReadError::Unavailable { .. })
                    if attempt < READ_ATTEMPTS && self.lives_learnt() != before =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Takes note of a place that was told to somebody, for those who take a seat.
    pub fn told_place(&self, place: Rev) {
        if let Some(seats) = self.redis.seats() {
            seats.saw(place);
        }
    }
}
