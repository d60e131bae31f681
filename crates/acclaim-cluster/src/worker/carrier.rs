//! The bus as the worker and the engine use it: publishing, what is asked of a bus before a partition
//! is decided on another server, and how it stands.
//!
//! The publisher is opened when it is first needed, so a process starts while the bus is away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use acclaim_bus::event::{Barrier, MAX_JOURNAL_NUMBER};
use acclaim_bus::port::{Checked, Lag, Outgoing};
use acclaim_bus::{Bus, BusUrl, Consumer, Limits, OpenError, PublishError, Publisher};
use acclaim_core::Kinds;
use bytes::Bytes;
use compact_str::CompactString;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::ledger::{Lease, Ledger, LedgerError};

/// How long it is waited until the ledger has what the bus carries of a partition, before the next
/// one who needs it waits on.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// How often the ledger is asked in the meantime.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);
/// When a barrier that nobody received is published again.
const BARRIER_AGAIN: Duration = Duration::from_secs(10);
/// Barriers that are remembered.
const MAX_BARRIERS: usize = 8_192;

/// How a bus is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusConfig {
    /// Where it is.
    pub url: BusUrl,
    /// The group whose consumers write the ledger.
    pub group: String,
    /// Bounds of the client.
    pub limits: Limits,
    /// Events of one transaction of the ledger, at most 1,000.
    pub batch_max_events: usize,
    /// How long a batch is waited for, in milliseconds, at most 10,000.
    pub batch_max_millis: u64,
    /// Consumers of the group in one process with a worker.
    pub recorders: usize,
}

impl BusConfig {
    /// The defaults, for a bus.
    #[must_use]
    pub fn new(url: BusUrl) -> Self {
        Self {
            url,
            group: "acclaim-ledger".to_owned(),
            limits: Limits::default(),
            batch_max_events: acclaim_bus::limits::MAX_BATCH_EVENTS,
            batch_max_millis: acclaim_bus::limits::DEFAULT_BATCH_WAIT_MILLIS,
            recorders: 2,
        }
    }
}

/// Why it is not known that the ledger has everything that a bus carries.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// It has not come yet.
    #[error(
        "the bus may carry events of partition {partition} that the ledger does not have yet; is \
         the bus there, and does a worker run?"
    )]
    Behind {
        /// Which partition.
        partition: u16,
    },
}

/// What is known of the bus.
#[derive(Clone, Debug, Default)]
pub struct BusState {
    /// How long it took to answer last time.
    pub latency: Duration,
    /// What is wrong, where something is.
    pub trouble: Option<String>,
}

/// A bus in use.
pub struct Carrier {
    bus: Box<dyn Bus>,
    config: BusConfig,
    store: CompactString,
    kinds: Kinds,
    publisher: tokio::sync::Mutex<Option<Arc<dyn Publisher>>>,
    state: Mutex<BusState>,
    /// The lease under which it was noted last that a partition is carried.
    noted: Mutex<BTreeMap<u16, u64>>,
    /// When a barrier was published, by partition and turn.
    barriers: Mutex<BTreeMap<(u16, u64), Instant>>,
    lags: Mutex<BTreeMap<usize, Vec<Lag>>>,
    hurry: Notify,
    hurries: AtomicU64,
}

impl std::fmt::Debug for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carrier")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Carrier {
    /// A bus for the events of a store. Nothing is connected yet.
    ///
    /// # Errors
    /// [`OpenError::NotBuilt`].
    pub fn new(config: BusConfig, store: [u8; 16], kinds: Kinds) -> Result<Self, OpenError> {
        let bus = acclaim_bus::open(&config.url, &config.limits)?;
        let store = store
            .iter()
            .fold(CompactString::default(), |mut text, byte| {
                use std::fmt::Write as _;
                // Writing to a string cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            });
        Ok(Self {
            bus,
            config,
            store,
            kinds,
            publisher: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            noted: Mutex::default(),
            barriers: Mutex::default(),
            lags: Mutex::default(),
            hurry: Notify::new(),
            hurries: AtomicU64::new(0),
        })
    }

    /// How it is used.
    #[must_use]
    pub fn config(&self) -> &BusConfig {
        &self.config
    }

    /// The name of the store in its events.
    #[must_use]
    pub fn store(&self) -> &CompactString {
        &self.store
    }

    /// The kinds whose events are read.
    #[must_use]
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// Looks whether the bus is there, and takes note of how it is.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn check(&self) -> Result<Checked, OpenError> {
        let began = Instant::now();
        let checked = self.bus.check().await;
        self.note(began, checked.as_ref().err().map(ToString::to_string));
        checked
    }

    /// How it was when that was last seen.
    #[must_use]
    pub fn state(&self) -> BusState {
        self.state.lock().clone()
    }

    fn note(&self, began: Instant, trouble: Option<String>) {
        let latency = began.elapsed();
        *self.state.lock() = BusState { latency, trouble };
    }

    /// Publishes events of one partition, in order, and answers when the bus has acknowledged all.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn publish(&self, events: &[Outgoing]) -> Result<(), PublishError> {
        let began = Instant::now();
        let published = async { self.publisher().await?.publish(events).await }.await;
        self.note(began, published.as_ref().err().map(ToString::to_string));
        published
    }

    async fn publisher(&self) -> Result<Arc<dyn Publisher>, OpenError> {
        let mut publisher = self.publisher.lock().await;
        if let Some(publisher) = &*publisher {
            return Ok(Arc::clone(publisher));
        }
        // Before anything is published: not every bus keeps what nobody asked for.
        self.bus.keep_for(&self.config.group).await?;
        let opened: Arc<dyn Publisher> = Arc::from(self.bus.publisher().await?);
        *publisher = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// A consumer of the group that writes the ledger.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn consumer(&self) -> Result<Box<dyn Consumer>, OpenError> {
        self.bus.consumer(&self.config.group).await
    }

    /// Notes in the ledger that something is published under a lease, before it is; once a lease.
    ///
    /// # Errors
    /// [`LedgerError::Fenced`] where the lease is over.
    pub async fn note_carried(&self, ledger: &Ledger, lease: Lease) -> Result<(), LedgerError> {
        if self.noted.lock().get(&lease.partition) == Some(&lease.fence) {
            return Ok(());
        }
        ledger.note_carried(lease).await?;
        self.noted.lock().insert(lease.partition, lease.fence);
        Ok(())
    }

    /// Has everything that was published of a partition come into the ledger, and nothing of it
    /// later, before the partition is decided on a server that may have less: see
    /// [`crate::ledger::carry`].
    ///
    /// # Errors
    /// [`SettleError`]: it may be called again.
    pub async fn settle(
        self: &Arc<Self>,
        ledger: &Ledger,
        partition: u16,
    ) -> Result<(), SettleError> {
        let end = Instant::now() + SETTLE_MAX;
        loop {
            let seat = ledger.seat(partition).await?;
            let is_settled = match seat.is_closing {
                true => seat.closed >= seat.turn,
                false => !seat.is_carried,
            };
            if is_settled {
                return Ok(());
            }
            if seat.is_closing {
                self.begin_barrier(partition, seat.turn);
                if Instant::now() >= end {
                    return Err(SettleError::Behind { partition });
                }
                self.hurry();
                tokio::time::sleep(SETTLE_PAUSE).await;
            } else {
                ledger.end_turn(partition, seat.turn).await?;
            }
        }
    }

    /// Publishes a barrier, unless that was done a moment ago; whoever waits for it may stop.
    fn begin_barrier(self: &Arc<Self>, partition: u16, turn: u64) {
        let key = (partition, turn);
        {
            let mut barriers = self.barriers.lock();
            let is_under_way = |at: &Instant| at.elapsed() < BARRIER_AGAIN;
            if barriers.get(&key).is_some_and(is_under_way) {
                return;
            }
            if barriers.len() >= MAX_BARRIERS {
                barriers.retain(|_, at| is_under_way(at));
            }
            barriers.insert(key, Instant::now());
        }
        let barrier = Barrier {
            store: self.store.clone(),
            partition,
            turn: attribute(turn),
        };
        let carrier = Arc::clone(self);
        tokio::spawn(async move {
            let message = Outgoing {
                partition,
                id: barrier.id(),
                payload: Bytes::from(barrier.write()),
            };
            if let Err(error) = carrier.publish(&[message]).await {
                tracing::warn!(partition, %error, "a barrier could not be published");
                carrier.barriers.lock().remove(&key);
            }
        });
    }

    /// Somebody waits for the ledger: recorders of this process take what there is.
    pub fn hurry(&self) {
        self.hurries.fetch_add(1, Ordering::Relaxed);
        self.hurry.notify_waiters();
    }

    /// How often somebody did; and waits for the next.
    pub(super) async fn hurried(&self, seen: u64) -> u64 {
        let mut next = std::pin::pin!(self.hurry.notified());
        next.as_mut().enable();
        let now = self.hurries.load(Ordering::Relaxed);
        if now != seen {
            return now;
        }
        next.await;
        self.hurries.load(Ordering::Relaxed)
    }

    pub(super) fn note_lag(&self, recorder: usize, lag: Vec<Lag>) {
        self.lags.lock().insert(recorder, lag);
    }

    /// How far the recorders of this process are behind, by bus partition.
    #[must_use]
    pub fn lags(&self) -> Vec<Lag> {
        let lags = self.lags.lock();
        let mut all: Vec<Lag> = lags.values().flatten().copied().collect();
        all.sort_unstable_by_key(|lag| lag.bus_partition);
        all.dedup_by_key(|lag| lag.bus_partition);
        all
    }
}

/// A number of the ledger as an attribute of an event. A partition that has had so many turns or
/// lives that it does not fit would be older than the bus.
pub(super) fn attribute(number: u64) -> u32 {
    u32::try_from(number)
        .unwrap_or(u32::MAX)
        .min(MAX_JOURNAL_NUMBER)
}
