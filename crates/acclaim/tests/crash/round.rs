//! The users and targets of one round. Every round has its own, so that its history begins empty.

use acclaim_testkit::linear::{Object, Slot};

/// Kinds that exclude each other are judged together.
pub const GROUPS: [&[&str]; 2] = [&["likes", "dislikes"], &["follows"]];
/// Users of a round, who are the targets of follows too.
pub const USERS: u8 = 6;
const POSTS: usize = 4;

/// One round's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round(pub u64);

/// What is judged together: a target under a group of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub group: usize,
    pub target: usize,
}

impl Place {
    pub fn kinds(self) -> &'static [&'static str] {
        GROUPS[self.group]
    }

    pub fn kind(self, slot: Slot) -> &'static str {
        self.kinds()[usize::from(slot.kind)]
    }

    pub fn object(self) -> Object {
        Object {
            kinds: self.kinds().len() as u8,
            users: USERS,
            revs_when_inactive: false,
        }
    }
}

impl Round {
    /// Numbers and texts by turns.
    pub fn user(self, user: usize) -> String {
        if user.is_multiple_of(2) {
            (self.0 * 100 + user as u64).to_string()
        } else {
            format!("r{}:u{user}", self.0)
        }
    }

    /// The target's type and id.
    pub fn target(self, place: Place) -> (&'static str, String) {
        match place.group {
            0 => ("POST", format!("{}", self.0 * 1_000 + place.target as u64)),
            _ => ("USER", self.user(place.target)),
        }
    }

    pub fn places() -> impl Iterator<Item = Place> {
        let posts = (0..POSTS).map(|target| Place { group: 0, target });
        posts.chain((0..usize::from(USERS)).map(|target| Place { group: 1, target }))
    }

    /// Every edge of a place that may be.
    pub fn slots(place: Place) -> impl Iterator<Item = Slot> {
        let kinds = 0..place.kinds().len() as u8;
        let all = kinds.flat_map(|kind| (0..USERS).map(move |user| Slot { kind, user }));
        all.filter(move |slot| Self::is_allowed(place, *slot))
    }

    /// Nobody follows themself.
    pub fn is_allowed(place: Place, slot: Slot) -> bool {
        place.group == 0 || usize::from(slot.user) != place.target
    }
}
