//! Entries: what a commit did, in order.
//!
//! A transition carries the state before and after it and the count after it, so that a replay
//! needs no look-ups to apply it and can tell when it does not fit what is stored.

use std::net::IpAddr;

use acclaim_core::{EdgeState, Origin, Rev};
use compact_str::CompactString;

use super::super::codec::{Damaged, Reader, put_id, put_varint, unzigzag, zigzag};
use super::super::key::{EdgeRef, TargetRef, TypeNo, UserRef};

/// A transition in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeEntry {
    /// The edge.
    pub edge: EdgeRef,
    /// Its state before.
    pub before: EdgeState,
    /// Its state after.
    pub after: EdgeState,
    /// Its place in the journal.
    pub seq: Rev,
    /// The target's count after it.
    pub count: u64,
    /// Where it came from.
    pub origin: Option<Box<Origin>>,
}

/// One thing that a commit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A transition.
    Change(ChangeEntry),
    /// A note was written, or removed.
    Note(Vec<u8>, Option<Vec<u8>>),
    /// An inactive edge was removed as if it had never been (erasure).
    ForgetEdge(EdgeRef),
    /// A target's record was removed (erasure); its count was zero.
    ForgetTarget(TargetRef),
    /// A user's record was removed (erasure); they had no edges.
    ForgetUser(UserRef),
    /// A target's count was corrected by so much (repair).
    AdjustTarget(TargetRef, i64),
    /// A user's numbers were corrected (repair).
    AdjustUser(UserRef, UserAdjustment),
}

/// By how much a user's numbers were wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserAdjustment {
    /// Which type `given` is of.
    pub target_type: TypeNo,
    /// Active edges of the type.
    pub given: i64,
    /// Edges there ever were.
    pub edges: i64,
    /// Mutual edges.
    pub mutual: i64,
}

const CHANGE: u8 = 1;
const NOTE: u8 = 2;
const NO_NOTE: u8 = 3;
const FORGET_EDGE: u8 = 4;
const FORGET_TARGET: u8 = 5;
const FORGET_USER: u8 = 6;
const ADJUST_TARGET: u8 = 7;
const ADJUST_USER: u8 = 8;

const ACTIVE: u8 = 1;
const WAS_ACTIVE: u8 = 1 << 1;
const EXISTED: u8 = 1 << 2;
const IMPORTED: u8 = 1 << 3;
const HAS_ORIGIN: u8 = 1 << 4;

impl Entry {
    /// Appends it. `last_seq` is the journal place before it, from which places are counted.
    pub fn encode(&self, out: &mut Vec<u8>, last_seq: &mut Rev) {
        match self {
            Self::Change(change) => change.encode(out, last_seq),
            Self::Note(key, value) => {
                out.push(if value.is_some() { NOTE } else { NO_NOTE });
                put_bytes(out, key);
                if let Some(value) = value {
                    put_bytes(out, value);
                }
            }
            Self::ForgetEdge(edge) => {
                out.push(FORGET_EDGE);
                put_edge(out, edge);
            }
            Self::ForgetTarget(target) => {
                out.push(FORGET_TARGET);
                put_target(out, target);
            }
            Self::ForgetUser(user) => {
                out.push(FORGET_USER);
                put_user(out, user);
            }
            Self::AdjustTarget(target, by) => {
                out.push(ADJUST_TARGET);
                put_target(out, target);
                put_varint(out, zigzag(*by));
            }
            Self::AdjustUser(user, by) => {
                out.push(ADJUST_USER);
                put_user(out, user);
                put_varint(out, u64::from(by.target_type));
                for number in [by.given, by.edges, by.mutual] {
                    put_varint(out, zigzag(number));
                }
            }
        }
    }

    /// Reads the next entry of a payload.
    pub fn decode(reader: &mut Reader<'_>, last_seq: &mut Rev) -> Result<Self, Damaged> {
        Ok(match reader.byte()? {
            CHANGE => Self::Change(ChangeEntry::decode(reader, last_seq)?),
            NOTE => {
                let key = bytes(reader)?;
                Self::Note(key, Some(bytes(reader)?))
            }
            NO_NOTE => Self::Note(bytes(reader)?, None),
            FORGET_EDGE => Self::ForgetEdge(edge(reader)?),
            FORGET_TARGET => Self::ForgetTarget(target(reader)?),
            FORGET_USER => Self::ForgetUser(user(reader)?),
            ADJUST_TARGET => Self::AdjustTarget(target(reader)?, unzigzag(reader.varint()?)),
            ADJUST_USER => {
                let user = user(reader)?;
                let target_type = reader.small()?;
                let mut number = || reader.varint().map(unzigzag);
                let (given, edges, mutual) = (number()?, number()?, number()?);
                Self::AdjustUser(
                    user,
                    UserAdjustment {
                        target_type,
                        given,
                        edges,
                        mutual,
                    },
                )
            }
            _ => return Err(Damaged("an entry has an unknown form")),
        })
    }
}

impl ChangeEntry {
    fn encode(&self, out: &mut Vec<u8>, last_seq: &mut Rev) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(CHANGE);
        out.push(
            flag(self.after.active, ACTIVE)
                | flag(self.before.active, WAS_ACTIVE)
                | flag(self.before.rev > Rev::ZERO, EXISTED)
                | flag(self.after.rev != self.seq, IMPORTED)
                | flag(self.origin.is_some(), HAS_ORIGIN),
        );
        put_edge(out, &self.edge);
        put_varint(out, self.seq.0 - last_seq.0);
        *last_seq = self.seq;
        put_varint(out, self.count);
        if self.before.rev > Rev::ZERO {
            put_varint(out, zigzag(self.seq.0 as i64 - self.before.rev.0 as i64));
        }
        if self.after.rev != self.seq {
            put_varint(out, self.after.rev.0);
        }
        if let Some(origin) = &self.origin {
            put_origin(out, origin);
        }
    }

    fn decode(reader: &mut Reader<'_>, last_seq: &mut Rev) -> Result<Self, Damaged> {
        let flags = reader.byte()?;
        let has = |bit: u8| flags & bit != 0;
        let edge = edge(reader)?;
        let seq = last_seq
            .0
            .checked_add(reader.varint()?)
            .ok_or(Damaged("a place is too far"))?;
        *last_seq = Rev(seq);
        let count = reader.varint()?;
        let before_rev = if has(EXISTED) {
            let apart = unzigzag(reader.varint()?);
            (seq as i64)
                .checked_sub(apart)
                .and_then(|rev| u64::try_from(rev).ok())
        } else {
            Some(0)
        };
        let before_rev = Rev(before_rev.ok_or(Damaged("a rev is too far"))?);
        let after_rev = if has(IMPORTED) {
            Rev(reader.varint()?)
        } else {
            Rev(seq)
        };
        let origin = if has(HAS_ORIGIN) {
            Some(Box::new(origin(reader)?))
        } else {
            None
        };
        Ok(Self {
            edge,
            before: EdgeState {
                active: has(WAS_ACTIVE),
                rev: before_rev,
            },
            after: EdgeState {
                active: has(ACTIVE),
                rev: after_rev,
            },
            seq: Rev(seq),
            count,
            origin,
        })
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn bytes(reader: &mut Reader<'_>) -> Result<Vec<u8>, Damaged> {
    let count = reader.small()?;
    Ok(reader.bytes(count)?.to_vec())
}

fn put_edge(out: &mut Vec<u8>, edge: &EdgeRef) {
    out.push(edge.kind);
    put_varint(out, u64::from(edge.target_type));
    put_id(out, &edge.user);
    put_id(out, &edge.target);
}

fn edge(reader: &mut Reader<'_>) -> Result<EdgeRef, Damaged> {
    let (kind, target_type) = (reader.byte()?, reader.small()?);
    Ok(EdgeRef {
        kind,
        target_type,
        user: reader.id()?,
        target: reader.id()?,
    })
}

fn put_target(out: &mut Vec<u8>, target: &TargetRef) {
    out.push(target.kind);
    put_varint(out, u64::from(target.target_type));
    put_id(out, &target.id);
}

fn target(reader: &mut Reader<'_>) -> Result<TargetRef, Damaged> {
    Ok(TargetRef {
        kind: reader.byte()?,
        target_type: reader.small()?,
        id: reader.id()?,
    })
}

fn put_user(out: &mut Vec<u8>, user: &UserRef) {
    out.push(user.kind);
    put_id(out, &user.id);
}

fn user(reader: &mut Reader<'_>) -> Result<UserRef, Damaged> {
    Ok(UserRef {
        kind: reader.byte()?,
        id: reader.id()?,
    })
}

fn put_origin(out: &mut Vec<u8>, origin: &Origin) {
    put_bytes(
        out,
        origin.device_type.as_deref().unwrap_or_default().as_bytes(),
    );
    match origin.ip_address {
        None => out.push(0),
        Some(IpAddr::V4(address)) => {
            out.push(4);
            out.extend_from_slice(&address.octets());
        }
        Some(IpAddr::V6(address)) => {
            out.push(16);
            out.extend_from_slice(&address.octets());
        }
    }
}

fn origin(reader: &mut Reader<'_>) -> Result<Origin, Damaged> {
    let count = reader.small()?;
    let device = CompactString::from_utf8(reader.bytes(count)?);
    let device = device.map_err(|_| Damaged("a text is not UTF-8"))?;
    let address_bytes = reader.byte()?;
    let address = reader.bytes(usize::from(address_bytes))?;
    let ip_address = match address_bytes {
        0 => None,
        4 => <[u8; 4]>::try_from(address).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(address).ok().map(IpAddr::from),
        _ => return Err(Damaged("an address has an unknown form")),
    };
    Ok(Origin {
        device_type: (!device.is_empty()).then_some(device),
        ip_address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use acclaim_core::Id;
    use proptest::prelude::*;

    fn id() -> impl Strategy<Value = Id> {
        prop_oneof![
            any::<u64>().prop_map(Id::Number),
            "[A-Za-z._:-][A-Za-z0-9._:-]{0,63}".prop_map(|text| Id::parse(&text).unwrap()),
        ]
    }

    fn edge_ref() -> impl Strategy<Value = EdgeRef> {
        (any::<u8>(), id(), 0u16..4096, id()).prop_map(|(kind, user, target_type, target)| {
            EdgeRef {
                kind,
                user,
                target_type,
                target,
            }
        })
    }

    fn origin() -> impl Strategy<Value = Origin> {
        let device = prop::option::of("[a-z ]{1,64}".prop_map(CompactString::from));
        (device, prop::option::of(any::<IpAddr>())).prop_map(|(device_type, ip_address)| Origin {
            device_type,
            ip_address,
        })
    }

    fn change() -> impl Strategy<Value = Entry> {
        let state = (any::<bool>(), 0u64..1 << 53);
        (
            edge_ref(),
            state.clone(),
            state,
            any::<u64>(),
            prop::option::of(origin()),
            any::<bool>(),
        )
            .prop_map(|(edge, before, after, count, origin, imported)| {
                let seq = Rev(after.1 | 1 << 53);
                let rev = if imported { Rev(after.1) } else { seq };
                let before_active = before.0 && before.1 > 0;
                Entry::Change(ChangeEntry {
                    edge,
                    before: EdgeState {
                        active: before_active,
                        rev: Rev(before.1),
                    },
                    after: EdgeState {
                        active: after.0,
                        rev,
                    },
                    seq,
                    count,
                    origin: origin.map(Box::new),
                })
            })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40);
        let adjustment = (0u16..4096, any::<i64>(), any::<i64>(), any::<i64>()).prop_map(
            |(target_type, given, edges, mutual)| UserAdjustment {
                target_type,
                given,
                edges,
                mutual,
            },
        );
        prop_oneof![
            4 => change(),
            1 => (bytes(), prop::option::of(bytes())).prop_map(|(k, v)| Entry::Note(k, v)),
            1 => edge_ref().prop_map(Entry::ForgetEdge),
            1 => edge_ref().prop_map(|e| Entry::ForgetTarget(e.target_ref())),
            1 => edge_ref().prop_map(|e| Entry::ForgetUser(e.user_ref())),
            1 => (edge_ref(), any::<i64>()).prop_map(|(e, by)| Entry::AdjustTarget(e.target_ref(), by)),
            1 => (edge_ref(), adjustment).prop_map(|(e, by)| Entry::AdjustUser(e.user_ref(), by)),
        ]
    }

    proptest! {
        #[test]
        fn entries_read_back(mut entries in prop::collection::vec(entry(), 0..20)) {
            // Places rise within a payload.
            let mut seq = 1u64 << 53;
            for entry in &mut entries {
                if let Entry::Change(change) = entry {
                    seq += 1 + change.count % 1_000;
                    if change.after.rev == change.seq { change.after.rev = Rev(seq); }
                    change.seq = Rev(seq);
                }
            }
            let mut out = Vec::new();
            let mut last = Rev(5);
            for entry in &entries { entry.encode(&mut out, &mut last); }
            let mut reader = Reader(&out);
            let mut last = Rev(5);
            for entry in entries {
                prop_assert_eq!(Entry::decode(&mut reader, &mut last), Ok(entry));
            }
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn nonsense_is_an_error_not_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut reader = Reader(&bytes);
            let mut last = Rev(u64::MAX / 2);
            while !reader.is_empty() && Entry::decode(&mut reader, &mut last).is_ok() {}
        }
    }
}
