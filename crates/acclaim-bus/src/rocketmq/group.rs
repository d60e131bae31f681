//! What a group is called at the brokers.
//!
//! The members of a group of RocketMQ must all have the same topic: whose queue is whose they work
//! out from one list of members, and a broker keeps one set of topics for the group. Here a group
//! may be of many topics, so each (topic, group) is a group of its own.

use std::fmt::Write as _;

use sha1::{Digest, Sha1};

/// The longest name that brokers take, in bytes.
const MAX_BYTES: usize = 120;
/// What parts topic and group; names have none.
const PARTS: char = '%';

/// The name: topic and group, or as much of it as brokers take and what makes it unique.
pub fn name(topic: &str, group: &str) -> String {
    let mut name = format!("{topic}{PARTS}{group}");
    if name.len() <= MAX_BYTES {
        return name;
    }
    let digest = Sha1::digest(name.as_bytes());
    // Names are ASCII, so there are characters at every place.
    name.truncate(MAX_BYTES - 2 * digest.len() - 2);
    name.extend([PARTS, PARTS]);
    for byte in digest {
        // Writing to a string does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_topic_and_group_and_never_too_long() {
        assert_eq!(name("acclaim", "recorders"), "acclaim%recorders");
        let topic = "t".repeat(100);
        let just = name(&topic, &"g".repeat(19));
        assert_eq!(just, format!("{topic}%{}", "g".repeat(19)));
        let cut = name(&topic, &"g".repeat(20));
        assert_eq!(cut.len(), MAX_BYTES);
        assert!(
            cut.starts_with(&"t".repeat(78)) && cut.contains("%%"),
            "{cut}"
        );
        assert_ne!(cut, name(&topic, &"h".repeat(20)));
    }
}
