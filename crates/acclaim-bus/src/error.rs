//! What can go wrong with a bus: one enum an operation. Every message names the bus, its address
//! and the topic; none has a password.

use std::fmt;

use crate::limits::{MAX_BATCH_EVENTS, MAX_BATCH_WAIT_MILLIS};
use crate::url::{BusKind, BusUrl, MAX_NAME_BYTES};

/// Which topic of which bus: how every message begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicAt {
    /// Which bus.
    pub kind: BusKind,
    /// Its hosts, joined by commas.
    pub hosts: String,
    /// The topic.
    pub topic: String,
}

impl TopicAt {
    /// The topic of the events.
    #[must_use]
    pub fn events(url: &BusUrl) -> Self {
        Self {
            kind: url.kind,
            hosts: url.host_list(),
            topic: url.topic.clone(),
        }
    }

    /// The topic of the dead letters.
    #[must_use]
    pub fn dead_letters(url: &BusUrl) -> Self {
        Self {
            topic: url.dead_topic.clone(),
            ..Self::events(url)
        }
    }
}

impl fmt::Display for TopicAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, hosts, topic } = self;
        write!(f, "{kind} at {hosts}, topic {topic:?}")
    }
}

/// Why a bus cannot be used as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// This program was built without the client of this bus.
    #[error("this program is built without {0}; build it with the feature of that name")]
    NotBuilt(BusKind),
    /// A setting that the client does not take, such as a file that is not there.
    #[error("{at}: the client does not take its settings: {why}")]
    Settings {
        /// Where.
        at: TopicAt,
        /// What it says.
        why: String,
    },
    /// Nobody answers.
    #[error("{at}: no answer within {after_millis} ms: {why}")]
    Unreachable {
        /// Where.
        at: TopicAt,
        /// `call_timeout_millis`.
        after_millis: u64,
        /// What the client last heard.
        why: String,
    },
    /// The bus does not know us, or we do not trust it.
    #[error("{at}: refused: {why}; look at user, password, sasl and tls in the URL of the bus")]
    Credentials {
        /// Where.
        at: TopicAt,
        /// What it says.
        why: String,
    },
    /// There is no such topic, and making it was not asked for.
    #[error("{at}: there is no such topic; make it, or allow it with create=yes")]
    NoTopic {
        /// Where.
        at: TopicAt,
    },
    /// There is no such topic, and the bus did not let us make it.
    #[error("{at}: there is no such topic and it could not be made: {why}")]
    CannotMake {
        /// Where.
        at: TopicAt,
        /// What the bus says.
        why: String,
    },
    /// A group that no bus takes.
    #[error("the group {given:?} is not 1 to {MAX_NAME_BYTES} of A-Z a-z 0-9 - _")]
    Group {
        /// Its name.
        given: String,
    },
    /// Something else that the bus says.
    #[error("{at}: {why}")]
    Other {
        /// Where.
        at: TopicAt,
        /// What it says.
        why: String,
    },
}

/// Why events were not published. After [`PublishError::Unknown`] nobody knows which of them are on
/// the bus: publish all of them again. After the others none is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// More than one call takes.
    #[error("{given} events in one call to publish; it takes {limit}")]
    TooMany {
        /// How many.
        given: usize,
        /// `max_publish_events`.
        limit: usize,
    },
    /// An event that is too long.
    #[error("the event {id} has {bytes} bytes; one that is published has at most {limit}")]
    TooLong {
        /// Its id.
        id: String,
        /// Its length.
        bytes: usize,
        /// `max_event_bytes`.
        limit: usize,
    },
    /// The client could not be started.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The bus did not acknowledge all of them.
    #[error("{at}: {acknowledged} of {events} events acknowledged; publish all again: {why}")]
    Unknown {
        /// Where.
        at: TopicAt,
        /// How many were acknowledged.
        acknowledged: usize,
        /// How many there were.
        events: usize,
        /// What the client last heard.
        why: String,
    },
}

/// Why a consumer's call failed. It may be called again after each of them: nothing is lost, events
/// may come twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// A batch of no events or of too many.
    #[error("a batch of {given} events was asked for; it has 1 to {MAX_BATCH_EVENTS}")]
    BatchEvents {
        /// How many.
        given: usize,
    },
    /// A wait that is too long.
    #[error("a batch may be waited for {MAX_BATCH_WAIT_MILLIS} ms, not {given_millis}")]
    BatchWait {
        /// How long.
        given_millis: u128,
    },
    /// As many events are held as may be.
    #[error(
        "{held} received events are not acknowledged, which is the limit ({limit}); acknowledge \
         some or give them back"
    )]
    TooManyHeld {
        /// How many.
        held: usize,
        /// `max_held_events`.
        limit: usize,
    },
    /// The call did not end in time. What it does may still happen.
    #[error("{at}: {call} did not end within {after_millis} ms")]
    Timeout {
        /// Where.
        at: TopicAt,
        /// Which call.
        call: &'static str,
        /// After how long it was given up.
        after_millis: u64,
    },
    /// The bus refused, or could not be asked.
    #[error("{at}: {call}: {why}")]
    Bus {
        /// Where.
        at: TopicAt,
        /// Which call.
        call: &'static str,
        /// What the client says.
        why: String,
    },
    /// The bus threw away events that the group had not received, since it keeps no more. Said once;
    /// what comes next stands behind them.
    #[error(
        "{at}: {events} events of bus partition {bus_partition} before position {before} are gone: \
         the bus threw them away before this group received them"
    )]
    Gone {
        /// Where.
        at: TopicAt,
        /// Which bus partition.
        bus_partition: u32,
        /// How many.
        events: u64,
        /// The first that is still there.
        before: u64,
    },
    /// The group gives this consumer no partition, so there is nothing to move.
    #[error("{at}: this consumer of the group {group:?} has no partition to seek in")]
    NoPartition {
        /// Where.
        at: TopicAt,
        /// The group.
        group: String,
    },
    /// A dead letter could not be written. The events come again.
    #[error("the dead letter could not be written: {0}")]
    DeadLetter(#[source] PublishError),
}
