//! The port behind which notifications are kept: records by key, in order, changed in batches.
//!
//! An engine keeps what it is given and knows nothing of what it means. So every engine that can
//! keep a sorted table has notifications.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::{ReadError, WriteError};

/// A key. Keys are compared as bytes; [`super::keys`] makes them.
pub type Key = Vec<u8>;

/// A key and its value.
pub type Record = (Key, Vec<u8>);

/// The right to fold and to deliver: one process of a store has it at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duty {
    /// Goes with every batch. Whoever takes the duty after this one gets a higher one.
    pub fence: u64,
    /// How long it lasts unless it is prolonged; `None` where nobody else can take it.
    pub lasts: Option<Duration>,
}

impl Duty {
    /// Of a store that only one process has open.
    pub const ALONE: Self = Self {
        fence: 0,
        lasts: None,
    };
}

/// Changes that are made all together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What the records of these keys must be for the changes to be made.
    pub expected: Vec<(Key, Option<Vec<u8>>)>,
    /// The new values; `None` removes. Of two for one key the later one stands.
    pub writes: Vec<(Key, Option<Vec<u8>>)>,
    /// Whether those who wait in [`Notes::woken`] are to look again.
    pub wakes: bool,
    /// The fence of the [`Duty`] under which it is written, where it is.
    pub duty: Option<u64>,
}

/// Why a batch was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A record was not what was expected; nothing was written.
    #[error("somebody else changed the same records; read them again")]
    Conflict,
    /// Somebody else has the duty under which it was to be written; nothing was written.
    #[error("another process has taken over notifications")]
    Displaced,
    /// The engine could not write.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Where notifications are kept.
#[async_trait]
pub trait Notes: Send + Sync + 'static {
    /// The values of these keys, in order.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn get(&self, keys: Vec<Key>) -> Result<Vec<Option<Vec<u8>>>, ReadError>;

    /// Up to `max` records whose keys begin with `prefix` and come after `after`, in key order.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn scan(
        &self,
        prefix: Key,
        after: Option<Key>,
        max: usize,
    ) -> Result<Vec<Record>, ReadError>;

    /// Makes a batch durable.
    ///
    /// # Errors
    /// [`CommitError`]. After [`WriteError::Unknown`] it may have been written; whoever expected
    /// something reads it again.
    async fn commit(&self, batch: Batch) -> Result<(), CommitError>;

    /// How many batches woke somebody so far.
    fn wakes(&self) -> u64;

    /// Waits until [`Notes::wakes`] is above `seen`, and gives it. Never ends where the engine is
    /// gone.
    async fn woken(&self, seen: u64) -> u64;

    /// Takes the duty, if nobody has it.
    ///
    /// # Errors
    /// [`ReadError`]; it may be taken, and ends by itself.
    async fn take_duty(&self) -> Result<Option<Duty>, ReadError> {
        Ok(Some(Duty::ALONE))
    }

    /// Prolongs the duty. `false`: it is somebody else's.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn keep_duty(&self, _duty: Duty) -> Result<bool, ReadError> {
        Ok(true)
    }

    /// Gives the duty back, so that nobody waits for its end.
    async fn leave_duty(&self, _duty: Duty) {}
}

impl Batch {
    /// Writes these and expects nothing.
    #[must_use]
    pub fn of(writes: Vec<(Key, Option<Vec<u8>>)>) -> Self {
        Self {
            writes,
            ..Self::default()
        }
    }

    /// The same, and whoever waits looks again.
    #[must_use]
    pub fn waking(self) -> Self {
        Self {
            wakes: true,
            ..self
        }
    }

    /// The same, while the duty of this fence is nobody else's.
    #[must_use]
    pub fn on(self, duty: Duty) -> Self {
        Self {
            duty: Some(duty.fence),
            ..self
        }
    }

    /// The same, if the record of this key is what it was.
    #[must_use]
    pub fn expecting(mut self, key: Key, value: Option<Vec<u8>>) -> Self {
        self.expected.push((key, value));
        self
    }
}
