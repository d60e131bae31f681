//! How ids and revs stand in the columns of the ledger.
//!
//! An id is a `VARBINARY` whose bytes order as [`Id`] does: numbers before texts, numbers by
//! value, texts by their bytes. So a page by keyset, whose ties go by id, is a range of an index.
//! - A number is its length in bytes plus [`NUMBER`], then the bytes, big endian without leading
//!   zeros: a longer number is a larger one.
//! - A text is [`TEXT`], then its bytes.
//!
//! Every id has one encoding and every encoding one id, so two ids never share a key. Values reach
//! the server as parameters of prepared statements only, never inside the text of one.

use std::fmt;

use acclaim_core::id::MAX_ID_BYTES;
use acclaim_core::{Id, Rev};
use sha1::{Digest, Sha1};
use smallvec::SmallVec;

/// The first byte of the number zero; the first byte of others is this and their length.
const NUMBER: u8 = 0x01;
/// The first byte of a text.
const TEXT: u8 = 0xFE;
/// The longest encoding, in bytes: a text of the longest id.
pub const MAX_KEY_BYTES: usize = MAX_ID_BYTES + 1;

/// The encoding of an id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdKey(SmallVec<[u8; 16]>);

/// Bytes that are the encoding of no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the encoding of an id")]
pub struct BadKey(IdKey);

impl IdKey {
    /// Encodes an id.
    #[must_use]
    pub fn new(id: &Id) -> Self {
        let mut bytes = SmallVec::new();
        match id {
            Id::Number(number) => {
                let leading = number.leading_zeros() as usize / 8;
                let digits = &number.to_be_bytes()[leading..];
                // At most 8, so it fits a byte and stays below the tag of texts.
                bytes.push(NUMBER + digits.len() as u8);
                bytes.extend_from_slice(digits);
            }
            Id::Text(text) => {
                bytes.push(TEXT);
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        Self(bytes)
    }

    /// Takes what a column held, to be judged by [`IdKey::id`].
    #[must_use]
    pub fn from_column(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The id.
    ///
    /// # Errors
    /// [`BadKey`] for bytes that no id encodes to.
    pub fn id(&self) -> Result<Id, BadKey> {
        self.read().ok_or_else(|| BadKey(self.clone()))
    }

    fn read(&self) -> Option<Id> {
        let (tag, rest) = self.0.split_first()?;
        if *tag == TEXT {
            let text = std::str::from_utf8(rest).ok()?;
            return Id::parse(text).ok().filter(|id| matches!(id, Id::Text(_)));
        }
        let length = usize::from(tag.checked_sub(NUMBER)?);
        if length > 8 || rest.len() != length || rest.first() == Some(&0) {
            return None;
        }
        let number = rest
            .iter()
            .fold(0, |sum, digit| sum << 8 | u64::from(*digit));
        Some(Id::Number(number))
    }

    /// The place of a user among the users of a target: the first four bytes of the SHA-1 of the
    /// id as text. The buckets of a large target are ranges of it, so one bucket is one range of
    /// the ledger's primary key. Redis's side hashes the same way; it can never change.
    #[must_use]
    pub fn user_hash(&self) -> u32 {
        let digest = match self.read() {
            Some(id) => Sha1::digest(id.to_string().as_bytes()),
            None => Sha1::digest(&self.0),
        };
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }
}

impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.read() {
            Some(id) => write!(f, "{id}"),
            None => write!(f, "{:02x?}", self.0.as_slice()),
        }
    }
}

/// Where an edge of this rev stands in a list: newest first is ascending, so that no index needs
/// to descend.
#[must_use]
pub fn place(rev: Rev) -> u64 {
    Rev::MAX.0.saturating_sub(rev.0)
}

/// The rev at a place.
#[must_use]
pub fn rev_at(place: u64) -> Rev {
    Rev(Rev::MAX.0.saturating_sub(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> impl Strategy<Value = Id> {
        prop_oneof![
            any::<u64>().prop_map(Id::Number),
            (0u32..64).prop_map(|bits| Id::Number(1 << bits)),
            (0u32..64).prop_map(|bits| Id::Number((1 << bits) - 1)),
            "[A-Za-z0-9._:-]{1,64}".prop_map(|text| Id::parse(&text).unwrap()),
            "[0-9]{1,24}".prop_map(|text| Id::parse(&text).unwrap()),
        ]
    }

    proptest! {
        #[test]
        fn an_id_reads_back(id in id()) {
            let key = IdKey::new(&id);
            prop_assert!(key.as_bytes().len() <= MAX_KEY_BYTES);
            prop_assert_eq!(IdKey::from_column(key.as_bytes()).id(), Ok(id));
        }

        #[test]
        fn keys_order_as_ids(one in id(), other in id()) {
            prop_assert_eq!(IdKey::new(&one).cmp(&IdKey::new(&other)), one.cmp(&other));
        }

        /// What is read from any bytes encodes to the same bytes: no two keys are one id.
        #[test]
        fn an_id_has_one_key(bytes in prop::collection::vec(any::<u8>(), 0..12), tag in any::<bool>()) {
            let mut bytes = bytes;
            if tag { bytes.insert(0, TEXT); }
            let key = IdKey::from_column(&bytes);
            if let Ok(id) = key.id() {
                prop_assert_eq!(IdKey::new(&id), key);
            }
        }

        #[test]
        fn newer_comes_first(one in 0..=Rev::MAX.0, other in 0..=Rev::MAX.0) {
            prop_assert_eq!(place(Rev(one)).cmp(&place(Rev(other))), other.cmp(&one));
            prop_assert_eq!(rev_at(place(Rev(one))), Rev(one));
        }
    }

    #[test]
    fn the_encoding_is_what_is_stored() {
        let bytes = |text: &str| IdKey::new(&Id::parse(text).unwrap()).as_bytes().to_vec();
        assert_eq!(bytes("0"), [0x01]);
        assert_eq!(bytes("1"), [0x02, 1]);
        assert_eq!(bytes("256"), [0x03, 1, 0]);
        assert_eq!(
            bytes("18446744073709551615"),
            [0x09, 255, 255, 255, 255, 255, 255, 255, 255]
        );
        assert_eq!(bytes("01"), [0xFE, b'0', b'1']);
        for bad in [
            &[][..],
            &[0x00],
            &[0x02, 0],
            &[0x03, 0, 1],
            &[0x02],
            &[0xFE],
            &[0xFE, b'7'],
        ] {
            assert!(IdKey::from_column(bad).id().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_hash_of_a_user_never_changes() {
        let hash = |text: &str| IdKey::new(&Id::parse(text).unwrap()).user_hash();
        assert_eq!(hash("1"), 0x356a_192b);
        assert_eq!(hash("18446744073709551615"), 0x2345_24f4);
        assert_eq!(hash("anna"), 0x2bc1_ecb4);
    }

    #[test]
    fn hashes_of_consecutive_users_spread_over_the_buckets() {
        let mut buckets = [0u32; 64];
        for user in 0..64_000 {
            buckets[(IdKey::new(&Id::Number(user)).user_hash() >> 26) as usize] += 1;
        }
        assert!(
            buckets.iter().all(|n| (700..1300).contains(n)),
            "{buckets:?}"
        );
    }
}
