//! A group: all that one owner is told about one kind and one target, in one notification.
//!
//! The rule by which a transition changes it is [`Group::fold`], and nothing else.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::record::{id_text, place_text};
use crate::id::Id;
use crate::port::{Event, Place};
use crate::rev::Rev;

/// The newest actors that a group remembers by name.
pub const MAX_ACTORS: usize = 100;
/// Users that a group remembers to have told of, who do it no more. Of the one that is forgotten
/// first the owner may be told once again.
pub const MAX_TOLD: usize = 1_000;
/// Actors that a notification names.
pub const SHOWN_ACTORS: usize = 3;

/// Who did it, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Who.
    #[serde(rename = "u", with = "id_text")]
    pub user: Id,
    /// Since when.
    #[serde(rename = "a")]
    pub at: Rev,
}

/// What became of an event in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folded {
    /// The group has seen it.
    Ignored,
    /// It changed what the group says, and is no news.
    Changed,
    /// The owner is to be told.
    Told,
    /// The owner would have been told, but was told as often within the hour as may be.
    Capped,
}

/// One notification, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Where it stands among those of its owner: the place of the event that the owner was told of
    /// last, or of the first event.
    #[serde(rename = "p", with = "place_text")]
    pub place: Place,
    /// Whether the owner was ever told of it.
    #[serde(rename = "t")]
    pub is_told: bool,
    /// The last event folded.
    #[serde(rename = "s", with = "place_text")]
    pub seen: Place,
    /// How many do it, as the last event said.
    #[serde(rename = "c")]
    pub count: u64,
    /// Whether the owner is one of them.
    #[serde(rename = "o")]
    pub own: bool,
    /// Who does it, newest first; at most [`MAX_ACTORS`].
    #[serde(rename = "a")]
    pub actors: Vec<Actor>,
    /// Whether there were more than that.
    #[serde(rename = "m", default)]
    pub has_more: bool,
    /// Fingerprints of those who did it and do it no more, oldest first; at most [`MAX_TOLD`].
    /// No ids: who was erased leaves none here.
    #[serde(rename = "f", default)]
    pub told: Vec<u64>,
}

impl Group {
    /// A group that begins with an event at `place`; `own` says whether its owner does it too.
    #[must_use]
    pub fn begin(place: Place, own: bool) -> Self {
        Self {
            place,
            own,
            ..Self::default()
        }
    }

    /// Whether an event can begin a group: somebody else began to do it. Nobody is told of what was
    /// imported with a time of its own.
    #[must_use]
    pub fn begins_with(event: &Event, owner: &Id) -> bool {
        event.active && event.edge.user != *owner && !is_imported(event)
    }

    /// Folds an event. `may_tell` says whether the owner may be told of something new.
    pub fn fold(&mut self, event: &Event, owner: &Id, may_tell: bool) -> Folded {
        if event.place <= self.seen {
            return Folded::Ignored;
        }
        self.seen = event.place;
        self.count = event.count;
        let user = &event.edge.user;
        if user == owner {
            self.own = event.active;
            return Folded::Changed;
        }
        let known = self.actors.iter().position(|actor| actor.user == *user);
        let known = known.map(|place| self.actors.remove(place));
        let mark = fingerprint(user);
        if !event.active {
            // One whose name was forgotten may have been told of as well.
            if known.is_some() || self.has_more {
                self.remember(mark);
            }
            return Folded::Changed;
        }
        let told = self.told.iter().position(|other| *other == mark);
        let told = told.map(|place| self.told.remove(place));
        self.add(Actor {
            user: user.clone(),
            at: event.rev,
        });
        if known.is_some() || told.is_some() || is_imported(event) {
            return Folded::Changed;
        }
        if !may_tell {
            return Folded::Capped;
        }
        self.place = event.place;
        self.is_told = true;
        Folded::Told
    }

    fn add(&mut self, actor: Actor) {
        let place = self.actors.partition_point(|other| other.at > actor.at);
        self.actors.insert(place, actor);
        if self.actors.len() > MAX_ACTORS {
            self.actors.truncate(MAX_ACTORS);
            self.has_more = true;
        }
    }

    fn remember(&mut self, mark: u64) {
        if self.told.contains(&mark) {
            return;
        }
        if self.told.len() >= MAX_TOLD {
            self.told.remove(0);
        }
        self.told.push(mark);
    }

    /// How many do it, the owner not counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        let named = self.actors.len() as u64;
        // At least those that are named, whatever an import left out of the journal.
        self.count.saturating_sub(u64::from(self.own)).max(named)
    }

    /// Whether it is shown: the owner was told of it, and somebody still does it.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        let somebody = !self.actors.is_empty() || (self.has_more && self.total() > 0);
        self.is_told && somebody
    }

    /// The newest actors.
    #[must_use]
    pub fn shown_actors(&self) -> &[Actor] {
        &self.actors[..self.actors.len().min(SHOWN_ACTORS)]
    }

    /// How many others than those shown.
    #[must_use]
    pub fn others(&self) -> u64 {
        self.total() - self.shown_actors().len() as u64
    }
}

fn is_imported(event: &Event) -> bool {
    event.rev != event.place.seq
}

/// 64 bits of SHA-256 of a user's id.
fn fingerprint(user: &Id) -> u64 {
    let hash = Sha256::digest(user.to_string().as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::EdgeKey;
    use crate::kind::KindId;
    use crate::target::{Target, TargetType};

    const OWNER: Id = Id::Number(1);

    fn event(seq: u64, user: u64, active: bool, count: u64) -> Event {
        let edge = EdgeKey {
            kind: KindId(0),
            user: Id::Number(user),
            target: Target {
                target_type: TargetType::parse("POST").unwrap(),
                id: Id::Number(9),
            },
        };
        Event {
            place: Place::unpartitioned(Rev(seq)),
            edge,
            active,
            rev: Rev(seq),
            count,
        }
    }

    fn names(group: &Group) -> Vec<String> {
        let shown = group.shown_actors().iter();
        shown.map(|actor| actor.user.to_string()).collect()
    }

    #[test]
    fn the_newest_three_and_how_many_others() {
        let mut group = Group::default();
        for user in 2..=45 {
            let event = event(user, user, true, user - 1);
            assert_eq!(group.fold(&event, &OWNER, true), Folded::Told);
        }
        assert_eq!(names(&group), ["45", "44", "43"]);
        assert_eq!(group.others(), 41);
        assert_eq!(
            group.fold(&event(50, 44, false, 43), &OWNER, true),
            Folded::Changed
        );
        assert_eq!(names(&group), ["45", "43", "42"]);
        assert_eq!(group.others(), 40);
    }

    #[test]
    fn like_unlike_like_again_tells_once() {
        let mut group = Group::default();
        assert_eq!(
            group.fold(&event(1, 2, true, 1), &OWNER, true),
            Folded::Told
        );
        assert_eq!(
            group.fold(&event(2, 2, false, 0), &OWNER, true),
            Folded::Changed
        );
        assert!(!group.is_shown());
        assert_eq!(
            group.fold(&event(3, 2, true, 1), &OWNER, true),
            Folded::Changed
        );
        assert!(group.is_shown());
        assert_eq!(group.place, Place::unpartitioned(Rev(1)));
        assert_eq!(
            group.fold(&event(3, 2, true, 1), &OWNER, true),
            Folded::Ignored
        );
    }

    #[test]
    fn ones_own_act_is_no_news_and_is_not_among_the_others() {
        let mut group = Group::begin(Place::START, true);
        group.fold(&event(5, 2, true, 2), &OWNER, true);
        assert_eq!((names(&group), group.others()), (vec!["2".to_owned()], 0));
        assert_eq!(
            group.fold(&event(6, 1, false, 1), &OWNER, true),
            Folded::Changed
        );
        assert_eq!(group.others(), 0);
        assert!(!Group::begins_with(&event(7, 1, true, 1), &OWNER));
        assert!(!Group::begins_with(&event(7, 2, false, 1), &OWNER));
    }

    #[test]
    fn what_is_capped_is_counted_and_not_told() {
        let mut group = Group::default();
        assert_eq!(
            group.fold(&event(1, 2, true, 1), &OWNER, false),
            Folded::Capped
        );
        assert!(!group.is_shown());
        assert_eq!(
            group.fold(&event(2, 3, true, 2), &OWNER, true),
            Folded::Told
        );
        assert!(group.is_shown());
        assert_eq!(names(&group), ["3", "2"]);
    }

    #[test]
    fn names_are_forgotten_beyond_their_limit_and_counted_all_the_same() {
        let mut group = Group::default();
        let most = MAX_ACTORS as u64;
        for user in 0..=most {
            group.fold(&event(user + 1, user + 2, true, user + 1), &OWNER, true);
            assert_eq!(group.has_more, user == most);
        }
        assert_eq!(group.actors.len(), MAX_ACTORS);
        assert_eq!(group.others(), most + 1 - 3);
        // The first is forgotten by name; the owner is not told of them again.
        group.fold(&event(1_000, 2, false, most), &OWNER, true);
        let again = event(1_001, 2, true, most + 1);
        assert_eq!(group.fold(&again, &OWNER, true), Folded::Changed);
    }

    #[test]
    fn those_who_left_are_forgotten_beyond_their_limit() {
        let mut group = Group::default();
        let most = MAX_TOLD as u64;
        for user in 0..=most {
            group.fold(&event(2 * user + 1, user + 2, true, 1), &OWNER, true);
            group.fold(&event(2 * user + 2, user + 2, false, 0), &OWNER, true);
        }
        assert_eq!(group.told.len(), MAX_TOLD);
        let second = event(10_000, 3, true, 1);
        assert_eq!(group.clone().fold(&second, &OWNER, true), Folded::Changed);
        let first = event(10_000, 2, true, 1);
        assert_eq!(group.fold(&first, &OWNER, true), Folded::Told);
    }

    #[test]
    fn nobody_is_told_of_what_was_imported() {
        let mut imported = event(100, 2, true, 1);
        imported.rev = Rev(50);
        assert!(!Group::begins_with(&imported, &OWNER));
        let mut group = Group::default();
        group.fold(&event(90, 3, true, 1), &OWNER, true);
        assert_eq!(group.fold(&imported, &OWNER, true), Folded::Changed);
        assert_eq!(names(&group), ["3", "2"]);
    }
}
