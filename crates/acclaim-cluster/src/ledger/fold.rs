//! What follows from a batch of events, given the rows they touch. Pure: rows in, rows out.
//!
//! An event counts only if its rev is newer than its edge's row: it is the edge's new state. What
//! is counted besides (given, mutual, days, pulses) moves only where the row's state really flips,
//! an *observed* flip. So applying events twice, late, or in another order between edges comes
//! out the same; and where the order inside an edge was lost, the newest rev still decides the
//! edge, and sets less unsets still equals what is there.
//!
//! The time comes from the events: the newest seq of the batch, or the target's if that is newer.

use std::collections::BTreeMap;

use acclaim_core::Rev;
use acclaim_core::days::Days;
use acclaim_core::pulse::Pulse;

use super::blob::UserType;
use super::codec::IdKey;
use super::dictionary::{KindNo, TypeNo};
use super::event::{EdgeRow, TargetRow, UserRow};

/// Stands for all types in `daily`.
pub(crate) const ALL_TYPES: TypeNo = TypeNo(0);

/// An event that passed all checks.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub seq: Rev,
    pub edge: EdgeRow,
    pub active: bool,
    pub rev: Rev,
    pub count: u64,
}

/// An edge, before and after the batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EdgeValue {
    /// Whether there was a row.
    pub known: bool,
    pub was_active: bool,
    pub active: bool,
    pub rev: Rev,
    pub changed: bool,
}

/// A target's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TargetValue {
    pub count: u64,
    pub seq: Rev,
    pub edges: u64,
    pub last_day: u32,
    pub pulse: Pulse,
}

/// A user's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserValue {
    pub given: u64,
    pub mutual: u64,
    pub types: Vec<UserType>,
}

/// What is added to a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DayValue {
    pub sets: u64,
    pub unsets: u64,
    pub users: u64,
}

pub(crate) type Edges = BTreeMap<EdgeRow, EdgeValue>;
pub(crate) type Targets = BTreeMap<TargetRow, TargetValue>;
pub(crate) type Users = BTreeMap<UserRow, UserValue>;
pub(crate) type DaysTouched = BTreeMap<(KindNo, TypeNo, u32), DayValue>;

/// An edge that changed its state.
#[derive(Clone, Debug)]
pub(crate) struct Flip {
    pub kind: KindNo,
    pub target_type: TypeNo,
    pub user: IdKey,
    pub active: bool,
    pub rev: Rev,
}

/// Folds events into their edges and targets; answers the flips in order.
pub(crate) fn fold_edges(
    events: &[Accepted],
    edges: &mut Edges,
    targets: &mut Targets,
    now: Rev,
) -> Vec<Flip> {
    let mut flips = Vec::with_capacity(events.len());
    for event in events {
        let edge = edges.entry(event.edge.clone()).or_default();
        let target = targets.entry(event.edge.target_row()).or_default();
        if event.seq > target.seq {
            target.seq = event.seq;
            target.count = event.count;
        }
        if event.rev <= edge.rev {
            continue;
        }
        if !edge.known && !edge.changed {
            target.edges += 1;
        }
        let flipped = event.active != edge.active;
        *edge = EdgeValue {
            active: event.active,
            rev: event.rev,
            changed: true,
            ..*edge
        };
        if flipped {
            target
                .pulse
                .record(event.rev, event.active, now.max(target.seq));
            target.last_day = target.last_day.max(event.rev.day());
            flips.push(Flip {
                kind: event.edge.kind,
                target_type: event.edge.target_type,
                user: event.edge.user.clone(),
                active: event.active,
                rev: event.rev,
            });
        }
    }
    flips
}

/// Two users with one edge that flipped, by whether both edges were and are active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub kind: KindNo,
    pub users: [IdKey; 2],
    pub delta: i64,
}

/// Edges between two different users that flipped in all. Whether they are mutual depends on the
/// edges back.
pub(crate) fn between_users(edges: &Edges, user_type: TypeNo) -> impl Iterator<Item = &EdgeRow> {
    edges
        .iter()
        .filter(|(_, value)| value.was_active != value.active)
        .map(|(edge, _)| edge)
        .filter(move |edge| edge.target_type == user_type && edge.target != edge.user)
}

/// The pairs that became mutual or ceased to be. `back` are the edges back that are not in the
/// batch, by whether they are active.
pub(crate) fn pairs(edges: &Edges, back: &BTreeMap<EdgeRow, bool>, user_type: TypeNo) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for edge in between_users(edges, user_type) {
        let own = edges[edge];
        let other = edge.back();
        let (was, is) = match edges.get(&other) {
            // Both flipped: the lesser one answers for the pair.
            Some(value) if value.was_active != value.active && other < *edge => continue,
            Some(value) => (value.was_active, value.active),
            None => {
                let active = back.get(&other).copied().unwrap_or(false);
                (active, active)
            }
        };
        let delta = i64::from(own.active && is) - i64::from(own.was_active && was);
        if delta != 0 {
            let users = [edge.user.clone(), edge.target.clone()];
            pairs.push(Pair {
                kind: edge.kind,
                users,
                delta,
            });
        }
    }
    pairs
}

/// Folds flips and pairs into users; answers what is added to the days.
pub(crate) fn fold_users(
    flips: &[Flip],
    pairs: &[Pair],
    users: &mut Users,
    now: Rev,
) -> DaysTouched {
    let mut days = DaysTouched::new();
    for flip in flips {
        let row = UserRow {
            kind: flip.kind,
            user: flip.user.clone(),
        };
        let user = users.entry(row).or_default();
        let sign = if flip.active { 1 } else { -1 };
        user.given = user.given.saturating_add_signed(sign);
        let day = flip.rev.day();
        let new_in_all = !user.types.iter().any(|of_type| holds(&of_type.days, day));
        let of_type = of_type(&mut user.types, flip.target_type);
        of_type.given = of_type.given.saturating_add_signed(sign);
        let new_in_type = of_type.days.insert(day, now.day());
        for (type_no, new) in [
            (flip.target_type, new_in_type),
            (ALL_TYPES, new_in_type && new_in_all),
        ] {
            let value = days.entry((flip.kind, type_no, day)).or_default();
            value.sets += u64::from(flip.active);
            value.unsets += u64::from(!flip.active);
            value.users += u64::from(new);
        }
    }
    for pair in pairs {
        for user in &pair.users {
            let row = UserRow {
                kind: pair.kind,
                user: user.clone(),
            };
            let user = users.entry(row).or_default();
            user.mutual = user.mutual.saturating_add_signed(pair.delta);
        }
    }
    days
}

fn holds(days: &Days, day: u32) -> bool {
    days.runs()
        .iter()
        .any(|run| run.first <= day && day <= run.last)
}

fn of_type(types: &mut Vec<UserType>, type_no: TypeNo) -> &mut UserType {
    let place = types.partition_point(|known| known.type_no < type_no);
    if types
        .get(place)
        .is_none_or(|known| known.type_no != type_no)
    {
        types.insert(
            place,
            UserType {
                type_no,
                given: 0,
                days: Days::default(),
            },
        );
    }
    &mut types[place]
}
