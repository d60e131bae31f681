//! Erasing a user or a target: what lies there of them goes.
//!
//! The journal may hold events from before the erasure that are not folded yet; folding them would
//! bring back what was erased. So an erasure leaves a mark with the end of the journal, the fold
//! passes over what a mark hides, and a mark goes when the fold has passed its place.
//!
//! Who is erased leaves the groups of others by the unlikes that the erasure of their edges makes.
//!
//! Deliveries to webhooks that tell of it, waiting or given up, go last: once the mark is there, no
//! more come. They are found by what they say ([`deliveries_of`]), since no key names an owner.

mod walk;

use serde::Deserialize;

pub use walk::{EraseError, all};

use super::Record;
use super::delivery::{DeadDelivery, Delivery};
use super::fold::{Change, Inbox, born_owner};
use super::group::Group;
use super::keys::{self, GroupKey, tag};
use super::ownership::Ownership;
use super::port::Key;
use super::record::{decode, decode_found, encode};
use crate::error::ReadError;
use crate::id::Id;
use crate::kind::Kinds;
use crate::port::{Event, Place};
use crate::rev::Rev;
use crate::target::Target;

/// Who or what is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erased {
    /// A user.
    User(Id),
    /// A target.
    Target(Target),
}

/// An erasure that the fold has not passed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The end of the journal when it was erased.
    pub place: Place,
    /// Who or what.
    pub erased: Erased,
}

impl Mark {
    fn key(&self) -> super::Key {
        let mut key = keys::all(tag::ERASED);
        key.extend_from_slice(&self.place.seq.0.to_be_bytes());
        key.extend_from_slice(&self.place.partition.to_be_bytes());
        let what = match &self.erased {
            Erased::User(user) => format!("u{user}"),
            Erased::Target(target) => format!("t{target}"),
        };
        key.extend_from_slice(what.as_bytes());
        key
    }

    /// Reads the key of a mark.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Option<Self> {
        let (seq, rest) = key.get(1..)?.split_first_chunk::<8>()?;
        let (partition, rest) = rest.split_first_chunk::<2>()?;
        let text = std::str::from_utf8(rest.get(1..)?).ok()?;
        let erased = match rest.first()? {
            b'u' => Erased::User(Id::parse(text).ok()?),
            b't' => Erased::Target(keys::target(text)?),
            _ => return None,
        };
        Some(Self {
            place: Place {
                seq: Rev(u64::from_be_bytes(*seq)),
                partition: u16::from_be_bytes(*partition),
            },
            erased,
        })
    }

    /// Whether the fold must not see an event.
    #[must_use]
    pub fn hides(&self, event: &Event, group: &GroupKey) -> bool {
        event.place <= self.place
            && match &self.erased {
                Erased::User(user) => {
                    group.owner == *user || (event.active && event.edge.user == *user)
                }
                Erased::Target(target) => group.target == *target,
            }
    }
}

/// Reads what is there: records by key, and by the beginning of their keys.
pub trait Look {
    /// A record.
    ///
    /// # Errors
    /// [`ReadError`].
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError>;

    /// Up to `max` records.
    ///
    /// # Errors
    /// [`ReadError`].
    fn scan(&self, prefix: &[u8], max: usize) -> Result<Vec<Record>, ReadError>;
}

/// What is written in one step of an erasure, and whether it found nothing any more. A step of a
/// later commit than the first, which found nothing, is the last: only then nobody folds what was
/// read before the mark.
///
/// # Errors
/// [`ReadError`].
pub fn step(
    look: &dyn Look,
    kinds: &Kinds,
    erased: &Erased,
    end: Place,
    max: usize,
) -> Result<(Vec<Change>, bool), ReadError> {
    let mut writes = match erased {
        Erased::User(user) => of_user(look, user, max)?,
        Erased::Target(target) => of_target(look, kinds, target)?,
    };
    let is_clean = writes.is_empty();
    let mark = Mark {
        place: end,
        erased: erased.clone(),
    };
    writes.push((mark.key(), Some(Vec::new())));
    writes.push(next_epoch(look)?);
    Ok((writes, is_clean))
}

fn next_epoch(look: &dyn Look) -> Result<Change, ReadError> {
    let epoch: u64 = decode_found(look.get(&keys::epoch())?.as_ref())?.unwrap_or(0);
    Ok((keys::epoch(), Some(encode(&(epoch + 1)))))
}

fn of_user(look: &dyn Look, user: &Id, max: usize) -> Result<Vec<Change>, ReadError> {
    let mut writes = Vec::new();
    for (key, _) in look.scan(&keys::of(tag::OWNED, user), max)? {
        if let Some(target) = keys::target_of_owned(&key) {
            writes.push((keys::ownership(&target), None));
        }
        writes.push((key, None));
    }
    for tag in [tag::GROUP, tag::INDEX, tag::READ, tag::INBOX] {
        let found = look.scan(&keys::of(tag, user), max)?;
        writes.extend(found.into_iter().map(|(key, _)| (key, None)));
    }
    Ok(writes)
}

fn of_target(look: &dyn Look, kinds: &Kinds, target: &Target) -> Result<Vec<Change>, ReadError> {
    let ownership: Option<Ownership> = decode_found(look.get(&keys::ownership(target))?.as_ref())?;
    let mut writes = Vec::new();
    let owner = match (ownership, born_owner(target)) {
        (Some(ownership), _) => {
            writes.push((keys::ownership(target), None));
            writes.push((keys::owned(&ownership.owner, target), None));
            ownership.owner
        }
        (None, Some(owner)) => owner.clone(),
        (None, None) => return Ok(writes),
    };
    writes.extend(groups_of(look, kinds, &owner, target)?);
    Ok(writes)
}

/// Removes an owner's groups about a target.
///
/// # Errors
/// [`ReadError`].
pub fn groups_of(
    look: &dyn Look,
    kinds: &Kinds,
    owner: &Id,
    target: &Target,
) -> Result<Vec<Change>, ReadError> {
    let mut writes = Vec::new();
    let mut gone = 0;
    for (_, kind) in kinds.iter() {
        let key = GroupKey {
            owner: owner.clone(),
            kind: kind.name.clone(),
            target: target.clone(),
        };
        let key_bytes = keys::group(&key);
        let Some(group) = decode_found::<Group>(look.get(&key_bytes)?.as_ref())? else {
            continue;
        };
        gone += 1;
        writes.push((key_bytes, None));
        writes.push((keys::index(owner, group.place), None));
    }
    if gone > 0 {
        let key = keys::of(tag::INBOX, owner);
        let mut inbox: Inbox = decode_found(look.get(&key)?.as_ref())?.unwrap_or_default();
        inbox.groups = inbox.groups.saturating_sub(gone);
        writes.push((key, Some(encode(&inbox))));
    }
    Ok(writes)
}

/// What a delivery says of whose it is.
#[derive(Deserialize)]
struct Body {
    data: About,
}

#[derive(Deserialize)]
struct About {
    #[serde(rename = "ownerId")]
    owner: Option<serde_json::Value>,
}

impl Erased {
    fn is_told_by(&self, delivery: &Delivery) -> bool {
        match self {
            Self::Target(target) => delivery.order == target.to_string(),
            Self::User(user) => {
                let body = serde_json::from_str::<Body>(&delivery.body).ok();
                let owner = match body.and_then(|body| body.data.owner) {
                    Some(serde_json::Value::String(owner)) => owner,
                    Some(serde_json::Value::Number(owner)) => owner.to_string(),
                    // A test, which is nobody's.
                    _ => return false,
                };
                owner == user.to_string()
            }
        }
    }
}

/// The tags under which deliveries lie.
pub const DELIVERIES: [u8; 2] = [tag::QUEUE, tag::DEAD];

/// Which of these records of [`DELIVERIES`] tell of who or what is erased.
///
/// # Errors
/// [`ReadError`] for records that cannot be read.
pub fn deliveries_of(erased: &Erased, records: &[Record]) -> Result<Vec<Key>, ReadError> {
    let mut gone = Vec::new();
    for (key, value) in records {
        let delivery = match key.first() {
            Some(&tag::QUEUE) => decode::<Delivery>(value)?,
            Some(&tag::DEAD) => decode::<DeadDelivery>(value)?.delivery,
            _ => continue,
        };
        if erased.is_told_by(&delivery) {
            gone.push(key.clone());
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_read_back() {
        for erased in [
            Erased::User(Id::parse("a-1").unwrap()),
            Erased::Target(Target::user(Id::Number(7))),
        ] {
            let mark = Mark {
                place: Place {
                    seq: Rev(1 << 52),
                    partition: 3,
                },
                erased,
            };
            assert_eq!(Mark::of_key(&mark.key()), Some(mark));
        }
        assert_eq!(Mark::of_key(b"X"), None);
    }
}
