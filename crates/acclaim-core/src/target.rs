//! What is acted on: a type and an id, `POST:123`; and the keys that counts are kept under.

use std::fmt;

use compact_str::CompactString;

use crate::id::Id;
use crate::kind::KindId;

/// The longest target type, in bytes.
pub const MAX_TARGET_TYPE_BYTES: usize = 32;

/// The name of a class of targets: 1–32 of `[A-Z0-9_]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetType(CompactString);

/// Why a string is not a target type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetTypeError {
    /// Nothing was given.
    #[error("is empty; a target type is 1 to {MAX_TARGET_TYPE_BYTES} of A-Z 0-9 _")]
    Empty,
    /// More than [`MAX_TARGET_TYPE_BYTES`].
    #[error("has {0} bytes; a target type has at most {MAX_TARGET_TYPE_BYTES}")]
    TooLong(usize),
    /// A character outside the grammar.
    #[error("has the character {0:?}; a target type is made of A-Z 0-9 _ only")]
    Character(char),
}

impl TargetType {
    /// The type of users as targets: a follow's target is `USER:456`.
    pub const USER: Self = Self(CompactString::const_new("USER"));

    /// Reads a target type.
    ///
    /// # Errors
    /// [`TargetTypeError`] when `text` is outside the grammar.
    pub fn parse(text: &str) -> Result<Self, TargetTypeError> {
        if text.is_empty() {
            return Err(TargetTypeError::Empty);
        }
        if text.len() > MAX_TARGET_TYPE_BYTES {
            return Err(TargetTypeError::TooLong(text.len()));
        }
        let allowed = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_';
        match text.chars().find(|c| !allowed(c)) {
            Some(c) => Err(TargetTypeError::Character(c)),
            None => Ok(Self(CompactString::from(text))),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TargetType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that can be acted on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Its class.
    pub target_type: TargetType,
    /// Its id inside its class.
    pub id: Id,
}

impl Target {
    /// The target that a user is to others.
    #[must_use]
    pub fn user(id: Id) -> Self {
        Self {
            target_type: TargetType::USER,
            id,
        }
    }

    /// Whether this is the given user.
    #[must_use]
    pub fn is_user(&self, user: &Id) -> bool {
        self.target_type == TargetType::USER && self.id == *user
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.target_type, self.id)
    }
}

/// A target under one kind: what a count belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetKey {
    /// The relation.
    pub kind: KindId,
    /// The target.
    pub target: Target,
}

/// A user under one kind: what "how many did they" belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserKey {
    /// The relation.
    pub kind: KindId,
    /// The user.
    pub user: Id,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_has_edges() {
        assert!(TargetType::parse("POST_2").is_ok());
        assert!(TargetType::parse(&"A".repeat(32)).is_ok());
        assert_eq!(
            TargetType::parse(&"A".repeat(33)),
            Err(TargetTypeError::TooLong(33))
        );
        assert_eq!(TargetType::parse(""), Err(TargetTypeError::Empty));
        for text in ["post", "PO ST", "POST:1", "P\0", "É"] {
            assert!(matches!(
                TargetType::parse(text),
                Err(TargetTypeError::Character(_))
            ));
        }
    }
}
