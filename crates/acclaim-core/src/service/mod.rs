//! The service: what stands between a face of the server (HTTP) and the port.
//!
//! It decides what may reach an engine: kinds are looked up, edges are checked against their kind,
//! limits of the contract hold, cursors are read and signed, requests get their idempotency
//! fingerprints. An engine trusts all of it.
//!
//! It may not know HTTP, JSON or the names of status codes; every failure is an enum that says
//! what was wrong, with which value. It does no I/O of its own and takes the time from a
//! [`Clock`].

mod admin;
mod batch;
mod counts;
mod events;
mod failure;
mod lists;
mod notifications;
mod people;
mod rankings;
mod statuses;
mod writes;

use std::sync::Arc;

use compact_str::CompactString;

pub use admin::{Check, DeadLetters, Requested};
pub use batch::{BatchAnswer, OpFailure};
pub use events::EventFilter;
pub use failure::{
    AdminFailure, BadIdempotencyKey, Failure, NotifyFailure, OutOfRange, PageTooDeep, ReadFailure,
    UnknownKind, WriteFailure,
};
pub use lists::{Asked, Common, Listed};
pub use people::Statistics;
pub use writes::{WriteOptions, Written, idempotency};

use crate::hot::{HotKey, HotKeys};
use crate::kind::KindId;
use crate::notify::Settings;
use crate::port::{Clock, Engine};
use crate::rev::Rev;
use crate::target::TargetKey;

/// Everything that can be asked of a store, checked.
pub struct Service {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    hot: HotKeys,
    notify: Settings,
}

impl Service {
    /// A service over `engine`, with notifications as they are by default.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, clock: Arc<dyn Clock>) -> Self {
        Self::notifying(engine, clock, Settings::default())
    }

    /// A service over `engine`.
    #[must_use]
    pub fn notifying(engine: Arc<dyn Engine>, clock: Arc<dyn Clock>, notify: Settings) -> Self {
        Self {
            engine,
            clock,
            hot: HotKeys::default(),
            notify,
        }
    }

    /// The engine behind it.
    #[must_use]
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Rev {
        self.clock.now()
    }

    /// The kind of this name.
    ///
    /// # Errors
    /// [`UnknownKind`].
    pub fn kind(&self, name: &str) -> Result<KindId, UnknownKind> {
        let found = self.engine.kinds().find(name);
        found.ok_or_else(|| UnknownKind {
            given: CompactString::from(name),
            known: self.kind_names(),
        })
    }

    /// The name of a kind.
    #[must_use]
    pub fn kind_name(&self, kind: KindId) -> &CompactString {
        &self.engine.kinds().get(kind).name
    }

    /// The targets that are touched most, hottest first.
    #[must_use]
    pub fn hot_keys(&self, size: usize) -> Vec<HotKey> {
        self.hot.top(self.now(), size)
    }

    fn kind_names(&self) -> String {
        let names = self
            .engine
            .kinds()
            .iter()
            .map(|(_, kind)| kind.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    }

    fn touch(&self, target: &TargetKey) {
        if self.hot.samples() {
            self.hot.count(target, self.now());
        }
    }
}
