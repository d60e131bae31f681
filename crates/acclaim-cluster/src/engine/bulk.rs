//! Edges straight into the ledger, many in one transaction, past Redis: imports of much that is
//! new.
//!
//! For each partition the records of all targets are dropped and claimed
//! (`redis/scripts/drop.lua`), the edges are decided and written by
//! [`crate::ledger::Ledger::import_bulk`], whose documents say why that is right, and the claims are
//! given back. A target with events that the ledger does not have is hot: its edges are set in the
//! ordinary way, through Redis.
//!
//! Nothing of it comes into the journal: who follows events does not hear of these edges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acclaim_core::port::Write;
use acclaim_core::{Action, Op, WriteError};
use futures::StreamExt as _;
use futures::stream;

use super::Cluster;
use super::errors::unavailable;
use super::shared::Shared;
use crate::ledger::bulk::{Bulk, BulkEdge, Excludes, Imported};
use crate::ledger::{KindNo, LedgerError, TypeNo};
use crate::redis::keys::TargetName;
use crate::redis::load::{Claim, Cold};
use crate::redis::renew::Dropped;

/// Edges in one transaction. Whatever else writes the partition waits for it, and so does who asks
/// for one of the targets.
const BULK_EDGES: usize = 2_000;
/// Ops in one write of those that go through Redis.
const WRITE_OPS: usize = 1_000;
/// Partitions written at a time.
const BULK_PARTITIONS: usize = 4;
/// How long claims live beyond the time of the transaction and of one statement: whoever dies with
/// them holds their targets up for so long.
const CLAIM_SLACK: Duration = Duration::from_secs(2);
/// So long after its targets were claimed a bulk is given up.
const BULK_LIMIT: Duration = Duration::from_secs(10);

/// An op of a bulk, with what it may change.
struct BulkOp {
    op: Op,
    target: TargetName,
    /// The same target under the kinds that a set unsets.
    excluded: Vec<TargetName>,
}

impl BulkOp {
    fn targets(&self) -> impl Iterator<Item = &TargetName> {
        std::iter::once(&self.target).chain(&self.excluded)
    }
}

impl Cluster {
    /// Sets edges with the times they have, where that can be past Redis, and all others through
    /// it. Of two ops about one edge the first decides. May be called again with the same.
    ///
    /// # Errors
    /// As [`acclaim_core::port::Writes::apply`]; some of it may be done.
    pub async fn import(&self, ops: Vec<Op>) -> Result<Imported, WriteError> {
        let shared = &self.shared;
        let mut parts: BTreeMap<u16, Vec<BulkOp>> = BTreeMap::new();
        let mut others = Vec::new();
        for op in ops {
            if op.action != Action::Set || op.at.is_none() {
                others.push(op);
                continue;
            }
            let target = shared.written_target(&op.edge.target_key()).await?;
            let partition = target.partition(shared.store.partitions);
            let kinds = shared.kinds.excluded_by(op.edge.kind).iter();
            let excluded = kinds.map(|kind| TargetName {
                kind: shared.names.kind_no(*kind).0,
                ..target.clone()
            });
            let excluded = excluded.collect();
            let part = parts.entry(partition).or_default();
            part.push(BulkOp {
                op,
                target,
                excluded,
            });
        }
        let excludes = &shared.excludes();
        let bulks = parts.into_iter().map(|(partition, ops)| async move {
            let mut done = (Imported::default(), Vec::new());
            let mut ops = ops.into_iter().peekable();
            while ops.peek().is_some() {
                let some: Vec<BulkOp> = ops.by_ref().take(BULK_EDGES).collect();
                let (imported, hot) = shared.import_part(partition, some, excludes).await?;
                done.0.set += imported.set;
                done.0.unchanged += imported.unchanged;
                done.1.extend(hot);
            }
            Ok::<_, WriteError>(done)
        });
        let mut bulks = stream::iter(bulks).buffer_unordered(BULK_PARTITIONS);
        let mut sum = Imported::default();
        while let Some(done) = bulks.next().await {
            let (imported, hot) = done?;
            sum.set += imported.set;
            sum.unchanged += imported.unchanged;
            others.extend(hot);
        }
        for ops in others.chunks(WRITE_OPS) {
            let write = Write::plain(ops.to_vec());
            let done = shared.apply(write).await?.transitions;
            let set = done.iter().filter(|done| done.changed).count() as u64;
            sum.set += set;
            sum.unchanged += done.len() as u64 - set;
        }
        Ok(sum)
    }
}

impl Shared {
    fn excludes(&self) -> Excludes {
        let kinds = self.names.kinds();
        let excludes = kinds.map(|(id, number)| {
            let others = self.kinds.excluded_by(id).iter();
            let others: Vec<KindNo> = others.map(|kind| self.names.kind_no(*kind)).collect();
            (number, others)
        });
        excludes.collect()
    }

    /// Imports edges of one partition; answers also the ops whose targets are hot.
    async fn import_part(
        self: &Arc<Self>,
        partition: u16,
        ops: Vec<BulkOp>,
        excludes: &Excludes,
    ) -> Result<(Imported, Vec<Op>), WriteError> {
        let targets: BTreeSet<&TargetName> = ops.iter().flat_map(BulkOp::targets).collect();
        let targets: Vec<TargetName> = targets.into_iter().cloned().collect();
        // The claims live from when they were taken.
        let began = Instant::now();
        let claims = self.claim_for_bulk(partition, &targets).await?;
        let free: BTreeSet<&TargetName> = claims
            .iter()
            .filter_map(|claim| match claim.cold() {
                Cold::Record(target) => Some(target),
                _ => None,
            })
            .collect();
        let (cold, hot): (Vec<BulkOp>, Vec<BulkOp>) = ops
            .into_iter()
            .partition(|op| op.targets().all(|target| free.contains(target)));
        let edges: Vec<BulkEdge> = cold.iter().filter_map(bulk_edge).collect();
        let imported = self
            .ledger
            .import_bulk(&Bulk {
                partition,
                epoch: self.store.epoch,
                edges: &edges,
                excludes,
                now: self.now(),
                limit: BULK_LIMIT.saturating_sub(began.elapsed()),
            })
            .await;
        // While it is not known what became of the transaction nothing may be loaded: then the
        // claims are left to end by themselves.
        if imported.is_ok() {
            let released = self
                .redis
                .release_records(self.partition(partition), claims);
            if let Err(error) = released.await {
                tracing::debug!(%error, partition, "claims of an import end by themselves");
            }
        }
        let mut hot: Vec<Op> = hot.into_iter().map(|op| op.op).collect();
        match imported {
            Ok(imported) => Ok((imported, hot)),
            Err(error @ (LedgerError::Unavailable { .. } | LedgerError::Contended { .. })) => {
                Err(unavailable(&error))
            }
            Err(error) => {
                // Too slow, or refused: the ordinary way says what it is, if it is anything.
                tracing::warn!(%error, partition, "a bulk was not written; its edges go through Redis");
                hot.extend(cold.into_iter().map(|op| op.op));
                Ok((Imported::default(), hot))
            }
        }
    }

    /// Claims as many of the targets as are at rest.
    async fn claim_for_bulk(
        self: &Arc<Self>,
        partition: u16,
        targets: &[TargetName],
    ) -> Result<Vec<Claim>, WriteError> {
        let place = self.partition(partition);
        let bounds = self.ledger.bounds();
        let lives = BULK_LIMIT + bounds.statement_timeout + bounds.statement_grace + CLAIM_SLACK;
        let lives = u64::try_from(lives.as_millis()).unwrap_or(u64::MAX);
        // The partition itself may be cold; it is loaded once.
        for _ in 0..2 {
            let mut claims = Vec::with_capacity(targets.len());
            let mut is_cold = false;
            for dropped in self.redis.drop_records(place, targets, lives).await {
                match dropped {
                    Ok(Dropped::Gone { claim, .. }) => claims.push(claim),
                    Ok(Dropped::Cold) => is_cold = true,
                    // One that was lost ends by itself; its edges take the ordinary way.
                    Ok(Dropped::Behind | Dropped::Held) | Err(_) => {}
                }
            }
            if !is_cold {
                return Ok(claims);
            }
            let released = self.redis.release_records(place, claims).await;
            released.map_err(|error| unavailable(&error))?;
            let loaded = self.load_all([(partition, Cold::Partition)]).await;
            loaded.map_err(|error| unavailable(&error))?;
        }
        Ok(Vec::new())
    }
}

fn bulk_edge(bulk: &BulkOp) -> Option<BulkEdge> {
    Some(BulkEdge {
        kind: KindNo(bulk.target.kind),
        target_type: TypeNo(bulk.target.target_type),
        target: bulk.target.id.clone(),
        user: bulk.op.edge.user.clone(),
        at: bulk.op.at?,
    })
}
