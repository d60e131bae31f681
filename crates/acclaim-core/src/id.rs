//! Ids of users and targets.
//!
//! An id is a `u64` or a string of 1–64 bytes of `[A-Za-z0-9._:-]`. A *canonical decimal* (digits
//! without a leading zero that fit a `u64`) is always the number, however it was sent, so `1` and
//! `"1"` are one user while `"01"` is another.

use std::fmt;
use std::str::FromStr;

use compact_str::CompactString;
use serde::{Serialize, Serializer};

/// The longest id, in bytes.
pub const MAX_ID_BYTES: usize = 64;

/// The largest integer that every JSON reader keeps exactly, 2^53 − 1.
pub const MAX_JSON_INTEGER: u64 = (1 << 53) - 1;

/// The id of a user or of a target. Orders numbers before texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// A canonical decimal.
    Number(u64),
    /// Anything else of the grammar.
    Text(CompactString),
}

/// Why a string is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("is empty; an id is 1 to {MAX_ID_BYTES} bytes of A-Z a-z 0-9 . _ : -")]
    Empty,
    /// More than [`MAX_ID_BYTES`].
    #[error("has {0} bytes; an id has at most {MAX_ID_BYTES}")]
    TooLong(usize),
    /// A character outside the grammar.
    #[error("has the character {0:?}; an id is made of A-Z a-z 0-9 . _ : - only")]
    Character(char),
}

impl Id {
    /// Reads an id from text.
    ///
    /// # Errors
    /// [`IdError`] when `text` is outside the grammar.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > MAX_ID_BYTES {
            return Err(IdError::TooLong(text.len()));
        }
        if let Some(number) = canonical_decimal(text) {
            return Ok(Self::Number(number));
        }
        match text.chars().find(|c| !is_id_character(*c)) {
            Some(c) => Err(IdError::Character(c)),
            None => Ok(Self::Text(CompactString::from(text))),
        }
    }
}

fn is_id_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-')
}

fn canonical_decimal(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let canonical = bytes.iter().all(u8::is_ascii_digit) && (bytes[0] != b'0' || bytes.len() == 1);
    if canonical { text.parse().ok() } else { None }
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// As a user id in a response: a number where every JSON reader keeps it exactly, else a string.
/// For target ids, which are always strings, use [`Id::to_string`].
impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) if *number <= MAX_JSON_INTEGER => {
                serializer.serialize_u64(*number)
            }
            other => serializer.collect_str(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn canonical_decimals_are_numbers() {
        assert_eq!(Id::parse("0"), Ok(Id::Number(0)));
        assert_eq!(Id::parse("18446744073709551615"), Ok(Id::Number(u64::MAX)));
        for text in ["01", "00", "18446744073709551616", "1.0", "1e3"] {
            assert_eq!(Id::parse(text), Ok(Id::Text(text.into())), "{text}");
        }
    }

    #[test]
    fn the_grammar_has_edges() {
        assert_eq!(Id::parse(""), Err(IdError::Empty));
        assert!(Id::parse(&"a".repeat(MAX_ID_BYTES)).is_ok());
        assert_eq!(
            Id::parse(&"a".repeat(MAX_ID_BYTES + 1)),
            Err(IdError::TooLong(65))
        );
        for text in ["a b", "a\0", "ä", "{p1}", "\u{202e}", "a/b", "+1", "a,b"] {
            assert!(
                matches!(Id::parse(text), Err(IdError::Character(_))),
                "{text:?}"
            );
        }
        assert!(
            Id::parse("-1").is_ok(),
            "a dash and a one are in the grammar as text"
        );
    }

    #[test]
    fn numbers_beyond_json_are_strings_in_responses() {
        let json = |id: Id| serde_json::to_string(&id).unwrap();
        assert_eq!(json(Id::Number(MAX_JSON_INTEGER)), "9007199254740991");
        assert_eq!(
            json(Id::Number(MAX_JSON_INTEGER + 1)),
            "\"9007199254740992\""
        );
        assert_eq!(json(Id::parse("01").unwrap()), "\"01\"");
    }

    proptest! {
        #[test]
        fn display_reads_back(text in "[A-Za-z0-9._:-]{1,64}") {
            let id = Id::parse(&text).unwrap();
            prop_assert_eq!(Id::parse(&id.to_string()), Ok(id.clone()));
            prop_assert_eq!(id.to_string(), text);
        }
    }
}
