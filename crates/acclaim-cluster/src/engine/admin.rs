//! Looking after the store: export, recovery, audit, checks.

use std::sync::Arc;
use std::time::Duration;

use acclaim_core::error::JobError;
use acclaim_core::port::{AuditEntry, CheckReport, ExportedEdge, Recovered};
use acclaim_core::{EdgeKey, KindId, ReadError, TargetKey, WriteError};
use tokio::time::Instant;

use super::cold::LedgerSource;
use super::errors::{read_error, unavailable};
use super::names::target_ref;
use super::shared::Shared;
use crate::ledger::read::export::MAX_EXPORT_ROWS;
use crate::ledger::recount::{Counted, Recounted};
use crate::redis::keys::TargetName;
use crate::redis::load::Cold;
use crate::redis::renew::Dropped;

/// How long a recovery of one target tries to find it at rest.
const RECOVER_MAX: Duration = Duration::from_secs(30);
const RECOVER_PAUSE: Duration = Duration::from_millis(20);
/// Edges that are counted while the target is away from Redis: a few milliseconds. Those of a larger
/// one are counted before.
const COUNT_AWAY_EDGES: u64 = 20_000;
/// How often a larger one is counted before, when it was written to in between; then its edges are
/// counted while it is away, and what is asked of it waits.
const COUNTS_AHEAD: usize = 3;

impl Shared {
    /// See [`acclaim_core::port::Admin::export`].
    pub async fn export(
        &self,
        kind: KindId,
        after: Option<&EdgeKey>,
        max_edges: usize,
    ) -> Result<Vec<ExportedEdge>, ReadError> {
        let after = match after {
            Some(edge) => Some(self.known_edge(edge).await?.ok_or_else(|| {
                read_error(format!(
                    "no edge has a target of type {}",
                    edge.target.target_type
                ))
            })?),
            None => {
                self.ledger_has_everything().await?;
                None
            }
        };
        let most = max_edges.min(MAX_EXPORT_ROWS);
        let kind_no = self.names.kind_no(kind);
        let found = self
            .ledger
            .export_edges(kind_no, after.as_ref(), most)
            .await;
        let edges = found.map_err(read_error)?.into_iter();
        Ok(edges
            .map(|exported| ExportedEdge {
                edge: EdgeKey {
                    kind,
                    user: exported.user,
                    target: exported.target,
                },
                at: exported.at,
            })
            .collect())
    }

    /// See [`acclaim_core::port::Admin::recover`].
    pub async fn recover(self: &Arc<Self>, target: &TargetKey) -> Result<Recovered, JobError> {
        match self.known_target(target).await? {
            Some(name) => self.recover_target(&name).await,
            None => Ok(Recovered {
                count_before: 0,
                count_after: 0,
                edges: 0,
            }),
        }
    }

    /// Drops what Redis has of a target, counts its edges in the ledger, and loads it again.
    ///
    /// From the moment it is dropped until it is loaded nothing is decided on it, and it is dropped
    /// only when the ledger has all of it: so the ledger's edges are what there is. Those of a
    /// large one are counted before it is dropped, so that nobody waits for that; the count holds
    /// if nothing happened to the target since.
    pub async fn recover_target(
        self: &Arc<Self>,
        name: &TargetName,
    ) -> Result<Recovered, JobError> {
        let number = name.partition(self.store.partitions);
        let end = Instant::now() + RECOVER_MAX;
        let mut counts = 0;
        let mut ahead = self.count_ahead(name, &mut counts).await?;
        loop {
            let dropped = self.redis.drop_record(self.partition(number), name).await;
            match dropped.map_err(read_error)? {
                Dropped::Gone { claim, count } => {
                    let recounted = self.recount(number, name, ahead.as_ref()).await;
                    let (source, keep) = (LedgerSource::of(self), self.limits.keep());
                    // One whose token ended is loaded by whoever needs it next.
                    let filled = self.redis.fill(&source, claim, keep).await;
                    if let Some(recounted) = recounted? {
                        filled.map_err(read_error)?;
                        return Ok(Recovered {
                            count_before: count.unwrap_or(recounted.before),
                            count_after: recounted.after,
                            edges: recounted.after,
                        });
                    }
                    ahead = self.count_ahead(name, &mut counts).await?;
                }
                Dropped::Behind => {
                    let waited = self.ledger_has([number]).await;
                    waited.map_err(read_error)?;
                }
                Dropped::Held => tokio::time::sleep(RECOVER_PAUSE).await,
                Dropped::Cold => {
                    let loaded = self.load_all([(number, Cold::Partition)]).await;
                    loaded.map_err(read_error)?;
                }
            }
            if Instant::now() > end {
                let text = format!(
                    "{name} did not come to rest within {} s",
                    RECOVER_MAX.as_secs()
                );
                return Err(read_error(text).into());
            }
        }
    }

    /// Counts the edges of a large target before it is dropped, unless that was tried often enough.
    async fn count_ahead(
        &self,
        name: &TargetName,
        counts: &mut usize,
    ) -> Result<Option<Counted>, JobError> {
        let target = target_ref(name);
        let edges = self.ledger.edges_written_down(&target).await;
        if edges.map_err(read_error)? <= COUNT_AWAY_EDGES || *counts >= COUNTS_AHEAD {
            return Ok(None);
        }
        *counts += 1;
        let counted = self.ledger.count_edges(&target).await;
        Ok(Some(counted.map_err(read_error)?))
    }

    /// Writes the count of a dropped target down: what was counted ahead, if it still holds.
    async fn recount(
        &self,
        partition: u16,
        name: &TargetName,
        ahead: Option<&Counted>,
    ) -> Result<Option<Recounted>, JobError> {
        let target = target_ref(name);
        let recounted = match ahead {
            Some(counted) => self.ledger.write_counted(partition, &target, counted).await,
            None => self.ledger.recount(partition, &target).await.map(Some),
        };
        Ok(recounted.map_err(read_error)?)
    }

    /// See [`acclaim_core::port::Admin::check_reports`].
    pub async fn check_reports(&self, hours: u32) -> Result<CheckReport, ReadError> {
        self.notes().check_reports(hours).await.map_err(read_error)
    }

    /// See [`acclaim_core::port::Admin::write_audit`].
    pub async fn write_audit(&self, action: &str, detail: &str) -> Result<(), WriteError> {
        let written = self.notes().write_audit(action, detail).await;
        written.map_err(|error| unavailable(&error))
    }

    /// See [`acclaim_core::port::Admin::audit`].
    pub async fn audit(&self, hours: u32) -> Result<Vec<AuditEntry>, ReadError> {
        self.notes().audit(hours).await.map_err(read_error)
    }
}
