//! The names of everything in Redis: the one place that says what lies where.
//!
//! All keys of a partition begin with its hash tag, so that one script call touches one slot. Ids
//! appear as text: their grammar has neither braces nor `#`, and the text tells numbers from
//! strings already. Kinds and target types appear as the numbers that the ledger gave them.
//!
//! A partition that Redis came back with less of than the ledger has begins a new **life**
//! ([`super::seat`]): its number stands behind the braces, so everything before it is out of sight
//! and everything after it lies in the same slot.
//!
//! | after the tag | what |
//! |---|---|
//! | `:l` | the last place given in the journal |
//! | `:d` | the place up to which the ledger has everything |
//! | `:j` | the journal |
//! | `:h` | how many entries of the journal the ledger has, and up to which place entries were removed |
//! | `:p` | up to which place the journal was published to a bus, and in which turn of the seat |
//! | `:w` | a place that somebody waits for the ledger to have |
//! | `:t:<target>` | a target's record |
//! | `:b:<target>:<generation>.<level>.<prefix>` | one bucket of a large target |
//! | `:n:<target>` | the newest active entries of a large target |
//! | `:i:<day>:<2 hex>` | answers kept for repeated requests |
//! | `:e` | the next kept answers to be removed: day and shelf |
//! | `:y` | buckets that wait for their TTL |
//! | `:k:…` | the token of a load |
//! | `:u` | of each user with transitions that the ledger lacks, the place of the last one |
//! | `:o` | keys of earlier lives may be left |

use std::fmt;

use acclaim_core::Id;

/// A partition, in one epoch and one life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The epoch, from the ledger.
    pub epoch: u32,
    /// The life, from the ledger; 0 until Redis lost something that the ledger has.
    pub life: u32,
    /// Below the number of partitions.
    pub number: u16,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{p{}.{}}}", self.epoch, self.number)?;
        match self.life {
            0 => Ok(()),
            life => write!(f, "~{life}"),
        }
    }
}

/// A target under a kind, by the ledger's numbers: `<kind>:<type>:<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetName {
    /// The kind's number.
    pub kind: u16,
    /// The target type's number.
    pub target_type: u16,
    /// The target's id.
    pub id: Id,
}

impl TargetName {
    /// The number of the partition of this target, the same under all kinds, so that edges of
    /// kinds that exclude each other are decided together. Never changes for a stored cluster.
    #[must_use]
    pub fn partition(&self, partitions: u16) -> u16 {
        let mut hash = crc32fast::Hasher::new();
        hash.update(&self.target_type.to_be_bytes());
        hash.update(self.id.to_string().as_bytes());
        // A remainder by a u16 fits a u16.
        (hash.finalize() % u32::from(partitions.max(1))) as u16
    }

    /// Reads `<kind>:<type>:<id>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        Some(Self {
            kind: parts.next()?.parse().ok()?,
            target_type: parts.next()?.parse().ok()?,
            id: Id::parse(parts.next()?).ok()?,
        })
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind, self.target_type, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(kind: u16, target_type: u16, id: &str) -> TargetName {
        TargetName {
            kind,
            target_type,
            id: Id::parse(id).unwrap(),
        }
    }

    #[test]
    fn partitions_never_change() {
        let of = |target_type, id| name(0, target_type, id).partition(1_009);
        assert_eq!([of(0, "1"), of(1, "1"), of(3, "post-7")], [189, 484, 586]);
    }

    #[test]
    fn a_tag_is_one_slot() {
        let partition = Partition {
            epoch: 3,
            life: 0,
            number: 17,
        };
        assert_eq!(partition.to_string(), "{p3.17}");
        let later = Partition {
            life: 2,
            ..partition
        };
        assert_eq!(later.to_string(), "{p3.17}~2");
    }

    proptest! {
        #[test]
        fn names_read_back(kind: u16, target_type: u16, id in "[A-Za-z0-9._:-]{1,64}") {
            let name = name(kind, target_type, &id);
            prop_assert_eq!(TargetName::parse(&name.to_string()), Some(name));
        }

        #[test]
        fn kinds_share_a_partition(one: u16, other: u16, target_type: u16, id in "[a-z0-9]{1,9}") {
            prop_assert_eq!(
                name(one, target_type, &id).partition(64),
                name(other, target_type, &id).partition(64)
            );
        }
    }
}
