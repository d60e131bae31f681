//! Where an event stands in the journal of a whole store.
//!
//! Each partition gives its own seqs, so two events of different partitions may have the same one;
//! the partition's number puts them in order. A store of one partition has places that are plain
//! seqs, in text too.

use std::fmt;
use std::str::FromStr;

use crate::rev::Rev;

/// The place of an event in the journal, and the id to resume from: by seq, then by partition.
///
/// As text the seq alone where the partition is 0, else `<seq>-<partition>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Strictly increasing inside a partition.
    pub seq: Rev,
    /// Which partition decided it. The embedded engine has one, 0.
    pub partition: u16,
}

/// Why a text is not a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the id of an event; send one as it came: a whole number up to {max}, \
     or two joined by a dash",
    max = Rev::MAX
)]
pub struct BadPlace(String);

/// The longest text that an error repeats, in characters; a place has at most 22.
const MAX_SHOWN_CHARS: usize = 40;

impl Place {
    /// Before every event.
    pub const START: Self = Self {
        seq: Rev::ZERO,
        partition: 0,
    };
    /// After every event that there can be.
    pub const MAX: Self = Self {
        seq: Rev::MAX,
        partition: u16::MAX,
    };

    /// The place of a seq in a store of one partition.
    #[must_use]
    pub const fn unpartitioned(seq: Rev) -> Self {
        Self { seq, partition: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            0 => self.seq.fmt(f),
            partition => write!(f, "{}-{partition}", self.seq),
        }
    }
}

/// A number as it is shown, and in no other way: no sign, no leading zero.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let short = text == "0" || !text.starts_with('0');
    // An empty text and one that is too large do not parse.
    (plain && short).then(|| text.parse().ok()).flatten()
}

fn read(text: &str) -> Option<Place> {
    let (seq, partition) = match text.split_once('-') {
        None => (text, 0),
        Some((seq, partition)) => {
            let partition = number(partition).filter(|partition| *partition > 0)?;
            (seq, u16::try_from(partition).ok()?)
        }
    };
    let seq = number(seq).map(Rev).filter(|seq| *seq <= Rev::MAX)?;
    Some(Place { seq, partition })
}

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        read(text).ok_or_else(|| BadPlace(text.chars().take(MAX_SHOWN_CHARS).collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(seq: u64, partition: u16) -> Place {
        Place {
            seq: Rev(seq),
            partition,
        }
    }

    #[test]
    fn the_first_partition_is_a_plain_number() {
        assert_eq!(place(17, 0).to_string(), "17");
        assert_eq!(place(17, 3).to_string(), "17-3");
        assert_eq!("17".parse(), Ok(Place::unpartitioned(Rev(17))));
        assert_eq!("0".parse(), Ok(Place::START));
        assert_eq!("9007199254740991-65535".parse(), Ok(Place::MAX));
    }

    #[test]
    fn what_no_place_is_shown_as_is_refused() {
        let refused = [
            "",
            "-",
            "x",
            "-1",
            "+1",
            "01",
            "1-",
            "1-0",
            "1-01",
            "1-+1",
            "1--1",
            "1-2-3",
            " 1",
            "1 ",
            "1.0",
            "1-65536",
            "9007199254740992",
            "99999999999999999999",
            "١",
        ];
        for text in refused {
            assert!(text.parse::<Place>().is_err(), "{text:?}");
        }
        let error = "9".repeat(9_000).parse::<Place>().unwrap_err();
        assert!(error.to_string().len() < 200, "{error}");
    }

    proptest! {
        #[test]
        fn places_read_back(seq in 0..=Rev::MAX.0, partition: u16) {
            let place = place(seq, partition);
            prop_assert_eq!(place.to_string().parse(), Ok(place));
            prop_assert!(place.to_string().len() <= 22);
        }

        #[test]
        fn seqs_go_before_partitions(
            one in (0..9u64, 0..4u16), other in (0..9u64, 0..4u16)
        ) {
            let places = (place(one.0, one.1), place(other.0, other.1));
            prop_assert_eq!(places.0.cmp(&places.1), one.cmp(&other));
        }
    }
}
