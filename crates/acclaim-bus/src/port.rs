//! What every bus does for Acclaim: publish in order, consume in a group, acknowledge afterwards.
//!
//! A **bus partition** is the unit of order and of sharing on the bus. A bus has fewer of them than
//! the store has partitions; the store's partition n goes to bus partition `n % bus partitions`,
//! chosen here and not by the bus, so that the order is ours to promise.
//!
//! Promises, held by one suite on every bus (`tests/conformance`):
//! - What `publish` answered is stored as durably as the bus can.
//! - The first deliveries of the events of one bus partition come in the order of publishing. An
//!   event may come again; then everything behind it that is not acknowledged does too, in order.
//! - An event is not acknowledged to the bus before everything before it in its bus partition is.
//! - Every call ends within a time that has a name in [`Limits`](crate::Limits), also while the bus
//!   hangs.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{ConsumeError, OpenError, PublishError};
use crate::url::is_name;

/// The group that dead letters are kept for where the bus keeps nothing without one.
pub const DEAD_LETTERS_GROUP: &str = "acclaim-dead-letters";

/// Whether a group may be called so.
pub(crate) fn allow_group(group: &str) -> Result<(), OpenError> {
    match is_name(group) {
        true => Ok(()),
        false => Err(OpenError::Group {
            given: group.to_owned(),
        }),
    }
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The store's partition, which decides the bus partition.
    pub partition: u16,
    /// The event's id, for messages about it.
    pub id: String,
    /// The event.
    pub payload: Bytes,
}

impl Outgoing {
    /// The bus partition that it goes to, of so many.
    #[must_use]
    pub fn bus_partition(&self, bus_partitions: u32) -> u32 {
        u32::from(self.partition) % bus_partitions.max(1)
    }

    /// What it is ordered by, on every bus.
    #[must_use]
    pub fn key(&self) -> String {
        self.partition.to_string()
    }
}

/// A message that was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The bus partition.
    pub bus_partition: u32,
    /// Where it stands there; rises, and may leave numbers out.
    pub position: u64,
    /// When it was published, in milliseconds since the epoch by the clock of who published it
    /// (RocketMQ: of its broker; Redis Streams: of the server).
    pub published_at_millis: u64,
    /// What the message is ordered by: the store's partition as text, where Acclaim published it.
    pub key: Bytes,
    /// The event.
    pub payload: Bytes,
    /// Which delivery this is to this consumer, from 1. A new owner of the bus partition begins
    /// again with 1.
    pub attempt: u32,
    /// Tells this delivery from every other one of the same event.
    pub(crate) delivery: u64,
}

impl Received {
    /// One that no bus delivered, for whoever tests what reads them.
    #[must_use]
    pub fn new(
        bus_partition: u32,
        position: u64,
        published_at_millis: u64,
        payload: Bytes,
    ) -> Self {
        Self {
            bus_partition,
            position,
            published_at_millis,
            key: Bytes::new(),
            payload,
            attempt: 1,
            delivery: 0,
        }
    }
}

/// How much of what was to be acknowledged was this consumer's to acknowledge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// Acknowledged.
    pub events: usize,
    /// No longer this consumer's: their bus partition went to another consumer of the group, or
    /// they were given back. They come again, here or there.
    pub lost: usize,
}

/// What became of events that were given back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenBack {
    /// Events that come again after the backoff.
    pub again: usize,
    /// Those that had their last try: they are dead letters now.
    pub buried: Vec<Received>,
    /// No longer this consumer's.
    pub lost: usize,
}

/// Where to go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// The oldest event that the bus still has.
    Beginning,
    /// Behind everything that was published before the call.
    End,
    /// The first event published at this time or later, in milliseconds since the epoch.
    Time(u64),
    /// These bus partitions at these positions; the others stay where they are.
    Positions(Vec<(u32, u64)>),
}

/// How far a consumer's bus partition is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The bus partition.
    pub bus_partition: u32,
    /// Published and not acknowledged by the group. Positions that the bus left out count too.
    pub events: u64,
    /// How long ago the oldest of them was published, in milliseconds; 0 where there is none,
    /// unknown where this consumer has not received it yet.
    pub oldest_millis: Option<u64>,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The bus partitions of the topic.
    pub bus_partitions: u32,
    /// Whether the topic or that of the dead letters was made by the check.
    pub made: bool,
}

/// A bus, as its URL says.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Whether everything is there: the bus answers, lets us in, and has the topic and that of the
    /// dead letters, which are made where that is asked for and allowed.
    ///
    /// # Errors
    /// [`OpenError`] says what is missing.
    async fn check(&self) -> Result<Checked, OpenError>;

    /// Has the bus keep what is published from now on for a group, also before its first consumer is
    /// there. Most buses keep everything anyway; Pulsar throws away what no group is to get. The
    /// topic is there: [`Bus::check`] has been called.
    ///
    /// # Errors
    /// [`OpenError`].
    async fn keep_for(&self, group: &str) -> Result<(), OpenError> {
        allow_group(group)
    }

    /// Lets go of a group that nobody is to consume in any more: where the bus keeps what a group has
    /// not acknowledged, it would keep it for ever. Most buses forget groups by themselves. All of
    /// its consumers are gone.
    ///
    /// # Errors
    /// [`OpenError`]; it may be called again.
    async fn forget_group(&self, group: &str) -> Result<(), OpenError> {
        allow_group(group)
    }

    /// One that publishes. The number of bus partitions is taken now; a publisher does not notice
    /// when a topic gets more of them, so that order is kept until it is made anew.
    ///
    /// # Errors
    /// [`OpenError`].
    async fn publisher(&self) -> Result<Box<dyn Publisher>, OpenError>;

    /// One of a group that share the topic: each bus partition is one consumer's at a time. A group
    /// that is new begins with the oldest event. Dropping a consumer leaves the group.
    ///
    /// # Errors
    /// [`OpenError`].
    async fn consumer(&self, group: &str) -> Result<Box<dyn Consumer>, OpenError>;
}

/// Publishes.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes events in order, and answers when the bus has acknowledged every one of them.
    /// Calls for different partitions may be under way together; calls for one partition come one
    /// after the other, or their order is not defined. A call that is dropped halfway is one whose
    /// outcome is unknown.
    ///
    /// # Errors
    /// [`PublishError`] says whether any may be on the bus. Ends within `publish_timeout_millis`.
    async fn publish(&self, events: &[Outgoing]) -> Result<(), PublishError>;
}

/// Consumes as one of a group. Tries are counted in the consumer: whoever gets its bus partitions
/// next counts anew.
#[async_trait]
pub trait Consumer: Send {
    /// The next events: as soon as there are `max_events` of them, else what there is after
    /// `max_wait`, which may be nothing. Several batches may be held at once, up to
    /// `max_held_events`. A call that is dropped halfway loses nothing.
    ///
    /// # Errors
    /// [`ConsumeError`].
    async fn receive(
        &mut self,
        max_events: usize,
        max_wait: Duration,
    ) -> Result<Vec<Received>, ConsumeError>;

    /// Says that these are done with, in any order. They do not come again, unless the bus loses
    /// this or an earlier one of their bus partition is not acknowledged before its consumer ends.
    ///
    /// # Errors
    /// [`ConsumeError`]: they may come again. The call may be repeated.
    async fn acknowledge(&mut self, events: &[Received]) -> Result<Acknowledged, ConsumeError>;

    /// Says that these failed. They come again after a backoff, and everything behind them in their
    /// bus partitions only after them; other bus partitions go on. What has failed `max_tries`
    /// times is buried instead. Meant for events that are at fault themselves: while a dependency
    /// is down, keep the batch and try again, or everything ends up buried.
    ///
    /// # Errors
    /// [`ConsumeError`]: all of them come again.
    async fn give_back(
        &mut self,
        events: &[Received],
        reason: &str,
    ) -> Result<GivenBack, ConsumeError>;

    /// Puts an event on the dead-letter topic with the reason, then acknowledges it. What fails
    /// between the two makes a second dead letter.
    ///
    /// # Errors
    /// [`ConsumeError`]: the event is still held.
    async fn bury(&mut self, event: &Received, reason: &str) -> Result<(), ConsumeError>;

    /// Moves the group to another place in the bus partitions that this consumer has now, for good.
    /// What was received before is no longer its own.
    ///
    /// # Errors
    /// [`ConsumeError`]: some bus partitions may have been moved and others not.
    async fn seek(&mut self, to: &SeekTo) -> Result<(), ConsumeError>;

    /// How far behind the bus partitions are that this consumer has now, by their numbers.
    ///
    /// # Errors
    /// [`ConsumeError`].
    async fn lag(&mut self) -> Result<Vec<Lag>, ConsumeError>;
}
