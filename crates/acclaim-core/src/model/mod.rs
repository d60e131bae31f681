//! The reference model: what an engine must answer, in plain maps and plain loops.
//!
//! Slow on purpose and obvious on purpose. Random histories run against it and an engine at once;
//! where they differ, the engine is wrong.
//!
//! Like an engine it may have several partitions, each with revs of its own; [`Model::seal`] does
//! what an engine does when its journal is read.

mod partitions;
#[cfg(test)]
mod tests;

pub use partitions::Partitions;

use std::collections::{BTreeMap, BTreeSet};

use crate::edge::{self, EdgeKey, EdgeState, Op, Transition};
use crate::id::Id;
use crate::kind::{KindId, Kinds};
use crate::limits;
use crate::page::{Entry, Page, Position, Start};
use crate::port::{
    Count, Daily, Event, ExportedEdge, Known, Listing, Place, Ranked, Relationship, Status,
    UserNumbers,
};
use crate::pulse::Window;
use crate::rev::Rev;
use crate::target::{Target, TargetKey, TargetType, UserKey};

/// All edges, and every transition there ever was.
#[derive(Clone, Debug)]
pub struct Model {
    kinds: Kinds,
    edges: BTreeMap<EdgeKey, EdgeState>,
    partitions: Partitions,
    /// The last seq that each partition gave, or was lifted to.
    last: Vec<Rev>,
    /// In the order in which they were decided, which is not that of their places.
    journal: Vec<Event>,
    newest: Place,
    /// Users who were forgotten, and how many events there were by then.
    forgotten: Vec<(Id, usize)>,
}

impl Model {
    /// An empty model of one partition.
    #[must_use]
    pub fn new(kinds: Kinds) -> Self {
        Self::partitioned(kinds, Partitions::one())
    }

    /// An empty model.
    #[must_use]
    pub fn partitioned(kinds: Kinds, partitions: Partitions) -> Self {
        Self {
            kinds,
            edges: BTreeMap::new(),
            last: vec![Rev::ZERO; usize::from(partitions.count())],
            partitions,
            journal: Vec::new(),
            newest: Place::START,
            forgotten: Vec::new(),
        }
    }

    /// The kinds it knows.
    #[must_use]
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// Decides one op at the time `now`.
    pub fn apply(&mut self, op: &Op, now: Rev) -> Transition {
        let state = self.edge(&op.edge);
        let excluded: Vec<_> = self
            .kinds
            .excluded_by(op.edge.kind)
            .iter()
            .map(|kind| (*kind, self.edge(&op.edge.under(*kind))))
            .collect();
        let partition = self.partitions.of(&op.edge.target);
        let last = self.last[usize::from(partition)];
        let changes = edge::decide(op, state, &excluded, last, now);
        for change in &changes {
            let seq = change.seq;
            let place = Place { seq, partition };
            self.last[usize::from(partition)] = seq;
            self.newest = self.newest.max(place);
            let edge = op.edge.under(change.kind);
            self.edges.insert(edge.clone(), change.after);
            let count = self.count(&edge.target_key()).count;
            let EdgeState { active, rev } = change.after;
            self.journal.push(Event {
                place,
                edge,
                active,
                rev,
                count,
            });
        }
        let EdgeState { active, rev } = self.edge(&op.edge);
        let count = self.count(&op.edge.target_key()).count;
        Transition {
            active,
            changed: !changes.is_empty(),
            count,
            rev,
        }
    }

    /// Forgets what a user did so far, as the end of their erasure: they are no longer among the
    /// users of any day, and count anew when they come back.
    pub fn forget_user(&mut self, user: &Id) {
        self.forgotten.push((user.clone(), self.journal.len()));
    }

    fn is_forgotten(&self, number: usize, event: &Event) -> bool {
        let forgotten = self.forgotten.iter();
        let mut of_user = forgotten.filter(|(user, _)| *user == event.edge.user);
        of_user.any(|(_, until)| number < *until)
    }

    /// The state of an edge.
    #[must_use]
    pub fn edge(&self, edge: &EdgeKey) -> EdgeState {
        self.edges.get(edge).copied().unwrap_or_default()
    }

    /// Lifts every partition to the highest seq that any of them gave, so that every later event
    /// stands behind all that there are. Gives [`Model::journal_end`].
    pub fn seal(&mut self) -> Place {
        let end = self.journal_end();
        self.last.fill(end.seq);
        end
    }

    /// The end of the journal: the highest seq that was given, in the last partition. Later
    /// events stand behind it only once it is sealed.
    #[must_use]
    pub fn journal_end(&self) -> Place {
        Place {
            seq: self.last.iter().copied().max().unwrap_or_default(),
            partition: self.partitions.count() - 1,
        }
    }

    /// The highest place of an event; [`Place::START`] where there is none.
    #[must_use]
    pub fn newest_event(&self) -> Place {
        self.newest
    }

    /// The events after a place, by place.
    #[must_use]
    pub fn journal_after(&self, after: Place) -> Vec<Event> {
        let events = self.journal.iter().filter(|event| event.place > after);
        let mut events: Vec<Event> = events.cloned().collect();
        events.sort_by_key(|event| event.place);
        events
    }

    fn active(&self, kind: KindId) -> impl Iterator<Item = (&EdgeKey, Rev)> {
        let of_kind = self.edges.iter().filter(move |(edge, _)| edge.kind == kind);
        of_kind
            .filter(|(_, state)| state.active)
            .map(|(edge, state)| (edge, state.rev))
    }

    /// A status.
    #[must_use]
    pub fn status(&self, edge: &EdgeKey) -> Status {
        Status {
            edge: self.edge(edge),
            count: self.count(&edge.target_key()).count,
        }
    }

    /// A count.
    #[must_use]
    pub fn count(&self, key: &TargetKey) -> Count {
        let edges = self
            .active(key.kind)
            .filter(|(edge, _)| edge.target == key.target)
            .count();
        let last = self
            .journal
            .iter()
            .rfind(|event| event.edge.target_key() == *key);
        Count {
            count: edges as u64,
            rev: last.map_or(Rev::ZERO, |event| event.place.seq),
        }
    }

    /// Who did it to a target.
    #[must_use]
    pub fn users(&self, key: &TargetKey, start: &Start<Id>, size: usize) -> Listing<Id> {
        let edges = self
            .active(key.kind)
            .filter(|(edge, _)| edge.target == key.target);
        listing(
            edges.map(|(edge, at)| Entry {
                key: edge.user.clone(),
                at,
            }),
            start,
            size,
        )
    }

    /// What a user did it to.
    #[must_use]
    pub fn targets(
        &self,
        key: &UserKey,
        target_type: Option<&TargetType>,
        start: &Start<Target>,
        size: usize,
    ) -> Listing<Target> {
        let edges = self.active(key.kind).filter(|(edge, _)| {
            edge.user == key.user && target_type.is_none_or(|t| *t == edge.target.target_type)
        });
        listing(
            edges.map(|(edge, at)| Entry {
                key: edge.target.clone(),
                at,
            }),
            start,
            size,
        )
    }

    /// Whether an edge is active.
    #[must_use]
    pub fn does(&self, kind: KindId, user: &Id, target: &Target) -> bool {
        self.edge(&EdgeKey {
            kind,
            user: user.clone(),
            target: target.clone(),
        })
        .active
    }

    fn everything(&self, key: &UserKey) -> Vec<Entry<Target>> {
        self.targets(key, None, &Start::top(), usize::MAX)
            .page
            .entries
    }

    /// A user's own numbers.
    #[must_use]
    pub fn numbers(&self, key: &UserKey) -> UserNumbers {
        let target = Target::user(key.user.clone());
        let received = self
            .count(&TargetKey {
                kind: key.kind,
                target,
            })
            .count;
        let mutual = if self.kinds.get(key.kind).is_between_users() {
            self.mutual(key, &Start::top(), usize::MAX).entries.len() as u64
        } else {
            0
        };
        UserNumbers {
            given: self.everything(key).len() as u64,
            received,
            mutual,
        }
    }

    /// Who does it back.
    #[must_use]
    pub fn mutual(&self, key: &UserKey, start: &Start<Id>, size: usize) -> Page<Id> {
        let me = Target::user(key.user.clone());
        let back = self
            .everything(key)
            .into_iter()
            .filter(|entry| entry.key.target_type == TargetType::USER)
            .filter(|entry| entry.key != me && self.does(key.kind, &entry.key.id, &me));
        listing(
            back.map(|e| Entry {
                key: e.key.id,
                at: e.at,
            }),
            start,
            size,
        )
        .page
    }

    /// What both did it to.
    #[must_use]
    pub fn common(
        &self,
        key: &UserKey,
        other: &Id,
        start: &Start<Target>,
        size: usize,
    ) -> Page<Target> {
        let mine = self.everything(key).into_iter();
        listing(
            mine.filter(|e| self.does(key.kind, other, &e.key)),
            start,
            size,
        )
        .page
    }

    /// The edges between two users.
    #[must_use]
    pub fn relationship(&self, key: &UserKey, other: &Id) -> Relationship {
        let to = |id: &Id| Target::user(id.clone());
        Relationship {
            following: self.does(key.kind, &key.user, &to(other)),
            followed_by: self.does(key.kind, other, &to(&key.user)),
        }
    }

    /// Who among those a user follows did it.
    #[must_use]
    pub fn known(&self, user: &Id, via: KindId, key: &TargetKey, size: usize) -> Known {
        let follows = UserKey {
            kind: via,
            user: user.clone(),
        };
        let followed = self.targets(&follows, Some(&TargetType::USER), &Start::top(), usize::MAX);
        let looked_at = followed
            .page
            .entries
            .iter()
            .take(limits::MAX_KNOWN_FOLLOWED);
        let did = looked_at.filter_map(|entry| {
            let user = entry.key.id.clone();
            let edge = EdgeKey {
                kind: key.kind,
                user: user.clone(),
                target: key.target.clone(),
            };
            let state = self.edge(&edge);
            state.active.then_some(Entry {
                key: user,
                at: state.rev,
            })
        });
        let all = listing(did, &Start::top(), size);
        Known {
            count: all.total,
            entries: all.page.entries,
            partial: followed.total > limits::MAX_KNOWN_FOLLOWED as u64,
        }
    }

    /// The best of a window.
    #[must_use]
    pub fn ranking(
        &self,
        kind: KindId,
        target_type: &TargetType,
        window: Window,
        size: usize,
        now: Rev,
    ) -> Vec<Ranked> {
        let mut scores: BTreeMap<Id, i64> = BTreeMap::new();
        for event in &self.journal {
            let concerned =
                event.edge.kind == kind && event.edge.target.target_type == *target_type;
            if concerned && event.rev.minute() >= window.first_minute(now) {
                let id = event.edge.target.id.clone();
                *scores.entry(id).or_default() += if event.active { 1 } else { -1 };
            }
        }
        let mut ranked: Vec<Ranked> = scores
            .into_iter()
            .filter(|(_, score)| *score > 0)
            .map(|(id, score)| {
                let target = Target {
                    target_type: target_type.clone(),
                    id: id.clone(),
                };
                let count = self.count(&TargetKey { kind, target }).count;
                Ranked { id, score, count }
            })
            .collect();
        ranked.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
        ranked.truncate(size);
        ranked
    }

    /// The numbers of the last days.
    #[must_use]
    pub fn daily(
        &self,
        kind: KindId,
        target_type: Option<&TargetType>,
        days: u32,
        now: Rev,
    ) -> Vec<Daily> {
        let concerned = |(_, event): &(usize, &Event)| {
            event.edge.kind == kind
                && target_type.is_none_or(|t| *t == event.edge.target.target_type)
        };
        let newest = (0..days).map(|back| now.day() - back);
        newest
            .map(|day| {
                let of_day = || {
                    let numbered = self.journal.iter().enumerate();
                    numbered
                        .filter(concerned)
                        .filter(|(_, event)| event.rev.day() == day)
                };
                let known = of_day().filter(|(number, event)| !self.is_forgotten(*number, event));
                let users: BTreeSet<&Id> = known.map(|(_, event)| &event.edge.user).collect();
                Daily {
                    day,
                    set: of_day().filter(|(_, event)| event.active).count() as u64,
                    unset: of_day().filter(|(_, event)| !event.active).count() as u64,
                    users: users.len() as u64,
                }
            })
            .collect()
    }

    /// Every active edge of a kind.
    #[must_use]
    pub fn export(&self, kind: KindId) -> Vec<ExportedEdge> {
        self.active(kind)
            .map(|(edge, at)| ExportedEdge {
                edge: edge.clone(),
                at,
            })
            .collect()
    }
}

fn listing<K: Ord + Clone>(
    entries: impl Iterator<Item = Entry<K>>,
    start: &Start<K>,
    size: usize,
) -> Listing<K> {
    let mut all: Vec<Entry<K>> = entries.collect();
    all.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.key.cmp(&b.key)));
    let total = all.len() as u64;
    let skipped = match start {
        Start::Offset(entries) => *entries,
        Start::After(position) => all
            .iter()
            .take_while(|entry| !Position::is_before(position, entry.at, &entry.key))
            .count(),
    };
    let mut rest = all.into_iter().skip(skipped);
    let entries: Vec<_> = rest.by_ref().take(size).collect();
    let next = rest
        .next()
        .and_then(|_| entries.last().map(Entry::position));
    Listing {
        page: Page { entries, next },
        total,
    }
}
