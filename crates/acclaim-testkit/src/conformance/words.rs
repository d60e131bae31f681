//! The kinds, ids and times that the cases speak of.

use acclaim_core::{
    Action, EdgeKey, Id, Kind, KindId, Kinds, Op, Rev, Target, TargetKey, TargetType, UserKey,
};

/// Any target; excludes, and is excluded by, [`DISLIKES`] and [`SHRUGS`].
pub const LIKES: KindId = KindId(0);
/// Between users, not oneself.
pub const FOLLOWS: KindId = KindId(1);
/// Any target; excludes the other opinions.
pub const DISLIKES: KindId = KindId(2);
/// Any target; excludes the other opinions.
pub const SHRUGS: KindId = KindId(3);
/// `POST` and `TRACK` only.
pub const BOOKMARKS: KindId = KindId(4);
/// Between users, oneself included.
pub const BEFRIENDS: KindId = KindId(5);
/// Any target, excludes nothing.
pub const CLAPS: KindId = KindId(6);

/// The kinds of every stage.
///
/// # Panics
/// Never: the names are good.
#[must_use]
pub fn kinds() -> Kinds {
    let excluding = |name: &str, excludes: &[&str]| Kind {
        excludes: excludes.iter().map(|name| (*name).into()).collect(),
        ..Kind::open(name)
    };
    let of = |name: &str, types: &[&str]| Kind {
        target_types: Some(types.iter().map(|t| target_type(t)).collect()),
        ..Kind::open(name)
    };
    Kinds::new([
        excluding("dislikes", &["likes"]),
        excluding("shrugs", &["likes", "dislikes"]),
        of("bookmarks", &["POST", "TRACK"]),
        of("befriends", &["USER"]),
        Kind::open("claps"),
    ])
    .unwrap()
}

/// A second, in microseconds.
pub const SECOND: u64 = 1_000_000;
/// A minute, in microseconds.
pub const MINUTE: u64 = 60 * SECOND;
/// An hour, in microseconds.
pub const HOUR: u64 = 60 * MINUTE;
/// A day, in microseconds.
pub const DAY: u64 = 24 * HOUR;

/// Where every stage's clock begins: 2026-11-20T10:30:17Z.
pub const START: Rev = Rev(1_795_132_800_000_000 + 10 * HOUR + 30 * MINUTE + 17 * SECOND);

/// An id from its text.
///
/// # Panics
/// When it is not one.
#[must_use]
pub fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

/// A target type from its text.
///
/// # Panics
/// When it is not one.
#[must_use]
pub fn target_type(text: &str) -> TargetType {
    TargetType::parse(text).unwrap()
}

/// A target from `TYPE:id`.
///
/// # Panics
/// When it is not one.
#[must_use]
pub fn target(text: &str) -> Target {
    let (of_type, of_id) = text.split_once(':').unwrap();
    Target {
        target_type: target_type(of_type),
        id: id(of_id),
    }
}

/// An edge from the texts of its ends.
#[must_use]
pub fn edge(kind: KindId, user: &str, of_target: &str) -> EdgeKey {
    EdgeKey {
        kind,
        user: id(user),
        target: target(of_target),
    }
}

/// What a count belongs to.
#[must_use]
pub fn target_key(kind: KindId, of_target: &str) -> TargetKey {
    TargetKey {
        kind,
        target: target(of_target),
    }
}

/// What a user's numbers belong to.
#[must_use]
pub fn user_key(kind: KindId, user: &str) -> UserKey {
    UserKey {
        kind,
        user: id(user),
    }
}

/// A plain set.
#[must_use]
pub fn set(edge: EdgeKey) -> Op {
    Op::new(Action::Set, edge)
}

/// A plain unset.
#[must_use]
pub fn unset(edge: EdgeKey) -> Op {
    Op::new(Action::Unset, edge)
}

/// A plain toggle.
#[must_use]
pub fn toggle(edge: EdgeKey) -> Op {
    Op::new(Action::Toggle, edge)
}

/// An imported edge.
#[must_use]
pub fn import(edge: EdgeKey, at: Rev) -> Op {
    Op {
        at: Some(at),
        ..set(edge)
    }
}

/// `micros` before [`START`].
#[must_use]
pub fn before_start(micros: u64) -> Rev {
    Rev(START.0 - micros)
}
