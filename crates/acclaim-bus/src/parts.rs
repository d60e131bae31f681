//! What is published at once, as it travels: by bus partition, and there in parts of a bounded size.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::TopicAt;
use crate::limits::{Limits, cut};
use crate::orders::{ORIGIN, REASON, origin};
use crate::port::{Outgoing, Received};

/// A message to be published.
#[derive(Clone, Debug)]
pub struct Single {
    /// What it is ordered by.
    pub key: Bytes,
    pub payload: Bytes,
    pub properties: Vec<(&'static str, String)>,
}

impl Single {
    /// The key where only a text may stand.
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(&self.key).into_owned()
    }
}

/// What goes to each bus partition, in order.
pub type Lines = BTreeMap<u32, Vec<Single>>;

/// Events, to so many bus partitions.
pub fn events(events: &[Outgoing], bus_partitions: u32) -> Lines {
    by_line(events.iter().map(|event| {
        let single = Single {
            key: event.key().into(),
            payload: event.payload.clone(),
            properties: Vec::new(),
        };
        (event.bus_partition(bus_partitions), single)
    }))
}

/// Events as dead letters, with why and from where, to so many bus partitions.
pub fn dead_letters(
    events: &[Received],
    reason: &str,
    from: &TopicAt,
    limits: &Limits,
    bus_partitions: u32,
) -> Lines {
    let reason = cut(reason, limits.max_reason_bytes);
    by_line(events.iter().map(|event| {
        let single = Single {
            key: event.key.clone(),
            payload: event.payload.clone(),
            properties: vec![(REASON, reason.to_owned()), (ORIGIN, origin(event, from))],
        };
        (event.bus_partition % bus_partitions.max(1), single)
    }))
}

fn by_line(messages: impl Iterator<Item = (u32, Single)>) -> Lines {
    let mut lines = Lines::new();
    for (bus_partition, message) in messages {
        lines.entry(bus_partition).or_default().push(message);
    }
    lines
}

/// The most of one part.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    pub messages: usize,
    /// Of payload, unless one message alone is longer.
    pub bytes: usize,
}

impl Most {
    /// Parts of messages in order, none longer than a publisher may keep.
    pub fn parts<'a>(&self, messages: &'a [Single], limits: &Limits) -> Vec<&'a [Single]> {
        let most_bytes = self.bytes.min(limits.max_queued_bytes);
        let mut parts = Vec::new();
        let (mut begin, mut bytes) = (0, 0);
        for (at, message) in messages.iter().enumerate() {
            let is_long = bytes + message.payload.len() > most_bytes;
            if at > begin && (is_long || at - begin >= self.messages) {
                parts.push(&messages[begin..at]);
                (begin, bytes) = (at, 0);
            }
            bytes += message.payload.len();
        }
        parts.push(&messages[begin..]);
        parts
    }
}

/// How many bytes of payload a part has.
pub fn bytes(part: &[Single]) -> usize {
    part.iter().map(|message| message.payload.len()).sum()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The lengths of the parts of so many messages of so many bytes.
    fn lengths(most: Most, limits: &Limits, messages: &[(usize, usize)]) -> Vec<usize> {
        let messages: Vec<Single> = messages
            .iter()
            .flat_map(|(count, bytes)| {
                let single = Single {
                    key: Bytes::new(),
                    payload: vec![0; *bytes].into(),
                    properties: Vec::new(),
                };
                std::iter::repeat_n(single, *count)
            })
            .collect();
        let parts = most.parts(&messages, limits);
        parts.iter().map(|part| part.len()).collect()
    }

    /// Holds what a bus sends at once against its limits, and just beyond.
    pub fn end_at(most: Most, messages: usize, bytes: usize) {
        let lengths = |given: &[(usize, usize)]| lengths(most, &Limits::default(), given);
        assert_eq!(lengths(&[(messages, 1)]), [messages]);
        assert_eq!(lengths(&[(messages + 1, 1)]), [messages, 1]);
        assert_eq!(lengths(&[(1, bytes - 1), (1, 1)]), [2]);
        assert_eq!(lengths(&[(1, bytes), (1, 1)]), [1, 1]);
    }

    const MOST: Most = Most {
        messages: 1_024,
        bytes: 256 << 10,
    };

    #[test]
    fn parts_end_at_their_limits() {
        end_at(MOST, 1_024, 256 << 10);
        let lengths = |given: &[(usize, usize)]| lengths(MOST, &Limits::default(), given);
        assert_eq!(lengths(&[(1, 0)]), [1]);
        let half = MOST.bytes / 2;
        assert_eq!(lengths(&[(4, half)]), [2, 2]);
        assert_eq!(lengths(&[(1, half), (1, half + 1), (1, 1)]), [1, 2]);
        assert_eq!(lengths(&[(1, 1), (1, MOST.bytes + 1), (1, 1)]), [1, 1, 1]);
    }

    #[test]
    fn a_part_is_no_longer_than_what_may_be_kept() {
        let limits = Limits {
            max_queued_bytes: 10,
            ..Limits::default()
        };
        assert_eq!(lengths(MOST, &limits, &[(2, 5)]), [2]);
        assert_eq!(lengths(MOST, &limits, &[(1, 5), (1, 6)]), [1, 1]);
    }

    #[test]
    fn lines_keep_their_order() {
        let outgoing = |partition: u16, text: &'static str| Outgoing {
            partition,
            id: text.to_owned(),
            payload: text.into(),
        };
        let given = [outgoing(5, "a"), outgoing(0, "b"), outgoing(2, "c")];
        let lines = events(&given, 3);
        let texts = |line: u32| -> Vec<&[u8]> {
            let line = lines[&line].iter();
            line.map(|single| &single.payload[..]).collect()
        };
        assert_eq!(texts(2), [b"a", b"c"]);
        assert_eq!(texts(0), [b"b"]);
        assert_eq!(lines[&2][0].key_text(), "5");
    }
}
