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
use crate::ledger::read::load::{LoadedEntry, LoadedTarget, MAX_LOAD_ENTRIES, MAX_LOAD_TARGETS};
use crate::redis::keys::TargetName;
use crate::redis::layout::MAX_INLINE_ENTRIES;
use crate::redis::load::{
    Claim, Cold, EdgeRows, LoadError, Loaded, Source, SourceError, TargetRow,
};
use crate::worker::Carrier;

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
        let loads = self.begin_loads(cold);
        try_join_all(loads).await.map(|_| ())
    }

    /// The loads that these wait for: those under way, and new ones. Records are loaded together,
    /// since a write may name many new targets.
    fn begin_loads(self: &Arc<Self>, cold: impl IntoIterator<Item = (u16, Cold)>) -> Vec<UnderWay> {
        let mut under_way = self.loads.under_way.lock();
        let (mut loads, mut records, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for key in cold {
            match (under_way.get(&key), &key.1) {
                (Some(load), _) => loads.push(load.clone()),
                (None, Cold::Record(_)) => records.push(key),
                (None, _) => others.push(vec![key]),
            }
        }
        let together = records.chunks(MAX_LOAD_TARGETS).map(<[_]>::to_vec);
        for keys in together.chain(others) {
            let (shared, own) = (Arc::clone(self), keys.clone());
            let task = tokio::spawn(async move {
                let outcome = shared.load_together(&own).await;
                let mut under_way = shared.loads.under_way.lock();
                for key in &own {
                    under_way.remove(key);
                }
                outcome
            });
            let outcome = task.map(|ended| ended.unwrap_or(Err(LoadFailure::Died)));
            let load = outcome.boxed().shared();
            under_way.extend(keys.into_iter().map(|key| (key, load.clone())));
            loads.push(load);
        }
        loads
    }

    async fn load_together(&self, keys: &[(u16, Cold)]) -> Result<(), LoadFailure> {
        match keys {
            [(partition, what)] => self.load_now(*partition, what).await,
            keys => self.load_records(keys).await,
        }
    }

    /// Loads records: all tokens, then all rows at one moment, then all are installed.
    async fn load_records(&self, keys: &[(u16, Cold)]) -> Result<(), LoadFailure> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut left = keys.to_vec();
        loop {
            // The semaphore is never closed.
            let room = self.loads.room.acquire().await;
            let wanted = left.iter();
            let wanted = wanted.map(|(number, what)| (self.partition(*number), what.clone()));
            let claimed = self.redis.claim_many(wanted.collect()).await;
            let (mut busy, mut claims) = (Vec::new(), Vec::new());
            for (key, claim) in left.into_iter().zip(claimed) {
                match claim.map_err(LoadError::from)? {
                    Ok(claim) => claims.push((key, claim)),
                    Err(Loaded::Here | Loaded::Elsewhere) => {}
                    Err(Loaded::Busy) => busy.push(key),
                }
            }
            busy.extend(self.fill_claims(claims).await?);
            drop(room);
            left = busy;
            if left.is_empty() {
                return Ok(());
            }
            if began.elapsed() > self.limits.load_wait_max() {
                return Err(LoadFailure::Busy(self.limits.load_wait_max_millis));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Reads and installs what is claimed. Answers what was lost.
    async fn fill_claims(
        &self,
        claims: Vec<((u16, Cold), Claim)>,
    ) -> Result<Vec<(u16, Cold)>, LoadFailure> {
        let (mut keys, mut targets, mut own) = (Vec::new(), Vec::new(), Vec::new());
        for (key, claim) in claims {
            if let Cold::Record(target) = &key.1 {
                targets.push(target_ref(target));
                own.push(claim);
                keys.push(key);
            }
        }
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        // It fits a usize everywhere.
        let most = MAX_INLINE_ENTRIES as usize;
        let rows = self.ledger.load_targets(&targets, most).await;
        let rows = rows.map_err(|error| LoadError::from(source_error(error)))?;
        let records = own.into_iter().zip(rows).map(|(claim, loaded)| {
            let (row, edges) = record(loaded, MAX_INLINE_ENTRIES);
            (claim, row, edges)
        });
        let keep = self.limits.keep();
        let installed = self.redis.fill_records(records.collect(), keep).await;
        let mut lost = Vec::new();
        for (key, installed) in keys.into_iter().zip(installed) {
            if installed.map_err(LoadError::from)? == Loaded::Busy {
                lost.push(key);
            }
        }
        Ok(lost)
    }

    async fn load_now(&self, partition: u16, what: &Cold) -> Result<(), LoadFailure> {
        let source = LedgerSource::of(self);
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

/// The ledger's primary as loads read it, and the bus that carries events into it, if there is one.
pub struct LedgerSource<'a> {
    ledger: &'a Ledger,
    carrier: Option<&'a Arc<Carrier>>,
}

impl<'a> LedgerSource<'a> {
    /// Those of an engine.
    pub fn of(shared: &'a Shared) -> Self {
        Self {
            ledger: &shared.ledger,
            carrier: shared.carrier.as_ref(),
        }
    }
}

fn source_error(error: impl std::fmt::Display) -> SourceError {
    SourceError(error.to_string())
}

fn rows(entries: Vec<LoadedEntry>) -> EdgeRows {
    let row = |entry: LoadedEntry| (entry.user, entry.state);
    entries.into_iter().map(row).collect()
}

fn record(loaded: LoadedTarget, max_edges: u64) -> (TargetRow, EdgeRows) {
    let mut row = TargetRow {
        count: loaded.count,
        seq: loaded.seq,
        edges: loaded.edges,
    };
    if loaded.entries.is_none() {
        // More rows than the target's row says: too many to lie in the record itself.
        row.edges = row.edges.max(max_edges + 1);
    }
    (row, rows(loaded.entries.unwrap_or_default()))
}

impl Source for LedgerSource<'_> {
    fn applied(&self, partition: u16) -> BoxFuture<'_, Result<acclaim_core::Rev, SourceError>> {
        // Whoever drains the partition must not go on with what it read before Redis lost it.
        async move {
            // Nor may anything come later that the bus carries.
            if let Some(carrier) = self.carrier {
                let settled = carrier.settle(self.ledger, partition).await;
                settled.map_err(source_error)?;
            }
            let applied = self.ledger.fence_off(partition).await;
            applied.map_err(source_error)
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
            let loaded = self
                .ledger
                .load_target(&target, most)
                .await
                .map_err(source_error)?;
            Ok(record(loaded, max_edges))
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
            let loaded = self
                .ledger
                .load_bucket(&target, hashes)
                .await
                .map_err(source_error)?;
            let entries = loaded.entries.ok_or_else(|| {
                source_error(format!(
                    "a bucket with more than {MAX_LOAD_ENTRIES} entries"
                ))
            })?;
            Ok(rows(entries))
        }
        .boxed()
    }
}
