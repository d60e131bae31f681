//! How the engine stands: asked for now and then, told at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use acclaim_core::port::{Dependency, Health};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::shared::Shared;
use crate::redis::journal::MAX_JOURNAL_READ_EVENTS;

const GUARANTEE: &str = "decided and counted in Redis before the answer, and in the ledger a moment \
                         later; survives what Redis is configured to survive";

/// What was found last.
#[derive(Default)]
pub struct Pulse {
    redis: Mutex<Server>,
    ledger: Mutex<Server>,
    backlog_events: AtomicU64,
    backlog_millis: AtomicU64,
}

#[derive(Clone, Default)]
struct Server {
    latency: Duration,
    trouble: Option<String>,
}

impl Server {
    fn dependency(&self, name: &'static str) -> Dependency {
        Dependency {
            name,
            up: self.trouble.is_none(),
            latency_micros: u64::try_from(self.latency.as_micros()).unwrap_or(u64::MAX),
            detail: self.trouble.clone(),
        }
    }
}

impl Pulse {
    /// Events acknowledged and not yet in the ledger, when they were counted last.
    pub fn backlog_events(&self) -> u64 {
        self.backlog_events.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Asks the servers how they are until the engine stops.
    pub async fn watch_health(self: Arc<Self>) {
        let interval = Duration::from_millis(self.limits.health_interval_millis.max(10));
        let mut stopping = self.stopping.subscribe();
        while !self.is_stopping() {
            self.look_at_servers().await;
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    /// Asks once.
    pub async fn look_at_servers(&self) {
        let began = Instant::now();
        let backlog = self.count_backlog().await;
        *self.pulse.redis.lock() = Server {
            latency: began.elapsed(),
            trouble: backlog.err().map(|error| error.to_string()),
        };
        let began = Instant::now();
        let asked = self.ledger.open_store().await;
        *self.pulse.ledger.lock() = Server {
            latency: began.elapsed(),
            trouble: asked.err().map(|error| error.to_string()),
        };
    }

    /// How the engine stands.
    pub fn health(&self) -> Health {
        let redis = self.pulse.redis.lock().dependency("redis");
        let ledger = self.pulse.ledger.lock().dependency("ledger");
        Health {
            // Without the ledger what is in Redis goes on.
            ready: redis.up && !self.is_stopping(),
            guarantee: GUARANTEE.to_owned(),
            dependencies: vec![redis, ledger],
            backlog_events: self.pulse.backlog_events(),
            backlog_millis: self.pulse.backlog_millis.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    /// Counts what the ledger does not have yet.
    async fn count_backlog(&self) -> Result<(), crate::redis::error::RedisError> {
        let all: Vec<u16> = self.all_partitions().collect();
        let (mut events, mut millis) = (0, 0);
        for (number, progress) in self.progress_of(&all).await? {
            let Some(progress) = progress.filter(|progress| !progress.is_durable()) else {
                continue;
            };
            let partition = self.partition(number);
            let most = MAX_JOURNAL_READ_EVENTS;
            let waiting = self.redis.journal_after(partition, progress.durable, most);
            let waiting = waiting.await?;
            events += waiting.len() as u64;
            if let Some(Ok(oldest)) = waiting.first() {
                millis = millis.max(progress.time.0.saturating_sub(oldest.seq.0) / 1_000);
            }
        }
        self.pulse.backlog_events.store(events, Ordering::Relaxed);
        self.pulse.backlog_millis.store(millis, Ordering::Relaxed);
        Ok(())
    }
}
