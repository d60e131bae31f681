//! How the engine stands: asked for now and then, told at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use acclaim_core::port::{Dependency, Health};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::shared::Shared;
use crate::redis::error::RedisError;
use crate::worker::backlog;

/// The bus is asked once in so many intervals: it is a connection of its own each time.
const BUS_INTERVALS: u32 = 5;

/// What was found last.
#[derive(Default)]
pub struct Pulse {
    guarantee: String,
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
    /// Nothing found yet; what an acknowledgement survives, in words.
    pub fn new(guarantee: String) -> Self {
        Self {
            guarantee,
            ..Self::default()
        }
    }

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

    /// Asks the bus how it is until the engine stops, where there is one.
    pub async fn watch_bus(self: Arc<Self>) {
        let Some(carrier) = &self.carrier else {
            return;
        };
        let interval = Duration::from_millis(self.limits.health_interval_millis.max(10));
        let mut stopping = self.stopping.subscribe();
        let look = async {
            loop {
                tokio::time::sleep(interval * BUS_INTERVALS).await;
                // What is found is noted there.
                let _ = carrier.check().await;
            }
        };
        tokio::select! {
            () = look => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
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
        let asked = match self.ledger.open_store().await {
            Ok(_) => self.compare_seats().await,
            Err(error) => Err(error),
        };
        *self.pulse.ledger.lock() = Server {
            latency: began.elapsed(),
            trouble: asked.err().map(|error| error.to_string()),
        };
        self.look_at_duty().await;
    }

    /// How the engine stands.
    pub fn health(&self) -> Health {
        let redis = self.pulse.redis.lock().dependency("redis");
        let ledger = self.pulse.ledger.lock().dependency("ledger");
        let ready = redis.up && !self.is_stopping();
        let mut dependencies = vec![redis, ledger];
        dependencies.extend(self.carrier.as_ref().map(|carrier| {
            let state = carrier.state();
            let (latency, trouble) = (state.latency, state.trouble);
            Server { latency, trouble }.dependency("bus")
        }));
        dependencies.extend(self.replica_dependencies());
        dependencies.extend(self.duty_dependency());
        Health {
            // Without the ledger or the bus what is in Redis goes on.
            ready,
            guarantee: self.pulse.guarantee.clone(),
            dependencies,
            backlog_events: self.pulse.backlog_events(),
            backlog_millis: self.pulse.backlog_millis.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    /// Measures what the ledger does not have yet.
    async fn count_backlog(&self) -> Result<(), RedisError> {
        let all = self.all_partitions().map(|number| self.partition(number));
        let all: Vec<_> = all.collect();
        let backlog = backlog::measure(&self.redis, &all, self.script_time()).await?;
        let millis = u64::try_from(backlog.oldest.as_millis()).unwrap_or(u64::MAX);
        self.pulse
            .backlog_events
            .store(backlog.events, Ordering::Relaxed);
        self.pulse.backlog_millis.store(millis, Ordering::Relaxed);
        Ok(())
    }
}
