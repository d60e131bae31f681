//! Why a message on the topic is not an event that can be read. Each says what is wrong, where, and
//! with which value; the message itself stays with whoever received it, for the dead letters.

use super::{MAX_EVENT_BYTES, TYPE_PREFIX, VERSION};

/// The longest piece of a message that an error repeats, in characters.
const MAX_SHOWN_CHARS: usize = 80;

/// Why a message is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Longer than any event.
    #[error("the message has {bytes} bytes; an event has at most {MAX_EVENT_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not a JSON object.
    #[error("the message is not a JSON object: {why}; it begins with {begins:?}")]
    Garbage {
        /// What the reader of JSON says, with line and column.
        why: String,
        /// How it begins.
        begins: String,
    },
    /// Another version of CloudEvents.
    #[error("`specversion` is {given}; only \"1.0\" of CloudEvents is read")]
    SpecVersion {
        /// What it says, as JSON.
        given: String,
    },
    /// A transition in a version that this program does not know.
    #[error(
        "the event is a transition of version {given:?}; this program reads {VERSION} only, \
         a newer one may read it"
    )]
    Version {
        /// The version behind `acclaim.transition.`.
        given: String,
    },
    /// No transition at all.
    #[error("`type` is {given}; transitions have {TYPE_PREFIX}{VERSION}")]
    Type {
        /// What it says, as JSON.
        given: String,
    },
    /// A field that every event has is not there.
    #[error("`{field}` is missing or null")]
    Missing {
        /// The field, `data.rev`.
        field: &'static str,
    },
    /// A field says what it cannot.
    #[error("`{field}` is {given}, {why}")]
    Wrong {
        /// The field, `data.rev`.
        field: &'static str,
        /// What it says, as JSON.
        given: String,
        /// What it would have to be.
        why: String,
    },
    /// Two fields that say the same thing do not agree.
    #[error("`{field}` is {given}, but by its `id` {id} the event has {expected}")]
    Disagrees {
        /// The field.
        field: &'static str,
        /// What it says.
        given: String,
        /// The event's id.
        id: String,
        /// What it would have to say.
        expected: String,
    },
    /// A kind that is not configured here.
    #[error("the kind {given:?} is not configured here; there are {known}")]
    UnknownKind {
        /// The kind.
        given: String,
        /// Those that are, joined by commas.
        known: String,
    },
}

/// A piece of a message, short enough for an error.
pub(super) fn shown(text: &str) -> String {
    let mut characters = text.chars();
    let mut short: String = characters.by_ref().take(MAX_SHOWN_CHARS).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}
