//! What is read from replicas of the ledger, and how late they are.
//!
//! Lists, a user's numbers, rankings and days come from a replica where there is one that has what
//! the read must see, and from the primary where there is none. Loads, checks, jobs and whatever
//! else decides read the primary.

use std::sync::Arc;
use std::time::Duration;

use acclaim_core::port::Dependency;
use acclaim_core::{ReadError, Rev};

use super::errors::read_error;
use super::shared::Shared;
use crate::ledger::Ledger;

impl Shared {
    /// Where to read what must be as new as the ledger is now in these partitions.
    pub async fn ledger_of(&self, partitions: &[u16]) -> Result<Ledger, ReadError> {
        let chosen = self.ledger.replica_with_all_of(partitions).await;
        chosen.map_err(read_error)
    }

    /// Where to read what must be as new as this place of a partition.
    pub async fn ledger_at(&self, partition: u16, place: Rev) -> Ledger {
        self.ledger.replica_with(&[(partition, place)]).await
    }

    /// Measures how late the replicas are until the engine stops.
    pub async fn watch_replicas(self: Arc<Self>) {
        if !self.ledger.has_replicas() {
            return;
        }
        let interval = Duration::from_millis(self.limits.health_interval_millis.max(10));
        let mut stopping = self.stopping.subscribe();
        while !self.is_stopping() {
            if let Err(error) = self.ledger.measure_replicas().await {
                tracing::warn!(%error, "how late the ledger's replicas are could not be measured");
            }
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    /// How the replicas stand.
    pub fn replica_dependencies(&self) -> Vec<Dependency> {
        let most = self.ledger.bounds().max_replica_lag;
        let health = self.ledger.replica_health().into_iter();
        let dependency = health.map(|replica| {
            let address = &replica.address;
            let detail = match replica.lag {
                None => format!("{address} does not answer, or is no replica; it is not read from"),
                Some(lag) if !replica.is_fit => format!(
                    "{address} is {} ms behind, and at most {} may be; it is not read from",
                    lag.as_millis(),
                    most.as_millis()
                ),
                Some(lag) => format!("{address} is {} ms behind", lag.as_millis()),
            };
            Dependency {
                name: "ledger-replica",
                up: replica.is_fit,
                latency_micros: replica
                    .lag
                    .map_or(0, |lag| u64::try_from(lag.as_micros()).unwrap_or(u64::MAX)),
                detail: Some(detail),
            }
        });
        dependency.collect()
    }
}
