//! The engine: the whole port over Redis, which decides, and the ledger, which records.
//!
//! - [`config`]: every limit;
//! - `names`: between the words of the port and the ledger's numbers;
//! - `lane`, `writes`: ops into calls; `acks`: how safe an answer is;
//! - `replicas`: what is read from replicas of the ledger;
//! - `cold`: what must be loaded, once however many wait;
//! - `barrier`: waiting until the ledger has what a read must see;
//! - `look`, `statuses`, `lists`, `people`, `boards`: reads;
//! - `journal`: the journals of all partitions as one;
//! - `admin`, `check`, `jobs`: looking after it;
//! - `notes`: notifications and webhooks;
//! - `seats`: on which server each partition is decided;
//! - `bulk`, `movein`: what a store that moves in needs;
//! - `health`: how it stands.
//!
//! Invariants:
//! - An answer to a write is Redis's, after it decided. What of a write is open is said to be open.
//! - A status, a count and the list of a target are of the moment they were asked for, on every
//!   node. A user's side, rankings and days are the ledger's, after it has everything that was
//!   acknowledged before; where it falls behind for longer than a read waits, they are as old as it.
//! - Nothing is kept in a node that another one needs.
//!
//! It knows no SQL and no command of Redis. Events come into the ledger by [`crate`]'s worker.

mod acks;
mod admin;
mod barrier;
mod boards;
mod bulk;
mod check;
mod cold;
pub mod config;
mod errors;
mod health;
mod imports;
mod jobs;
mod journal;
mod lane;
mod lists;
mod look;
mod movein;
mod names;
mod notes;
mod people;
mod port;
mod replicas;
mod seats;
mod shared;
mod spool;
mod statuses;
mod writes;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use acclaim_core::Kinds;
use acclaim_core::port::{Clock, Place};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

pub use acks::ImpossibleAck;
pub use config::{ClusterConfig, ClusterLimits};
use shared::{NotesLedger, OwnWorker, Shared};

use crate::ledger::dictionary::DictionaryError;
use crate::ledger::store::{Store, StoreSpec};
use crate::ledger::{Ledger, LedgerError};
use crate::redis::connection::Redis;
use crate::redis::durability::{self, UnsafeSettings};
use crate::redis::error::RedisError;
use crate::redis::keys::Partition;
use crate::worker::{BusState, Carrier, StartError, Worker, WorkerNumbers};

/// Why the engine could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Redis is set to something that would lose writes.
    #[error(transparent)]
    Unsafe(#[from] UnsafeSettings),
    /// A kind's acknowledgement cannot be given.
    #[error(transparent)]
    Ack(#[from] ImpossibleAck),
    /// The worker of this process.
    #[error(transparent)]
    Worker(#[from] StartError),
    /// A kind has no number.
    #[error(transparent)]
    Dictionary(#[from] DictionaryError),
    /// The bus cannot be used as it is configured.
    #[error(transparent)]
    Bus(#[from] acclaim_bus::OpenError),
}

impl OpenError {
    /// Whether a server could not be reached, so that another try may end otherwise.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Redis(error) => matches!(
                error,
                RedisError::Unavailable { .. }
                    | RedisError::Timeout { .. }
                    | RedisError::Lost { .. }
            ),
            Self::Ledger(error) => matches!(error, LedgerError::Unavailable { .. }),
            Self::Unsafe(_)
            | Self::Ack(_)
            | Self::Worker(_)
            | Self::Dictionary(_)
            | Self::Bus(_) => false,
        }
    }
}

/// A node's engine.
pub struct Cluster {
    shared: Arc<Shared>,
    notes: notes::LedgerNotes,
    tasks: Mutex<JoinSet<()>>,
    worker: Mutex<Option<Worker>>,
}

impl Cluster {
    /// Opens the store that the configuration names; makes it, where the ledger is empty.
    ///
    /// `clock` is for tests: without one, transitions go by the time of the Redis that decides
    /// them.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(
        config: ClusterConfig,
        kinds: Kinds,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Self, OpenError> {
        let ledger = Ledger::with_replicas(
            &config.ledger_url,
            &config.ledger_replicas,
            config.ledger.clone(),
        )?;
        ledger.migrate().await?;
        let spec = StoreSpec {
            partitions: config.partitions,
        };
        let store = ledger.create_or_open_store(&spec).await?;
        let names = names::Names::open(&ledger, &kinds).await?;
        let carrier = open_bus(&config, &store, &kinds).await?;
        let book = Arc::new(seats::LedgerSeats {
            ledger: ledger.clone(),
            carrier: carrier.clone(),
        });
        let redis = Redis::open_seated(&config.redis_url, config.redis, book).await?;
        let redis = Arc::new(redis);
        let guarantee = guarantee_of(&redis, &kinds, carrier.is_some()).await?;
        // Before seats are asked for: where a bus carries events of a partition, somebody must bring
        // them into the ledger before its seat can be taken.
        let worker = config.worker.map(|limits| {
            let (redis, ledger) = (Arc::clone(&redis), ledger.clone());
            let (clock, carrier) = (clock.clone(), carrier.clone());
            Worker::start_with(redis, ledger, &config.node, limits, clock, carrier)
        });
        let worker = worker.transpose()?;
        seats::ask_for_all(&redis, store.epoch, store.partitions, config.seats_wait).await?;
        let notes = match &clock {
            None => NotesLedger::new(ledger.clone(), None),
            Some(clock) => {
                let time = Arc::new(AtomicU64::new(clock.now().0));
                let given = Some(Arc::clone(&time));
                let bounds = config.ledger.clone();
                let ledger = Ledger::with_clock(&config.ledger_url, bounds, given)?;
                NotesLedger::new(ledger, Some(time))
            }
        };
        let limits = config.limits;
        let shared = Shared {
            questions: look::Questions::new(lane::PIPELINES),
            large: look::Large::default(),
            lanes: lane::Lanes::new(limits.queue_max_ops),
            loads: cold::Loads::new(limits.loads_max),
            limits,
            node: config.node,
            kinds,
            clock,
            store,
            names,
            redis,
            ledger,
            notes,
            boards: boards::Boards::default(),
            pulse: health::Pulse::new(guarantee),
            keys_in_flight: Mutex::default(),
            end: watch::Sender::new(Place::START),
            looks_for_events: tokio::sync::Mutex::default(),
            stopping: watch::Sender::new(false),
            worker: OwnWorker(worker.as_ref().map(Worker::hurry)),
            carrier,
            job_queued: Notify::new(),
            bell: notes::Bell::default(),
        };
        let shared = Arc::new(shared);
        shared.look_for_end().await?;
        shared.look_at_servers().await;
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&shared).watch_health());
        tasks.spawn(Arc::clone(&shared).watch_replicas());
        tasks.spawn(Arc::clone(&shared).watch_bus());
        tasks.spawn(Arc::clone(&shared).run_jobs());
        tasks.spawn(Arc::clone(&shared).sweep_texts());
        Ok(Self {
            notes: notes::LedgerNotes(Arc::clone(&shared)),
            shared,
            tasks: Mutex::new(tasks),
            worker: Mutex::new(worker),
        })
    }

    /// Takes no more writes, ends what runs by itself, and closes the connections.
    pub async fn stop(&self) {
        self.shared.stopping.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        while tasks.join_next().await.is_some() {}
        let worker = self.worker.lock().take();
        if let Some(worker) = worker {
            worker.stop().await;
        }
        self.shared.ledger.close().await;
        self.shared.notes().close().await;
    }

    /// Waits until the ledger has everything that was decided before the call. `false` when the
    /// time was over.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn settle(&self, longest: Duration) -> Result<bool, RedisError> {
        let shared = &self.shared;
        let all: Vec<u16> = shared.all_partitions().collect();
        let owed = shared.owed(&all).await?;
        shared.ledger_has_places(owed, longest).await
    }

    /// The ledger, for what works beside the engine.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// What the worker of this process counts and measures, if it has one.
    #[must_use]
    pub fn worker_numbers(&self) -> Option<WorkerNumbers> {
        let worker = self.worker.lock();
        worker.as_ref().map(|worker| worker.watched().numbers())
    }

    /// The bus, if there is one.
    #[must_use]
    pub fn carrier(&self) -> Option<&Arc<Carrier>> {
        self.shared.carrier.as_ref()
    }

    /// How the bus was when it was last used or looked at, if there is one.
    #[must_use]
    pub fn bus_state(&self) -> Option<BusState> {
        self.carrier().map(|carrier| carrier.state())
    }

    /// Redis, for what works beside the engine.
    #[must_use]
    pub fn redis(&self) -> &Arc<Redis> {
        &self.shared.redis
    }

    /// All partitions, in the lives that they are in as far as this node knows.
    #[must_use]
    pub fn partitions(&self) -> Vec<Partition> {
        let all = self.shared.all_partitions();
        all.map(|number| self.shared.partition(number)).collect()
    }

    /// The store that is open.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shared.stopping.send_replace(true);
    }
}

/// The bus of the configuration. One that is away is no reason not to start: the journals hold what
/// it does not take. One that is there and will not do is.
async fn open_bus(
    config: &ClusterConfig,
    store: &Store,
    kinds: &Kinds,
) -> Result<Option<Arc<Carrier>>, OpenError> {
    let Some(bus) = &config.bus else {
        return Ok(None);
    };
    let carrier = Carrier::new(bus.clone(), store.id, kinds.clone())?;
    match carrier.check().await {
        Ok(checked) => {
            tracing::info!(bus_partitions = checked.bus_partitions, "the bus is there");
        }
        Err(error @ acclaim_bus::OpenError::Unreachable { .. }) => {
            tracing::warn!(%error, "the bus cannot be reached; the journals hold the events");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Some(Arc::new(carrier)))
}

/// What Redis is set to keep, in words; refused where it would lose what is acknowledged.
async fn guarantee_of(redis: &Redis, kinds: &Kinds, has_bus: bool) -> Result<String, OpenError> {
    let servers = redis.settings().await?;
    for (server, settings) in &servers {
        settings.check(server)?;
    }
    acks::check(kinds, &servers, redis.is_single(), has_bus)?;
    for weakness in acks::weaknesses(kinds, &servers) {
        tracing::warn!("{weakness}");
    }
    Ok(durability::guarantee(&servers))
}

#[cfg(test)]
mod tests {
    use acclaim_core::EdgeKey;
    use acclaim_core::port::Write;

    use super::*;

    /// What every read and every write carries along. What is seldom needed (connecting, loading
    /// what is cold, the ledger) is boxed where it is needed.
    const HOT_FUTURE_MAX_BYTES: usize = 1_024;

    /// The size of what a closure gives, which is never called.
    fn bytes<T>(_never: impl Fn(&'static Arc<Shared>) -> T) -> usize {
        size_of::<T>()
    }

    #[test]
    fn futures_of_every_call_stay_small() {
        let edges: &'static [EdgeKey] = &[];
        let write = || -> Write { unreachable!("never called") };
        let hot = [
            ("statuses", bytes(|shared| shared.statuses(edges))),
            ("find", bytes(|shared| shared.find(0, Vec::new()))),
            ("asking", bytes(|shared| Arc::clone(shared).find_all(None))),
            ("apply", bytes(|shared| shared.apply(write()))),
            ("deciding", bytes(|shared| shared.decide(Vec::new(), false))),
        ];
        for (name, bytes) in hot {
            assert!(bytes <= HOT_FUTURE_MAX_BYTES, "{name}: {bytes} bytes");
        }
    }
}
