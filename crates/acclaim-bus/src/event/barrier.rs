//! A message that is no transition: it says to whoever records the events of a store that nothing
//! published before it in some turns of a partition is to come any more. Everybody else passes over
//! it, as over every type that they do not know.

use compact_str::CompactString;
use serde::Serialize;

use super::SOURCE_PREFIX;
use super::write::Shown;

/// What `type` says.
pub(super) const BARRIER_TYPE: &str = "acclaim.barrier.v1";

/// Closes turns of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// Of which store: see [`super::Event::store`].
    pub store: CompactString,
    /// Of which partition.
    pub partition: u16,
    /// The turns before this one are closed.
    pub turn: u32,
}

#[derive(Serialize)]
struct Envelope {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    event_type: &'static str,
    partitionkey: Shown<u16>,
    turn: u32,
}

impl Barrier {
    /// Its id; the same for one that is published again.
    #[must_use]
    pub fn id(&self) -> String {
        format!("barrier-{}-{}", self.partition, self.turn)
    }

    /// Its JSON.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let envelope = Envelope {
            specversion: "1.0",
            id: self.id(),
            source: format!("{SOURCE_PREFIX}{}", self.store),
            event_type: BARRIER_TYPE,
            partitionkey: Shown(self.partition),
            turn: self.turn,
        };
        // Texts and numbers always serialize.
        serde_json::to_vec(&envelope).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use acclaim_core::Kinds;

    use super::super::{Event, Stand, Unreadable};
    use super::*;

    #[test]
    fn a_barrier_reads_back_and_is_no_transition() {
        let barrier = Barrier {
            store: "shop".into(),
            partition: 7,
            turn: 3,
        };
        let text = barrier.write();
        assert_eq!(Barrier::read(&text), Some(barrier));
        let read = Event::read(&text, &Kinds::new([]).unwrap());
        assert!(matches!(read, Err(Unreadable::Type { .. })), "{read:?}");
        assert_eq!(Stand::read(&text), None);
        let like = include_bytes!("../../schema/examples/like.json");
        assert_eq!(Barrier::read(like), None);
        let stand = Stand::read(like).unwrap();
        assert_eq!((stand.place.partition, stand.turn), (17, None));
        // Of one that cannot be read it is known all the same where it stands.
        let text = String::from_utf8_lossy(like).replace("likes", "nosuch");
        assert_eq!(Stand::read(text.as_bytes()), Some(stand));
        assert_eq!(Barrier::read(b"garbage"), None);
    }
}
