//! A batch of transitions folded into groups: what was read goes in, what is to be written comes
//! out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::Key;
use super::erase::Mark;
use super::group::{Actor, Folded, Group};
use super::keys::{self, GroupKey};
use super::record::encode;
use super::settings::NotificationLimits;
use crate::id::Id;
use crate::kind::Kinds;
use crate::port::{Event, Place};
use crate::rev::Rev;
use crate::target::{Target, TargetType};

/// An owner's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbox {
    /// The hour since the epoch that `told` is of.
    #[serde(rename = "h")]
    pub hour: u32,
    /// How often the owner was told of something new in it.
    #[serde(rename = "t")]
    pub told: u32,
    /// Groups that are kept.
    #[serde(rename = "g")]
    pub groups: u64,
}

impl Inbox {
    fn may_tell(&mut self, at: Rev, limits: &NotificationLimits) -> bool {
        let hour = at.minute() / 60;
        if hour > self.hour {
            (self.hour, self.told) = (hour, 0);
        }
        self.told < limits.max_told_per_hour
    }
}

/// A group as it was at the moment that its owner was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which group.
    pub key: GroupKey,
    /// The event that it is about.
    pub place: Place,
    /// The newest who do it.
    pub actors: Vec<Actor>,
    /// How many others do.
    pub others: u64,
}

/// What a batch came to, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events of targets that have an owner.
    pub owned: u64,
    /// Times that an owner was told.
    pub told: u64,
    /// Times that an owner was not, because of the limit.
    pub capped: u64,
}

#[derive(Clone, Debug, Default)]
struct Held {
    group: Option<Group>,
    /// Whether the owner does it too, where the group is new.
    own: bool,
    /// Where it stood before the batch.
    stood: Option<Place>,
    changed: bool,
}

/// The fold of one batch.
pub struct Fold<'a> {
    kinds: &'a Kinds,
    limits: &'a NotificationLimits,
    owners: HashMap<Target, Id>,
    erasures: Vec<Mark>,
    groups: BTreeMap<GroupKey, Held>,
    inboxes: BTreeMap<Id, (Inbox, Inbox)>,
    told: Vec<Told>,
    tally: Tally,
}

/// Whose a target is by what it is: a user belongs to themself.
#[must_use]
pub fn born_owner(target: &Target) -> Option<&Id> {
    (target.target_type == TargetType::USER).then_some(&target.id)
}

impl<'a> Fold<'a> {
    /// A fold over nothing yet. `owners` are those of the targets that are no users; `erasures` what
    /// was erased and not passed yet.
    #[must_use]
    pub fn new(
        kinds: &'a Kinds,
        limits: &'a NotificationLimits,
        owners: HashMap<Target, Id>,
        erasures: Vec<Mark>,
    ) -> Self {
        Self {
            kinds,
            limits,
            owners,
            erasures,
            groups: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            told: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// The group that an event belongs to, where its target has an owner.
    #[must_use]
    pub fn group_key(&self, event: &Event) -> Option<GroupKey> {
        let target = &event.edge.target;
        let owner = born_owner(target).or_else(|| self.owners.get(target))?;
        let key = GroupKey {
            owner: owner.clone(),
            kind: self.kinds.get(event.edge.kind).name.clone(),
            target: target.clone(),
        };
        let erased = self.erasures.iter().any(|mark| mark.hides(event, &key));
        (!erased).then_some(key)
    }

    /// Takes a group as it was read, and whether its owner does it too.
    pub fn hold(&mut self, key: GroupKey, group: Option<Group>, own: bool) {
        let held = Held {
            stood: group.as_ref().map(|group| group.place),
            group,
            own,
            changed: false,
        };
        self.groups.insert(key, held);
    }

    /// Takes an owner's numbers as they were read.
    pub fn hold_inbox(&mut self, owner: Id, inbox: Inbox) {
        self.inboxes.insert(owner, (inbox, inbox));
    }

    /// Folds one event. Its group and its owner's inbox must be held.
    pub fn fold(&mut self, event: &Event) {
        let Some(key) = self.group_key(event) else {
            return;
        };
        let (Some(held), Some((_, inbox))) =
            (self.groups.get_mut(&key), self.inboxes.get_mut(&key.owner))
        else {
            return;
        };
        self.tally.owned += 1;
        if held.group.is_none() {
            if !Group::begins_with(event, &key.owner) {
                return;
            }
            held.group = Some(Group::begin(event.place, held.own));
            inbox.groups += 1;
        }
        let Some(group) = &mut held.group else {
            return;
        };
        let may_tell = inbox.may_tell(event.place.seq, self.limits);
        match group.fold(event, &key.owner, may_tell) {
            Folded::Ignored => return,
            Folded::Changed => {}
            Folded::Capped => self.tally.capped += 1,
            Folded::Told => {
                inbox.told += 1;
                self.tally.told += 1;
                self.told.push(Told {
                    place: event.place,
                    actors: group.shown_actors().to_vec(),
                    others: group.others(),
                    key,
                });
            }
        }
        held.changed = true;
    }

    /// What the batch came to.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Whom it tells what, in the order of the journal.
    #[must_use]
    pub fn told(&self) -> &[Told] {
        &self.told
    }

    /// The owners who have more groups than they keep, each with how many records of their index
    /// are to be read for [`Fold::forget_oldest`]. Some more than the limit are kept, so that not
    /// every new group costs a look at all.
    #[must_use]
    pub fn crowded(&self) -> Vec<(Id, usize)> {
        let most = self.limits.max_per_owner as u64;
        let crowded = self
            .inboxes
            .iter()
            .filter(|(_, (_, inbox))| inbox.groups > most + most / 10);
        crowded
            .map(|(owner, (_, inbox))| (owner.clone(), inbox.groups as usize))
            .collect()
    }

    /// Lets an owner's oldest groups go, given the index as it was before the batch.
    pub fn forget_oldest(&mut self, owner: &Id, index: &[(Place, GroupKey)]) -> Vec<Change> {
        let held: BTreeSet<&GroupKey> = self.groups.keys().collect();
        let mut all: Vec<(Place, GroupKey)> = index
            .iter()
            .filter(|(_, key)| !held.contains(key))
            .cloned()
            .collect();
        let of_owner = self.groups.iter().filter(|(key, _)| key.owner == *owner);
        all.extend(
            of_owner.filter_map(|(key, held)| Some((held.group.as_ref()?.place, key.clone()))),
        );
        all.sort_unstable_by(|a, b| b.cmp(a));
        let gone = all.split_off(all.len().min(self.limits.max_per_owner));
        let mut writes = Vec::new();
        for (place, key) in &gone {
            writes.push((keys::group(key), None));
            writes.push((keys::index(owner, *place), None));
            if let Some(Held {
                stood: Some(stood), ..
            }) = self.groups.remove(key)
            {
                writes.push((keys::index(owner, stood), None));
            }
        }
        if let Some((_, inbox)) = self.inboxes.get_mut(owner) {
            inbox.groups = all.len() as u64;
        }
        writes
    }

    /// What is to be written.
    #[must_use]
    pub fn writes(&self) -> Vec<Change> {
        let mut writes = Vec::new();
        for (key, held) in &self.groups {
            let (true, Some(group)) = (held.changed, &held.group) else {
                continue;
            };
            writes.push((keys::group(key), Some(encode(group))));
            if held.stood != Some(group.place) {
                if let Some(stood) = held.stood {
                    writes.push((keys::index(&key.owner, stood), None));
                }
                let index = keys::index(&key.owner, group.place);
                writes.push((index, Some(keys::index_value(key))));
            }
        }
        for (owner, (before, after)) in &self.inboxes {
            if before != after {
                let inbox = keys::of(keys::tag::INBOX, owner);
                writes.push((inbox, Some(encode(after))));
            }
        }
        writes
    }
}

/// A record to be written, or removed.
pub type Change = (Key, Option<Vec<u8>>);
