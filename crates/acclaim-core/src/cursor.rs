//! Cursors: opaque, signed, versioned and bound to their list.
//!
//! A cursor is a version byte, a position and the first 12 bytes of
//! HMAC-SHA256(key, version ‖ list ‖ position) (RFC 2104), in URL-safe base64 without padding. The
//! list (its route and every parameter that decides what is in it) is signed but not sent, so a
//! cursor of one list is a forgery on any other. 96 bits are far beyond guessing online.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::id::Id;
use crate::page::Position;
use crate::rev::Rev;
use crate::target::{Target, TargetType};

const VERSION: u8 = 1;
const TAG_BYTES: usize = 12;
/// The longest cursor, in characters: version, rev, a target of the longest type and id, the tag.
pub const MAX_CURSOR_CHARS: usize = 180;

/// Signs and reads cursors. The key belongs to the store, so cursors outlive a restart.
#[derive(Clone)]
pub struct CursorKey([u8; 32]);

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey(…)")
    }
}

/// Why a cursor is refused. The caller learns one message for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this cursor is not one of this list; begin again without a cursor")]
pub struct BadCursor;

/// What can be a position in a list.
pub trait CursorItem: Sized {
    /// Its bytes inside a cursor.
    fn to_text(&self) -> String;
    /// Reads it back.
    fn from_text(text: &str) -> Option<Self>;
}

impl CursorItem for Id {
    fn to_text(&self) -> String {
        self.to_string()
    }

    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

impl CursorItem for Target {
    fn to_text(&self) -> String {
        self.to_string()
    }

    fn from_text(text: &str) -> Option<Self> {
        let (target_type, id) = text.split_once(':')?;
        Some(Self {
            target_type: TargetType::parse(target_type).ok()?,
            id: Id::parse(id).ok()?,
        })
    }
}

impl CursorKey {
    /// Uses the given secret.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The cursor for a position in a list.
    #[must_use]
    pub fn sign<K: CursorItem>(&self, list: &str, position: &Position<K>) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&position.rev.0.to_be_bytes());
        bytes.extend_from_slice(position.key.to_text().as_bytes());
        let tag = self.tag(list, &bytes);
        bytes.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position of a cursor of this list.
    ///
    /// # Errors
    /// [`BadCursor`] when it was not signed with this key for this list, or is of another version.
    pub fn read<K: CursorItem>(&self, list: &str, cursor: &str) -> Result<Position<K>, BadCursor> {
        if cursor.len() > MAX_CURSOR_CHARS {
            return Err(BadCursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| BadCursor)?;
        let signed = bytes.len().checked_sub(TAG_BYTES).ok_or(BadCursor)?;
        let (signed, tag) = bytes.split_at(signed);
        let mut mac = self.mac(list);
        mac.update(signed);
        mac.verify_truncated_left(tag).map_err(|_| BadCursor)?;
        let (&VERSION, rest) = signed.split_first().ok_or(BadCursor)? else {
            return Err(BadCursor);
        };
        let (rev, key) = rest.split_first_chunk::<8>().ok_or(BadCursor)?;
        let key = std::str::from_utf8(key)
            .ok()
            .and_then(K::from_text)
            .ok_or(BadCursor)?;
        Ok(Position {
            rev: Rev(u64::from_be_bytes(*rev)),
            key,
        })
    }

    fn mac(&self, list: &str) -> Hmac<Sha256> {
        #[allow(
            clippy::expect_used,
            reason = "HMAC takes keys of any length (RFC 2104, section 2)"
        )]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes any key length");
        mac.update(&(list.len() as u64).to_be_bytes());
        mac.update(list.as_bytes());
        mac
    }

    fn tag(&self, list: &str, signed: &[u8]) -> [u8; TAG_BYTES] {
        let mut mac = self.mac(list);
        mac.update(signed);
        let full = mac.finalize().into_bytes();
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&full[..TAG_BYTES]);
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> CursorKey {
        CursorKey::new([7; 32])
    }

    fn position() -> Position<Id> {
        Position {
            rev: Rev(1_795_132_800_000_000),
            key: Id::Number(42),
        }
    }

    #[test]
    fn a_cursor_is_bound_to_its_list_and_key() {
        let cursor = key().sign("likes/users?POST:1", &position());
        assert_eq!(key().read("likes/users?POST:1", &cursor), Ok(position()));
        assert_eq!(
            key().read::<Id>("likes/users?POST:2", &cursor),
            Err(BadCursor)
        );
        let other = CursorKey::new([8; 32]);
        assert_eq!(
            other.read::<Id>("likes/users?POST:1", &cursor),
            Err(BadCursor)
        );
    }

    #[test]
    fn the_longest_position_fits() {
        let target_type = TargetType::parse(&"A".repeat(32)).unwrap();
        let target = Target {
            target_type,
            id: Id::parse(&"z".repeat(64)).unwrap(),
        };
        let position = Position {
            rev: Rev::MAX,
            key: target,
        };
        let cursor = key().sign("list", &position);
        assert!(cursor.len() <= MAX_CURSOR_CHARS, "{}", cursor.len());
        assert_eq!(key().read("list", &cursor), Ok(position));
    }

    proptest! {
        #[test]
        fn no_changed_byte_passes(place in 0usize..1000, flip in 1u8..=255) {
            let cursor = key().sign("list", &position());
            let mut bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
            let place = place % bytes.len();
            bytes[place] ^= flip;
            let forged = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(key().read::<Id>("list", &forged), Err(BadCursor));
        }

        #[test]
        fn nonsense_is_refused(text in ".{0,300}") {
            prop_assert_eq!(key().read::<Target>("list", &text), Err(BadCursor));
        }
    }
}
