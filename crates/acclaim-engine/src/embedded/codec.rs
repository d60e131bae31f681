//! Bytes: variable-length integers for values, and order-keeping encodings for keys.
//!
//! Keys compare as bytes the way their parts compare: numbers before texts, numbers by size, texts
//! by their bytes, types by number, revs newest first. Every encoding is prefix-free, so a key that
//! ends after a part is a prefix of exactly the keys that share that part.

use acclaim_core::{Id, Rev};
use compact_str::CompactString;

/// A stored record that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored record is damaged: {0}")]
pub struct Damaged(pub &'static str);

/// The first byte of a text id; numbers begin with their length, 1 to 8.
const TEXT: u8 = 0x10;
const TEXT_END: u8 = 0;
/// Types below this take one byte.
const ONE_BYTE_TYPES: u16 = 0xF0;

/// Appends an integer, seven bits a byte, lowest first.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small negative numbers as small integers.
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Appends an id so that it sorts as [`Id`] does.
pub fn put_id(out: &mut Vec<u8>, id: &Id) {
    match id {
        Id::Number(number) => {
            let bytes = number.to_be_bytes();
            let zeros = (number.leading_zeros() as usize / 8).min(7);
            out.push((8 - zeros) as u8);
            out.extend_from_slice(&bytes[zeros..]);
        }
        Id::Text(text) => {
            out.push(TEXT);
            out.extend_from_slice(text.as_bytes());
            out.push(TEXT_END);
        }
    }
}

/// Appends a type's number.
pub fn put_type(out: &mut Vec<u8>, number: u16) {
    if number < ONE_BYTE_TYPES {
        out.push(number as u8);
    } else {
        let rest = number - ONE_BYTE_TYPES;
        out.push(ONE_BYTE_TYPES as u8 + (rest >> 8) as u8);
        out.push(rest as u8);
    }
}

/// Appends a rev so that newer ones sort first. Seven bytes hold 2^56.
pub fn put_newest_first(out: &mut Vec<u8>, rev: Rev) {
    out.extend_from_slice(&(!rev.0).to_be_bytes()[1..]);
}

/// Appends a rev in seven bytes. They hold 2^56.
pub fn put_rev(out: &mut Vec<u8>, rev: Rev) {
    out.extend_from_slice(&rev.0.to_be_bytes()[1..]);
}

/// Reads what the functions above wrote.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, Damaged> {
        let (&first, rest) = self.0.split_first().ok_or(Damaged("it ends too early"))?;
        self.0 = rest;
        Ok(first)
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        if count > self.0.len() {
            return Err(Damaged("it ends too early"));
        }
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        Ok(head)
    }

    /// An integer of [`put_varint`].
    pub fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged("an integer has no end"))
    }

    /// An integer of [`put_varint`] that must fit.
    pub fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Damaged> {
        T::try_from(self.varint()?).map_err(|_| Damaged("an integer is too large"))
    }

    /// An id of [`put_id`].
    pub fn id(&mut self) -> Result<Id, Damaged> {
        match self.byte()? {
            length @ 1..=8 => {
                let bytes = self.bytes(usize::from(length))?;
                Ok(Id::Number(
                    bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)),
                ))
            }
            TEXT => {
                let end = self.0.iter().position(|byte| *byte == TEXT_END);
                let text = self.bytes(end.ok_or(Damaged("a text has no end"))?)?;
                self.byte()?;
                let text = CompactString::from_utf8(text);
                Ok(Id::Text(text.map_err(|_| Damaged("a text is not UTF-8"))?))
            }
            _ => Err(Damaged("an id has an unknown form")),
        }
    }

    /// An id of [`put_id`], passed over: its bytes.
    pub fn id_bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let all = self.0;
        match self.byte()? {
            length @ 1..=8 => {
                self.bytes(usize::from(length))?;
            }
            TEXT => {
                let end = self.0.iter().position(|byte| *byte == TEXT_END);
                self.bytes(end.ok_or(Damaged("a text has no end"))? + 1)?;
            }
            _ => return Err(Damaged("an id has an unknown form")),
        }
        Ok(&all[..all.len() - self.0.len()])
    }

    /// A rev of [`put_rev`].
    pub fn rev(&mut self) -> Result<Rev, Damaged> {
        let bytes = self.bytes(7)?;
        Ok(Rev(bytes
            .iter()
            .fold(0, |n: u64, byte| n << 8 | u64::from(*byte))))
    }

    /// A type of [`put_type`].
    pub fn type_number(&mut self) -> Result<u16, Damaged> {
        let first = u16::from(self.byte()?);
        if first < ONE_BYTE_TYPES {
            return Ok(first);
        }
        Ok(ONE_BYTE_TYPES + ((first - ONE_BYTE_TYPES) << 8) + u16::from(self.byte()?))
    }

    /// A rev of [`put_newest_first`].
    pub fn newest_first(&mut self) -> Result<Rev, Damaged> {
        let bytes = self.bytes(7)?;
        let inverted = bytes
            .iter()
            .fold(0xff, |n: u64, byte| n << 8 | u64::from(*byte));
        Ok(Rev(!inverted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> impl Strategy<Value = Id> {
        prop_oneof![
            any::<u64>().prop_map(Id::Number),
            (0u64..70_000).prop_map(Id::Number),
            "[A-Za-z._:-][A-Za-z0-9._:-]{0,63}".prop_map(|text| Id::parse(&text).unwrap()),
        ]
    }

    fn encoded(id: &Id) -> Vec<u8> {
        let mut out = Vec::new();
        put_id(&mut out, id);
        out
    }

    proptest! {
        #[test]
        fn ids_sort_as_their_bytes(a in id(), b in id()) {
            prop_assert_eq!(a.cmp(&b), encoded(&a).cmp(&encoded(&b)));
            prop_assert!(a == b || !encoded(&b).starts_with(&encoded(&a)), "prefix-free");
        }

        #[test]
        fn ids_read_back(id in id()) {
            let bytes = encoded(&id);
            let mut reader = Reader(&bytes);
            prop_assert_eq!(reader.id(), Ok(id));
            prop_assert!(reader.is_empty());
            let more = [&bytes[..], &[1, 2]].concat();
            prop_assert_eq!(Reader(&more).id_bytes(), Ok(&bytes[..]));
        }

        #[test]
        fn integers_read_back(value: u64, signed: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(Reader(&out).varint(), Ok(value));
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }

        #[test]
        fn types_and_revs_sort_and_read_back(a in 0u16..4096, b in 0u16..4096, x in 0u64..1 << 53, y in 0u64..1 << 53) {
            let kind = |n| { let mut out = Vec::new(); put_type(&mut out, n); out };
            prop_assert_eq!(a.cmp(&b), kind(a).cmp(&kind(b)));
            prop_assert_eq!(Reader(&kind(a)).type_number(), Ok(a));
            let rev = |n| { let mut out = Vec::new(); put_newest_first(&mut out, Rev(n)); out };
            prop_assert_eq!(y.cmp(&x), rev(x).cmp(&rev(y)));
            prop_assert_eq!(Reader(&rev(x)).newest_first(), Ok(Rev(x)));
            let mut plain = Vec::new();
            put_rev(&mut plain, Rev(x));
            prop_assert_eq!(Reader(&plain).rev(), Ok(Rev(x)));
        }

        #[test]
        fn nonsense_is_an_error_not_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader(&bytes);
            while !reader.is_empty() {
                let _ = reader.clone().id_bytes();
                if reader.id().is_err() && reader.varint().is_err() { break; }
            }
        }
    }
}
