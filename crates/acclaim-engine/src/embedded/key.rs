//! The keys of the store: one place that says what lies where.
//!
//! | tag | key | value |
//! |---|---|---|
//! | edge | kind, user, type, target | rev and active: the truth; also what a user did, while little |
//! | target list | kind, type, target, rev newest first, user | – |
//! | user list | kind, user, type, rev newest first, target | – (only of users with many edges) |
//! | target | kind, type, target | count, last rev, pulse |
//! | user | kind, user | counts by type, mutual, days |
//! | daily | kind, type or all, day | set, unset, users |
//! | board | kind, type | the candidates of the rankings |
//! | note | a name | dictionary, jobs, audit, idempotency answers, the checkpoint's mark |

use acclaim_core::{Id, Rev};

use super::codec::{Damaged, Reader, put_id, put_newest_first, put_type};

/// A kind's stored number.
pub type KindNo = u8;
/// A target type's stored number.
pub type TypeNo = u16;

/// A key or the beginning of one. Long enough for numeric edges without the heap.
pub type Key = Vec<u8>;

/// The tags, in store order.
pub mod tag {
    /// [`super::EdgeRef`] → its state.
    pub const EDGE: u8 = 0x01;
    /// Who did it to a target, newest first.
    pub const TARGET_LIST: u8 = 0x02;
    /// What a user did, newest first.
    pub const USER_LIST: u8 = 0x03;
    /// [`super::TargetRef`] → its record.
    pub const TARGET: u8 = 0x04;
    /// [`super::UserRef`] → its record.
    pub const USER: u8 = 0x05;
    /// A day's numbers.
    pub const DAILY: u8 = 0x06;
    /// The candidates of a ranking.
    pub const BOARD: u8 = 0x07;
    /// Everything else; see [`crate::embedded::notes`].
    pub const NOTE: u8 = 0x08;
}

/// An edge, with stored numbers in place of names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeRef {
    /// The kind.
    pub kind: KindNo,
    /// Who acts.
    pub user: Id,
    /// The target's type.
    pub target_type: TypeNo,
    /// The target's id.
    pub target: Id,
}

/// A target under a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetRef {
    /// The kind.
    pub kind: KindNo,
    /// The target's type.
    pub target_type: TypeNo,
    /// The target's id.
    pub id: Id,
}

/// A user under a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserRef {
    /// The kind.
    pub kind: KindNo,
    /// The user.
    pub id: Id,
}

impl EdgeRef {
    /// Its target.
    pub fn target_ref(&self) -> TargetRef {
        TargetRef {
            kind: self.kind,
            target_type: self.target_type,
            id: self.target.clone(),
        }
    }

    /// Its user.
    pub fn user_ref(&self) -> UserRef {
        UserRef {
            kind: self.kind,
            id: self.user.clone(),
        }
    }

    /// Where its state lies.
    pub fn key(&self) -> Key {
        let mut key = Vec::with_capacity(32);
        put_edge_key(
            &mut key,
            self.kind,
            &self.user,
            self.target_type,
            &self.target,
        );
        key
    }

    /// Where it lies in its target's list, as of `rev`.
    pub fn target_list_key(&self, rev: Rev) -> Key {
        let mut key = self.target_ref().list_prefix();
        put_newest_first(&mut key, rev);
        put_id(&mut key, &self.user);
        key
    }

    /// Where it lies in its user's list, as of `rev`.
    pub fn user_list_key(&self, rev: Rev) -> Key {
        let mut key = self.user_ref().list_prefix(self.target_type);
        put_newest_first(&mut key, rev);
        put_id(&mut key, &self.target);
        key
    }

    /// Reads a key of [`EdgeRef::key`].
    pub fn from_key(key: &[u8]) -> Result<Self, Damaged> {
        let mut reader = after_tag(key, tag::EDGE)?;
        Ok(Self {
            kind: reader.byte()?,
            user: reader.id()?,
            target_type: reader.type_number()?,
            target: reader.id()?,
        })
    }

    /// Reads a key of [`EdgeRef::target_list_key`].
    pub fn from_target_list_key(key: &[u8]) -> Result<(Self, Rev), Damaged> {
        let mut reader = after_tag(key, tag::TARGET_LIST)?;
        let kind = reader.byte()?;
        let (target_type, target) = (reader.type_number()?, reader.id()?);
        let (rev, user) = (reader.newest_first()?, reader.id()?);
        Ok((
            Self {
                kind,
                user,
                target_type,
                target,
            },
            rev,
        ))
    }

    /// Reads a key of [`EdgeRef::user_list_key`].
    pub fn from_user_list_key(key: &[u8]) -> Result<(Self, Rev), Damaged> {
        let mut reader = after_tag(key, tag::USER_LIST)?;
        let (kind, user) = (reader.byte()?, reader.id()?);
        let target_type = reader.type_number()?;
        let (rev, target) = (reader.newest_first()?, reader.id()?);
        Ok((
            Self {
                kind,
                user,
                target_type,
                target,
            },
            rev,
        ))
    }
}

/// Appends where the state of an edge lies.
pub fn put_edge_key(key: &mut Key, kind: KindNo, user: &Id, target_type: TypeNo, target: &Id) {
    key.extend_from_slice(&[tag::EDGE, kind]);
    put_id(key, user);
    put_type(key, target_type);
    put_id(key, target);
}

/// An edge as the bytes of its parts: one of its keys can be made of another without reading ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeBytes<'a> {
    /// The kind.
    pub kind: KindNo,
    /// The user's id.
    pub user: &'a [u8],
    /// The target's type.
    pub target_type: TypeNo,
    /// The target's id.
    pub target: &'a [u8],
}

impl<'a> EdgeBytes<'a> {
    /// Takes a key of [`EdgeRef::key`] apart.
    pub fn of_key(key: &'a [u8]) -> Result<Self, Damaged> {
        let mut reader = after_tag(key, tag::EDGE)?;
        Ok(Self {
            kind: reader.byte()?,
            user: reader.id_bytes()?,
            target_type: reader.type_number()?,
            target: reader.id_bytes()?,
        })
    }

    /// Takes a key of [`EdgeRef::target_list_key`] apart.
    pub fn of_target_list_key(key: &'a [u8]) -> Result<(Self, Rev), Damaged> {
        let mut reader = after_tag(key, tag::TARGET_LIST)?;
        let kind = reader.byte()?;
        let (target_type, target) = (reader.type_number()?, reader.id_bytes()?);
        let (rev, user) = (reader.newest_first()?, reader.id_bytes()?);
        let edge = Self {
            kind,
            user,
            target_type,
            target,
        };
        Ok((edge, rev))
    }

    /// Appends [`EdgeRef::key`], of another kind if need be.
    pub fn put_key(&self, kind: KindNo, key: &mut Key) {
        key.extend_from_slice(&[tag::EDGE, kind]);
        key.extend_from_slice(self.user);
        put_type(key, self.target_type);
        key.extend_from_slice(self.target);
    }

    /// Appends [`EdgeRef::target_list_key`].
    pub fn put_target_list_key(&self, rev: Rev, key: &mut Key) {
        key.extend_from_slice(&[tag::TARGET_LIST, self.kind]);
        put_type(key, self.target_type);
        key.extend_from_slice(self.target);
        put_newest_first(key, rev);
        key.extend_from_slice(self.user);
    }

    /// Appends [`EdgeRef::user_list_key`].
    pub fn put_user_list_key(&self, rev: Rev, key: &mut Key) {
        key.extend_from_slice(&[tag::USER_LIST, self.kind]);
        key.extend_from_slice(self.user);
        put_type(key, self.target_type);
        put_newest_first(key, rev);
        key.extend_from_slice(self.target);
    }

    /// Appends [`TargetRef::key`].
    pub fn put_target_key(&self, key: &mut Key) {
        key.extend_from_slice(&[tag::TARGET, self.kind]);
        put_type(key, self.target_type);
        key.extend_from_slice(self.target);
    }

    /// Appends [`UserRef::key`].
    pub fn put_user_key(&self, key: &mut Key) {
        key.extend_from_slice(&[tag::USER, self.kind]);
        key.extend_from_slice(self.user);
    }

    /// The edge back, between two users.
    pub fn back(&self) -> Self {
        Self {
            user: self.target,
            target: self.user,
            ..*self
        }
    }
}

impl TargetRef {
    /// Where its record lies.
    pub fn key(&self) -> Key {
        self.with_tag(tag::TARGET)
    }

    /// What all entries of its list begin with.
    pub fn list_prefix(&self) -> Key {
        self.with_tag(tag::TARGET_LIST)
    }

    fn with_tag(&self, tag: u8) -> Key {
        let mut key = Vec::with_capacity(32);
        key.extend_from_slice(&[tag, self.kind]);
        put_type(&mut key, self.target_type);
        put_id(&mut key, &self.id);
        key
    }

    /// Reads a key of [`TargetRef::key`].
    pub fn from_key(key: &[u8]) -> Result<Self, Damaged> {
        let mut reader = after_tag(key, tag::TARGET)?;
        let kind = reader.byte()?;
        Ok(Self {
            kind,
            target_type: reader.type_number()?,
            id: reader.id()?,
        })
    }

    /// What the records of all targets of a kind and type begin with.
    pub fn records_prefix(kind: KindNo, target_type: TypeNo) -> Key {
        let mut key = vec![tag::TARGET, kind];
        put_type(&mut key, target_type);
        key
    }
}

impl UserRef {
    /// Where its record lies.
    pub fn key(&self) -> Key {
        self.with_tag(tag::USER)
    }

    /// What all edges of the user begin with.
    pub fn edges_prefix(&self) -> Key {
        self.with_tag(tag::EDGE)
    }

    /// What all entries of the user's list of one type begin with.
    pub fn list_prefix(&self, target_type: TypeNo) -> Key {
        let mut key = self.with_tag(tag::USER_LIST);
        put_type(&mut key, target_type);
        key
    }

    fn with_tag(&self, tag: u8) -> Key {
        let mut key = Vec::with_capacity(32);
        key.extend_from_slice(&[tag, self.kind]);
        put_id(&mut key, &self.id);
        key
    }

    /// Reads a key of [`UserRef::key`].
    pub fn from_key(key: &[u8]) -> Result<Self, Damaged> {
        let mut reader = after_tag(key, tag::USER)?;
        Ok(Self {
            kind: reader.byte()?,
            id: reader.id()?,
        })
    }
}

/// A day's numbers: of one type, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DailyRef {
    /// The kind.
    pub kind: KindNo,
    /// One type, or all.
    pub target_type: Option<TypeNo>,
    /// The UTC day since the epoch.
    pub day: u32,
}

impl DailyRef {
    /// Where they lie.
    pub fn key(&self) -> Key {
        let mut key = vec![tag::DAILY, self.kind, u8::from(self.target_type.is_some())];
        put_type(&mut key, self.target_type.unwrap_or_default());
        key.extend_from_slice(&self.day.to_be_bytes());
        key
    }

    /// Reads a key of [`DailyRef::key`].
    pub fn from_key(key: &[u8]) -> Result<Self, Damaged> {
        let mut reader = after_tag(key, tag::DAILY)?;
        let (kind, of_one_type) = (reader.byte()?, reader.byte()? == 1);
        let target_type = reader.type_number()?;
        let day = reader
            .bytes(4)?
            .iter()
            .fold(0, |n, byte| n << 8 | u32::from(*byte));
        Ok(Self {
            kind,
            target_type: of_one_type.then_some(target_type),
            day,
        })
    }
}

/// Where the candidates of a kind and type lie.
pub fn board_key(kind: KindNo, target_type: TypeNo) -> Key {
    let mut key = vec![tag::BOARD, kind];
    put_type(&mut key, target_type);
    key
}

/// Reads a key of [`board_key`].
pub fn board_from_key(key: &[u8]) -> Result<(KindNo, TypeNo), Damaged> {
    let mut reader = after_tag(key, tag::BOARD)?;
    Ok((reader.byte()?, reader.type_number()?))
}

fn after_tag(key: &[u8], tag: u8) -> Result<Reader<'_>, Damaged> {
    match key.split_first() {
        Some((first, rest)) if *first == tag => Ok(Reader(rest)),
        _ => Err(Damaged("a key has another tag than its place")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> impl Strategy<Value = Id> {
        prop_oneof![
            any::<u64>().prop_map(Id::Number),
            "[A-Za-z._:-][A-Za-z0-9._:-]{0,63}".prop_map(|text| Id::parse(&text).unwrap()),
        ]
    }

    proptest! {
        #[test]
        fn keys_read_back(kind: u8, user in id(), target_type in 0u16..4096, target in id(), rev in 0u64..1 << 53, day: u32, all: bool) {
            let edge = EdgeRef { kind, user, target_type, target };
            let rev = Rev(rev);
            prop_assert_eq!(EdgeRef::from_key(&edge.key()), Ok(edge.clone()));
            prop_assert_eq!(EdgeRef::from_target_list_key(&edge.target_list_key(rev)), Ok((edge.clone(), rev)));
            prop_assert_eq!(EdgeRef::from_user_list_key(&edge.user_list_key(rev)), Ok((edge.clone(), rev)));
            prop_assert_eq!(TargetRef::from_key(&edge.target_ref().key()), Ok(edge.target_ref()));
            prop_assert_eq!(UserRef::from_key(&edge.user_ref().key()), Ok(edge.user_ref()));
            prop_assert_eq!(board_from_key(&board_key(kind, target_type)), Ok((kind, target_type)));
            let daily = DailyRef { kind, target_type: (!all).then_some(target_type), day };
            prop_assert_eq!(DailyRef::from_key(&daily.key()), Ok(daily));
            prop_assert!(edge.key().starts_with(&edge.user_ref().edges_prefix()));
            let (key, list_key) = (edge.key(), edge.target_list_key(rev));
            let bytes = EdgeBytes::of_key(&key).unwrap();
            prop_assert_eq!(EdgeBytes::of_target_list_key(&list_key), Ok((bytes, rev)));
            let made = |put: &dyn Fn(&mut Key)| { let mut key = Key::new(); put(&mut key); key };
            prop_assert_eq!(made(&|key| bytes.put_key(kind, key)), edge.key());
            prop_assert_eq!(made(&|key| bytes.put_target_list_key(rev, key)), list_key);
            prop_assert_eq!(made(&|key| bytes.put_user_list_key(rev, key)), edge.user_list_key(rev));
            prop_assert_eq!(made(&|key| bytes.put_target_key(key)), edge.target_ref().key());
            prop_assert_eq!(made(&|key| bytes.put_user_key(key)), edge.user_ref().key());
        }
    }
}
