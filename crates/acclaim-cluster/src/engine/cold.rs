//! Loading what is cold, once however many wait for it.
//!
//! In this process those who need the same thing share one load; over all nodes the token in Redis
//! lets one of them read the ledger. A load runs by itself, so that nobody who goes away leaves a
//! token behind.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared as SharedFuture, try_join_all};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::names::target_ref;
use super::shared::Shared;
use crate::ledger::Ledger;
use crate::ledger::read::load::{LoadedEntry, MAX_LOAD_ENTRIES};
use crate::redis::keys::TargetName;
use crate::redis::load::{Cold, EdgeRows, LoadError, Loaded, Source, SourceError, TargetRow};

/// The first pause while another node loads; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Why something could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadFailure {
    /// A server did not answer.
    #[error(transparent)]
    Server(#[from] LoadError),
    /// Another node has been loading it all the while.
    #[error("it was being loaded elsewhere for {0} ms")]
    Busy(u64),
    /// The task that loaded it died.
    #[error("the load died")]
    Died,
}

type UnderWay = SharedFuture<BoxFuture<'static, Result<(), LoadFailure>>>;

/// The loads under way in this process.
pub struct Loads {
    under_way: Mutex<HashMap<(u16, Cold), UnderWay>>,
    room: Semaphore,
}

impl Loads {
    /// At most so many at once.
    pub fn new(loads_max: usize) -> Self {
        Self {
            under_way: Mutex::default(),
            room: Semaphore::new(loads_max.max(1)),
        }
    }
}

impl Shared {
    /// Loads all of these, which may have been loaded meanwhile.
    pub async fn load_all(
        self: &Arc<Self>,
        cold: impl IntoIterator<Item = (u16, Cold)>,
    ) -> Result<(), LoadFailure> {
        let loads = cold.into_iter().map(|(partition, what)| self.load(partition, what));
        try_join_all(loads).await.map(|_| ())
    }

    fn load(self: &Arc<Self>, partition: u16, what: Cold) -> UnderWay {
        let key = (partition, what);
        let mut under_way = self.loads.under_way.lock();
        if let Some(load) = under_way.get(&key) {
            return load.clone();
        }
        let (shared, own) = (Arc::clone(self), key.clone());
        let task = tokio::spawn(async move {
            let outcome = shared.load_now(own.0, &own.1).await;
            shared.loads.under_way.lock().remove(&own);
            outcome
        });
        let outcome = task.map(|ended| ended.unwrap_or(Err(LoadFailure::Died)));
        let load = outcome.boxed().shared();
        under_way.insert(key, load.clone());
        load
    }

    async fn load_now(&self, partition: u16, what: &Cold) -> Result<(), LoadFailure> {
        let source = LedgerSource(&self.ledger);
        let longest = self.limits.load_wait_max();
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            // The semaphore is never closed.
            let room = self.loads.room.acquire().await;
            let (place, keep) = (self.partition(partition), self.limits.keep());
            let loaded = self.redis.load(&source, place, what.clone(), keep).await?;
            drop(room);
            match loaded {
                Loaded::Here | Loaded::Elsewhere => return Ok(()),
                Loaded::Busy if began.elapsed() > longest => {
                    return Err(LoadFailure::Busy(self.limits.load_wait_max_millis));
                }
                Loaded::Busy => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// The ledger's primary as loads read it.
pub struct LedgerSource<'a>(pub &'a Ledger);

fn source_error(error: impl std::fmt::Display) -> SourceError {
    SourceError(error.to_string())
}

fn rows(entries: Vec<LoadedEntry>) -> EdgeRows {
    let row = |entry: LoadedEntry| (entry.user, entry.state);
    entries.into_iter().map(row).collect()
}

impl Source for LedgerSource<'_> {
    fn applied(&self, partition: u16) -> BoxFuture<'_, Result<acclaim_core::Rev, SourceError>> {
        async move {
            let partitions = self.0.partitions().await.map_err(source_error)?;
            let found = partitions.iter().find(|one| one.partition == partition);
            let found = found.ok_or_else(|| source_error(format!("no partition {partition}")))?;
            Ok(found.applied)
        }
        .boxed()
    }

    fn target(
        &self,
        target: &TargetName,
        max_edges: u64,
    ) -> BoxFuture<'_, Result<(TargetRow, EdgeRows), SourceError>> {
        let target = target_ref(target);
        async move {
            let most = usize::try_from(max_edges).unwrap_or(MAX_LOAD_ENTRIES);
            let loaded = self.0.load_target(&target, most).await.map_err(source_error)?;
            let mut row = TargetRow {
                count: loaded.count,
                seq: loaded.seq,
                edges: loaded.edges,
            };
            if loaded.entries.is_none() {
                // More rows than the target's row says: too many to lie in the record itself.
                row.edges = row.edges.max(max_edges + 1);
            }
            Ok((row, rows(loaded.entries.unwrap_or_default())))
        }
        .boxed()
    }

    fn bucket(
        &self,
        target: &TargetName,
        hashes: RangeInclusive<u32>,
    ) -> BoxFuture<'_, Result<EdgeRows, SourceError>> {
        let target = target_ref(target);
        async move {
            let loaded = self.0.load_bucket(&target, hashes).await.map_err(source_error)?;
            let entries = loaded.entries.ok_or_else(|| {
                source_error(format!("a bucket with more than {MAX_LOAD_ENTRIES} entries"))
            })?;
            Ok(rows(entries))
        }
        .boxed()
    }
}
