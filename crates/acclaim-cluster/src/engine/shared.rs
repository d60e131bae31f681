//! What all parts of an open engine share.

use std::collections::HashSet;
use std::sync::Arc;

use acclaim_core::port::{Clock, Fingerprint, Place};
use acclaim_core::{Kinds, Rev};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::boards::Boards;
use super::cold::Loads;
use super::config::ClusterLimits;
use super::health::Pulse;
use super::lane::Lanes;
use super::look::{Large, Questions};
use super::names::Names;
use super::notes::Bell;
use crate::ledger::Ledger;
use crate::ledger::store::Store;
use crate::redis::connection::Redis;
use crate::redis::keys::Partition;
use crate::worker::{Carrier, Hurry};

/// What all parts of an open engine share.
pub struct Shared {
    pub limits: ClusterLimits,
    pub node: String,
    pub kinds: Kinds,
    /// A clock that a test sets, or nothing for that of the servers.
    pub clock: Option<Arc<dyn Clock>>,
    pub store: Store,
    pub names: Names,
    pub redis: Arc<Redis>,
    pub ledger: Ledger,
    /// The ledger under the test's clock, where there is one: for what is read by its age. Leases
    /// always go by the ledger's own.
    pub notes: NotesLedger,
    pub lanes: Lanes,
    pub questions: Questions,
    pub large: Large,
    pub loads: Loads,
    pub boards: Boards,
    pub pulse: Pulse,
    /// Idempotency keys whose first request is under way on this node.
    pub keys_in_flight: Mutex<HashSet<Fingerprint>>,
    /// The place of the newest transition that this node knows of.
    pub end: watch::Sender<Place>,
    /// Held by the one subscriber who asks Redis what other nodes wrote.
    pub looks_for_events: tokio::sync::Mutex<()>,
    pub stopping: watch::Sender<bool>,
    /// The worker of this process, if it has one.
    pub worker: OwnWorker,
    /// The bus, where there is one.
    pub carrier: Option<Arc<Carrier>>,
    /// Told when a job was queued.
    pub job_queued: Notify,
    /// Told when those who deliver are to look again.
    pub bell: Bell,
}

/// The worker of this process, if it has one.
#[derive(Default)]
pub struct OwnWorker(pub Option<Hurry>);

impl OwnWorker {
    /// Has a partition drained at once. Answers whether it is ours to drain.
    pub fn hurry(&self, partition: u16) -> bool {
        self.0.as_ref().is_some_and(|hurry| hurry.ask(partition))
    }

    /// Waits until it tells that the ledger has an event, which it may never do.
    pub async fn applied(&self, journal: Partition, place: Rev) -> bool {
        match &self.0 {
            Some(hurry) => hurry.applied(journal, place).await,
            None => false,
        }
    }

    /// The same for the bus, published in a turn of the partition's seat.
    pub async fn published(&self, journal: Partition, turn: u64, place: Rev) -> bool {
        match &self.0 {
            Some(hurry) => hurry.published(journal, turn, place).await,
            None => false,
        }
    }
}

/// The ledger, by the time that the engine goes by.
pub struct NotesLedger {
    ledger: Ledger,
    time: Option<Arc<std::sync::atomic::AtomicU64>>,
}

impl NotesLedger {
    pub fn new(ledger: Ledger, time: Option<Arc<std::sync::atomic::AtomicU64>>) -> Self {
        Self { ledger, time }
    }
}

impl Shared {
    /// The time that scripts go by: none for the server's own.
    pub fn script_time(&self) -> Option<Rev> {
        self.clock.as_ref().map(|clock| clock.now())
    }

    /// The time that reads of windows and days go by: never before the newest transition, so that
    /// a clock set back hides nothing.
    pub fn now(&self) -> Rev {
        let now = match &self.clock {
            Some(clock) => clock.now(),
            None => Rev(std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))),
        };
        now.max(self.end.borrow().seq)
    }

    /// The ledger by that time.
    pub fn notes(&self) -> &Ledger {
        if let (Some(time), Some(clock)) = (&self.notes.time, &self.clock) {
            time.store(clock.now().0, std::sync::atomic::Ordering::SeqCst);
        }
        &self.notes.ledger
    }

    /// Whether the engine is stopping.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Takes note of a transition at `place`.
    pub fn saw(&self, place: Place) {
        self.told_place(place.seq);
        self.end.send_if_modified(|end| {
            let newer = place > *end;
            if newer {
                *end = place;
            }
            newer
        });
    }
}
