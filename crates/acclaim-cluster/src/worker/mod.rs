//! The worker: moves every event out of Redis's journals into the ledger.
//!
//! One task a node. It owns partitions by lease, a fair part of all ([`share`]); it looks at all of
//! its partitions in one go ([`look`]), more often while somebody waits; those of its own process
//! tell it what they wait for, and are told when the ledger has it ([`desk`]); it takes turns at
//! those that have something, a bounded number at once ([`drain`]), of which those that are waited
//! for read their journals together ([`reads`]); what several have goes into the ledger in one
//! transaction ([`together`]); what the ledger refuses for good becomes dead letters
//! ([`poison`], [`dead_letters`]).
//!
//! What keeps it right whatever ends, hangs or comes back:
//!
//! - Only the holder of a partition's fence can write to the ledger, and the fence is looked at in
//!   the transaction that writes. The worker's own idea of what it owns is good manners only.
//! - Where a journal is to be read on is said by Redis (`:d`), moved only after a commit and only
//!   over entries that were applied. What the worker knows beyond that ([`untold`]) may be lost:
//!   it is applied again, and changes nothing.
//! - A partition that Redis lost is opened again behind everything that was ever applied, and
//!   nothing read before that is applied after it: whoever opens it holds the lease with nothing in
//!   hand, or ends the lease first ([`crate::ledger::Ledger::fence_off`]).
//!
//! With a bus the same task publishes instead ([`relay`]), and consumers of a group write the ledger
//! ([`recorder`]); what both use of the bus is in [`carrier`].
//!
//! A failure of Redis rests the partition that it was met on; one of the ledger lets one turn at a
//! time through until it succeeds. Pauses double up to a bound, and nothing is given up.

pub mod backlog;
mod carrier;
pub mod dead_letters;
mod desk;
mod drain;
mod folded;
mod limits;
mod look;
mod pause;
pub(crate) mod poison;
mod reads;
pub(crate) mod recorder;
mod relay;
mod run;
mod share;
mod together;
mod untold;
mod watched;

use std::sync::Arc;

use acclaim_core::port::Clock;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use backlog::Backlog;
pub use carrier::{BusConfig, BusState, Carrier, SettleError};
pub use desk::Hurry;
pub use limits::{BadLimit, WorkerLimits};
pub use watched::{Watched, WorkerNumbers};

use crate::ledger::Ledger;
use crate::ledger::lease::MAX_OWNER_BYTES;
use crate::redis::connection::Redis;
use desk::Desk;
use drain::Tools;
use folded::Folded;
use recorder::Recorder;
use run::Run;

/// Why a worker cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Its bounds are not possible.
    #[error(transparent)]
    Limit(#[from] BadLimit),
    /// Its name is not one that a lease can carry.
    #[error("{0:?} cannot be the name of a worker: it has 1 to {MAX_OWNER_BYTES} bytes")]
    Name(String),
}

/// How a worker stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Whether everything that its journals held when it was asked to stop is in the ledger.
    pub drained: bool,
    /// Whether its leases are given back, so that others need not wait for them to end.
    pub given_back: bool,
}

/// A running worker. Dropped without [`Worker::stop`], it ends at once and keeps its leases until
/// they are over.
#[derive(Debug)]
pub struct Worker {
    desk: Arc<Desk>,
    watched: Arc<Watched>,
    task: Option<JoinHandle<Stopped>>,
    recorders: Vec<JoinHandle<()>>,
    /// Looks up to where notifications are folded.
    looks: JoinHandle<()>,
    stopping: watch::Sender<bool>,
}

impl Worker {
    /// Starts a worker under a name that no other has. It needs neither server to be there. The
    /// time is Redis's own where no clock is given.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        redis: Arc<Redis>,
        ledger: Ledger,
        name: &str,
        limits: WorkerLimits,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Self, StartError> {
        Self::start_with(redis, ledger, name, limits, clock, None)
    }

    /// The same where a bus carries the events to the ledger.
    ///
    /// # Errors
    /// As [`Worker::start`].
    pub fn start_with(
        redis: Arc<Redis>,
        ledger: Ledger,
        name: &str,
        limits: WorkerLimits,
        clock: Option<Arc<dyn Clock>>,
        carrier: Option<Arc<Carrier>>,
    ) -> Result<Self, StartError> {
        limits.check()?;
        if !(1..=MAX_OWNER_BYTES).contains(&name.len()) {
            return Err(StartError::Name(name.to_owned()));
        }
        let (desk, watched) = (Arc::<Desk>::default(), Arc::<Watched>::default());
        let together = together::new(&limits);
        let tools = Arc::new(Tools {
            redis,
            ledger,
            limits,
            clock,
            watched: Arc::clone(&watched),
            desk: Arc::clone(&desk),
            together,
            reads: reads::new(),
            carrier: carrier.clone(),
            folded: Folded::default(),
        });
        let looks = tokio::spawn(folded::watch(Arc::clone(&tools)));
        let stopping = watch::Sender::new(false);
        let mut recorders = Vec::new();
        if let Some(carrier) = carrier {
            for number in 0..carrier.config().recorders {
                let (tools, carrier) = (Arc::clone(&tools), Arc::clone(&carrier));
                let recorder = Recorder::new(tools, carrier, number, stopping.subscribe());
                recorders.push(tokio::spawn(recorder.work()));
            }
        }
        let run = Run::new(tools, name.to_owned(), Arc::clone(&desk));
        Ok(Self {
            desk,
            watched,
            task: Some(tokio::spawn(run.work())),
            recorders,
            looks,
            stopping,
        })
    }

    /// A way to ask it to hurry.
    #[must_use]
    pub fn hurry(&self) -> Hurry {
        Hurry::at(&self.desk)
    }

    /// What it counts and measures.
    #[must_use]
    pub fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }

    /// Drains what is there, within the limit, gives the leases back and ends.
    pub async fn stop(mut self) -> Stopped {
        self.desk.stop();
        let not_so = Stopped {
            drained: false,
            given_back: false,
        };
        let stopped = match self.task.take() {
            Some(task) => task.await.unwrap_or(not_so),
            None => not_so,
        };
        // They went on until the ledger had what was published.
        self.stopping.send_replace(true);
        for recorder in std::mem::take(&mut self.recorders) {
            // One that died has left its group.
            let _ = recorder.await;
        }
        stopped
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.looks.abort();
        if let Some(task) = &self.task {
            task.abort();
        }
        for recorder in &self.recorders {
            recorder.abort();
        }
    }
}
