//! Edges and the one rule by which they change.
//!
//! Pure: the state before, the action and the time in; the state after out. Every engine and the
//! reference model decide by [`EdgeState::after`], so they cannot disagree.

use std::net::IpAddr;

use compact_str::CompactString;
use smallvec::SmallVec;

use crate::id::Id;
use crate::kind::KindId;
use crate::rev::Rev;
use crate::target::{Target, TargetKey, UserKey};

/// The longest `deviceType`, in bytes.
pub const MAX_DEVICE_BYTES: usize = 64;

/// Which edge: who, what, under which kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeKey {
    /// The relation.
    pub kind: KindId,
    /// Who acts.
    pub user: Id,
    /// What is acted on.
    pub target: Target,
}

impl EdgeKey {
    /// What the count of this edge belongs to.
    #[must_use]
    pub fn target_key(&self) -> TargetKey {
        TargetKey {
            kind: self.kind,
            target: self.target.clone(),
        }
    }

    /// What the user's own numbers belong to.
    #[must_use]
    pub fn user_key(&self) -> UserKey {
        UserKey {
            kind: self.kind,
            user: self.user.clone(),
        }
    }

    /// The same user and target under another kind.
    #[must_use]
    pub fn under(&self, kind: KindId) -> Self {
        Self {
            kind,
            ..self.clone()
        }
    }
}

/// What is asked of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Be active.
    Set,
    /// Be inactive.
    Unset,
    /// Be what it was not.
    Toggle,
}

/// Where a write came from, kept with its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// As the client named it, at most [`MAX_DEVICE_BYTES`].
    pub device_type: Option<CompactString>,
    /// The address the user acted from.
    pub ip_address: Option<IpAddr>,
}

/// One write: an action on an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// What to do.
    pub action: Action,
    /// To which edge.
    pub edge: EdgeKey,
    /// For imports: the time the edge was set at, which becomes its rev and its place in the
    /// lists. Such a set gives way to any transition of the edge that is as new or newer.
    pub at: Option<Rev>,
    /// Where it came from.
    pub origin: Option<Box<Origin>>,
}

impl Op {
    /// A plain write.
    #[must_use]
    pub fn new(action: Action, edge: EdgeKey) -> Self {
        Self {
            action,
            edge,
            at: None,
            origin: None,
        }
    }
}

/// An edge: active or not, and since which revision. Zero where it never existed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeState {
    /// Whether it is there.
    pub active: bool,
    /// Its last transition.
    pub rev: Rev,
}

impl EdgeState {
    /// The state after `action`, or `None` where nothing changes. `rev` is the revision that a
    /// transition would get; `at` is the time of an imported edge.
    #[must_use]
    pub fn after(self, action: Action, at: Option<Rev>, rev: Rev) -> Option<Self> {
        let active = match action {
            Action::Set => true,
            Action::Unset => false,
            Action::Toggle => !self.active,
        };
        if active == self.active {
            return None;
        }
        match at {
            Some(at) if at <= self.rev => None,
            Some(at) => Some(Self { active, rev: at }),
            None => Some(Self { active, rev }),
        }
    }
}

/// One transition that follows from an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The kind of the edge that changes; user and target are those of the op.
    pub kind: KindId,
    /// The state it had.
    pub before: EdgeState,
    /// The state it gets.
    pub after: EdgeState,
    /// Its place in the journal, strictly increasing. Equals `after.rev` but for imports.
    pub seq: Rev,
}

/// Decides an op: the transitions that follow, in journal order, none where nothing changes.
///
/// `state` is the edge's own state and `excluded` the states of the edges that a set of it unsets
/// (see [`crate::Kinds::excluded_by`]); `last` is the partition's last journal place. The op's own
/// transition, if any, is the last one.
#[must_use]
pub fn decide(
    op: &Op,
    state: EdgeState,
    excluded: &[(KindId, EdgeState)],
    last: Rev,
    now: Rev,
) -> SmallVec<[Change; 2]> {
    let mut changes = SmallVec::new();
    let Some(after) = state.after(op.action, op.at, last.next(now)) else {
        return changes;
    };
    let mut seq = last;
    if after.active {
        let standing = excluded.iter().filter(|(_, other)| other.active);
        if op
            .at
            .is_some_and(|at| standing.clone().any(|(_, other)| at <= other.rev))
        {
            return changes;
        }
        for (kind, before) in standing {
            seq = seq.next(now);
            let after = EdgeState {
                active: false,
                rev: op.at.unwrap_or(seq),
            };
            changes.push(Change {
                kind: *kind,
                before: *before,
                after,
                seq,
            });
        }
    }
    seq = seq.next(now);
    let after = EdgeState {
        active: after.active,
        rev: op.at.unwrap_or(seq),
    };
    changes.push(Change {
        kind: op.edge.kind,
        before: state,
        after,
        seq,
    });
    changes
}

/// The answer to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state after it.
    pub active: bool,
    /// Whether this write changed it.
    pub changed: bool,
    /// Active edges of the target after it.
    pub count: u64,
    /// The revision of the standing edge; zero where it never existed.
    pub rev: Rev,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: EdgeState = EdgeState {
        active: true,
        rev: Rev(10),
    };
    const OFF: EdgeState = EdgeState {
        active: false,
        rev: Rev(10),
    };

    #[test]
    fn setting_what_is_set_changes_nothing() {
        assert_eq!(ON.after(Action::Set, None, Rev(11)), None);
        assert_eq!(OFF.after(Action::Unset, None, Rev(11)), None);
        assert_eq!(
            EdgeState::default().after(Action::Unset, None, Rev(11)),
            None
        );
    }

    #[test]
    fn a_toggle_always_changes() {
        let off = EdgeState {
            active: false,
            rev: Rev(11),
        };
        assert_eq!(ON.after(Action::Toggle, None, Rev(11)), Some(off));
        let on = EdgeState {
            active: true,
            rev: Rev(11),
        };
        assert_eq!(OFF.after(Action::Toggle, None, Rev(11)), Some(on));
    }

    #[test]
    fn an_import_gives_way_to_what_is_newer() {
        assert_eq!(OFF.after(Action::Set, Some(Rev(9)), Rev(99)), None);
        assert_eq!(OFF.after(Action::Set, Some(Rev(10)), Rev(99)), None);
        let imported = EdgeState {
            active: true,
            rev: Rev(11),
        };
        assert_eq!(
            OFF.after(Action::Set, Some(Rev(11)), Rev(99)),
            Some(imported)
        );
        let new = EdgeState {
            active: true,
            rev: Rev(5),
        };
        assert_eq!(
            EdgeState::default().after(Action::Set, Some(Rev(5)), Rev(99)),
            Some(new)
        );
    }

    fn set_at(at: Option<Rev>) -> Op {
        let target = Target::user(Id::Number(2));
        let edge = EdgeKey {
            kind: KindId(0),
            user: Id::Number(1),
            target,
        };
        Op {
            at,
            ..Op::new(Action::Set, edge)
        }
    }

    #[test]
    fn a_set_unsets_what_it_excludes_first() {
        let changes = decide(&set_at(None), OFF, &[(KindId(1), ON)], Rev(20), Rev(5));
        let kinds: Vec<_> = changes
            .iter()
            .map(|c| (c.kind.0, c.after.active, c.seq.0))
            .collect();
        assert_eq!(kinds, [(1, false, 21), (0, true, 22)]);
        assert!(changes.iter().all(|c| c.after.rev == c.seq));
    }

    #[test]
    fn an_imported_set_gives_way_to_a_newer_exclusion() {
        let decide_at = |at| {
            decide(
                &set_at(Some(Rev(at))),
                OFF,
                &[(KindId(1), ON)],
                Rev(20),
                Rev(30),
            )
        };
        assert!(
            decide(
                &set_at(Some(Rev(10))),
                EdgeState::default(),
                &[(KindId(1), ON)],
                Rev(20),
                Rev(30)
            )
            .is_empty()
        );
        let changes = decide_at(15);
        assert_eq!(changes.len(), 2);
        assert!(changes.iter().all(|c| c.after.rev == Rev(15)));
        assert_eq!(changes[1].seq, Rev(31));
    }
}
