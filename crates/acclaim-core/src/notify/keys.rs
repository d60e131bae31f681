//! What lies where: every key of notifications, in one place.
//!
//! | key | value |
//! |---|---|
//! | `p` | the place in the journal up to which it is folded |
//! | `e` | a number that changes whenever owners or endpoints change what folding depends on |
//! | `o` target | [`Ownership`](super::ownership::Ownership) |
//! | `O` owner, target | – (the targets of an owner) |
//! | `g` owner, kind, target | [`Group`](super::group::Group) |
//! | `i` owner, place newest first | kind and target (the groups of an owner by time) |
//! | `r` owner | up to where the owner has read |
//! | `h` owner | [`Inbox`](super::fold::Inbox) |
//! | `X` place, what | – (erasures that the fold has not passed yet) |
//! | `w` name | [`Endpoint`](super::endpoint::Endpoint) |
//! | `s` name | [`Standing`](super::endpoint::Standing) |
//! | `q` name, number | [`Delivery`](super::delivery::Delivery) that waits |
//! | `d` number | [`DeadDelivery`](super::delivery::DeadDelivery) |
//!
//! Ids, kinds and names hold no zero byte, so one ends each of them and none is the beginning of
//! another.

use compact_str::CompactString;

use super::Key;
use crate::id::Id;
use crate::port::Place;
use crate::rev::Rev;
use crate::target::{Target, TargetType};

/// What keys begin with.
pub mod tag {
    /// The position.
    pub const POSITION: u8 = b'p';
    /// The epoch.
    pub const EPOCH: u8 = b'e';
    /// Whose a target is.
    pub const OWNERSHIP: u8 = b'o';
    /// The targets of an owner.
    pub const OWNED: u8 = b'O';
    /// A group.
    pub const GROUP: u8 = b'g';
    /// Groups by time.
    pub const INDEX: u8 = b'i';
    /// The read mark.
    pub const READ: u8 = b'r';
    /// An owner's numbers.
    pub const INBOX: u8 = b'h';
    /// An erasure.
    pub const ERASED: u8 = b'X';
    /// An endpoint.
    pub const ENDPOINT: u8 = b'w';
    /// How an endpoint stands.
    pub const STANDING: u8 = b's';
    /// A delivery.
    pub const QUEUE: u8 = b'q';
    /// A dead letter.
    pub const DEAD: u8 = b'd';
}

/// Which group: whose, of which kind, about which target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    /// Whom it is for.
    pub owner: Id,
    /// The name of the kind.
    pub kind: CompactString,
    /// The target.
    pub target: Target,
}

fn key(tag: u8, parts: &[&dyn std::fmt::Display]) -> Key {
    let mut key = vec![tag];
    for part in parts {
        key.extend_from_slice(part.to_string().as_bytes());
        key.push(0);
    }
    key
}

/// All keys of a tag.
#[must_use]
pub fn all(tag: u8) -> Key {
    vec![tag]
}

/// The position's key.
#[must_use]
pub fn position() -> Key {
    vec![tag::POSITION]
}

/// The epoch's key.
#[must_use]
pub fn epoch() -> Key {
    vec![tag::EPOCH]
}

/// Where it lies whose a target is.
#[must_use]
pub fn ownership(target: &Target) -> Key {
    key(tag::OWNERSHIP, &[target])
}

/// What all keys of a tag that are about this owner or endpoint begin with.
#[must_use]
pub fn of(tag: u8, whose: &dyn std::fmt::Display) -> Key {
    key(tag, &[whose])
}

/// The entry of a target among those of its owner.
#[must_use]
pub fn owned(owner: &Id, target: &Target) -> Key {
    key(tag::OWNED, &[owner, target])
}

/// The target of an [`owned`] key.
#[must_use]
pub fn target_of_owned(key: &[u8]) -> Option<Target> {
    let mut parts = key.get(1..)?.split(|byte| *byte == 0);
    target(std::str::from_utf8(parts.nth(1)?).ok()?)
}

/// A group's key.
#[must_use]
pub fn group(group: &GroupKey) -> Key {
    key(tag::GROUP, &[&group.owner, &group.kind, &group.target])
}

/// The group of a [`group`] key.
#[must_use]
pub fn group_of(key: &[u8]) -> Option<GroupKey> {
    let text = std::str::from_utf8(key.get(1..)?).ok()?;
    let mut parts = text.split('\0');
    Some(GroupKey {
        owner: Id::parse(parts.next()?).ok()?,
        kind: parts.next()?.into(),
        target: target(parts.next()?)?,
    })
}

/// A target as it is shown.
#[must_use]
pub fn target(text: &str) -> Option<Target> {
    let (target_type, id) = text.split_once(':')?;
    Some(Target {
        target_type: TargetType::parse(target_type).ok()?,
        id: Id::parse(id).ok()?,
    })
}

/// Where a group stands among those of its owner, newest first.
#[must_use]
pub fn index(owner: &Id, place: Place) -> Key {
    let mut key = of(tag::INDEX, owner);
    key.extend_from_slice(&(!place.seq.0).to_be_bytes());
    key.extend_from_slice(&(!place.partition).to_be_bytes());
    key
}

/// The place in an [`index`] key.
#[must_use]
pub fn place_of_index(key: &[u8]) -> Option<Place> {
    let (rest, partition) = key.split_last_chunk::<2>()?;
    let (_, seq) = rest.split_last_chunk::<8>()?;
    Some(Place {
        seq: Rev(!u64::from_be_bytes(*seq)),
        partition: !u16::from_be_bytes(*partition),
    })
}

/// The value of an [`index`] key.
#[must_use]
pub fn index_value(group: &GroupKey) -> Vec<u8> {
    format!("{}\0{}", group.kind, group.target).into_bytes()
}

/// The group that an index record names.
#[must_use]
pub fn group_of_index(owner: &Id, value: &[u8]) -> Option<GroupKey> {
    let (kind, about) = std::str::from_utf8(value).ok()?.split_once('\0')?;
    Some(GroupKey {
        owner: owner.clone(),
        kind: kind.into(),
        target: target(about)?,
    })
}

/// A key of a delivery: the deliveries of an endpoint lie in the order of their numbers.
#[must_use]
pub fn queue(endpoint: &str, number: Place) -> Key {
    let mut key = of(tag::QUEUE, &endpoint);
    key.extend_from_slice(&number.seq.0.to_be_bytes());
    key.extend_from_slice(&number.partition.to_be_bytes());
    key
}

/// The endpoint of a [`queue`] key.
#[must_use]
pub fn endpoint_of_queue(key: &[u8]) -> Option<&str> {
    let end = key.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(key.get(1..end)?).ok()
}

/// An endpoint's name out of its key.
#[must_use]
pub fn endpoint_name(key: &[u8]) -> Option<&str> {
    endpoint_of_queue(key)
}

/// A dead letter's key.
#[must_use]
pub fn dead(number: u64) -> Key {
    let mut key = all(tag::DEAD);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The number in a [`dead`] key.
#[must_use]
pub fn dead_number(key: &[u8]) -> Option<u64> {
    key.get(1..)?.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_read_back_and_sort_by_time(
            owner in "[A-Za-z0-9._:-]{1,64}", target_id in "[A-Za-z0-9._:-]{1,64}",
            seqs in prop::collection::vec((0u64..1 << 53, any::<u16>()), 2..8),
        ) {
            let group_key = GroupKey {
                owner: Id::parse(&owner).unwrap(),
                kind: "likes".into(),
                target: Target {
                    target_type: TargetType::parse("POST").unwrap(),
                    id: Id::parse(&target_id).unwrap(),
                },
            };
            let owner = &group_key.owner;
            prop_assert_eq!(group_of(&group(&group_key)), Some(group_key.clone()));
            prop_assert_eq!(
                group_of_index(owner, &index_value(&group_key)),
                Some(group_key.clone())
            );
            prop_assert_eq!(
                target_of_owned(&owned(owner, &group_key.target)),
                Some(group_key.target.clone())
            );
            let mut places: Vec<Place> = seqs
                .into_iter()
                .map(|(seq, partition)| Place { seq: Rev(seq), partition })
                .collect();
            places.sort_unstable_by(|a, b| b.cmp(a));
            let keys: Vec<Key> = places.iter().map(|place| index(owner, *place)).collect();
            prop_assert!(keys.is_sorted());
            for (key, place) in keys.iter().zip(&places) {
                prop_assert_eq!(place_of_index(key), Some(*place));
            }
        }
    }

    #[test]
    fn no_owner_is_the_beginning_of_another() {
        let short = of(tag::GROUP, &Id::Number(1));
        let long = group(&GroupKey {
            owner: Id::Number(12),
            kind: "likes".into(),
            target: Target::user(Id::Number(12)),
        });
        assert!(!long.starts_with(&short));
    }
}
