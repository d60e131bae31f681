//! Sweeping: what has become too old goes, also where nothing happens.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::drain::Tools;
use super::super::look::journal;
use super::super::watched::add;
use super::{Done, Run};
use crate::ledger::Lease;
use crate::redis::error::RedisError;
use crate::redis::journal::Marks;
use crate::redis::persist::Persisted;

impl Run {
    pub(super) fn begin_sweep(&mut self, now: Instant) {
        self.sweeps_at = now + Duration::from_secs(self.tools.limits.sweep_seconds);
        let leases = self.share.leases();
        if leases.is_empty() || self.stopping.is_some() {
            return;
        }
        self.is_sweeping = true;
        let (tools, partitions) = (Arc::clone(&self.tools), self.partitions);
        self.under_way.spawn(async move {
            let journals: Vec<_> = leases.iter().map(|lease| journal(*lease)).collect();
            match tools.redis.sweep_lives(&journals).await {
                Ok(0) => {}
                Ok(keys) => tracing::info!(keys, "what earlier lives left was removed"),
                Err(error) => tracing::debug!(%error, "earlier lives could not be removed"),
            }
            for lease in leases {
                if let Err(error) = sweep(&tools, lease, partitions).await {
                    // The next one sees to it.
                    tracing::debug!(partition = lease.partition, %error, "a sweep failed");
                }
            }
            Done::Swept
        });
    }
}

/// Trims what has become too old in a partition where nothing happens, and removes old answers.
async fn sweep(tools: &Tools, lease: Lease, partitions: u16) -> Result<(), RedisError> {
    let journal = journal(lease);
    let marks = tools.redis.marks(journal).await?;
    if let Marks::Known { durable, kept, .. } = marks
        && kept > 0
    {
        let nothing_new = Persisted {
            upto: durable,
            after: durable,
            ..Persisted::default()
        };
        let keep = tools.keep(partitions);
        tools
            .redis
            .persisted(journal, tools.now(), keep, &nothing_new)
            .await?;
    }
    loop {
        let (shelves, more) = tools.redis.sweep_answers(journal, tools.now()).await?;
        add(&tools.watched.shelves_removed, shelves);
        if !more {
            return Ok(());
        }
    }
}
