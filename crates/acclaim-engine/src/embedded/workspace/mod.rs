//! The workspace of one commit: decides ops against the view and gathers what follows.
//!
//! Nothing here is visible to anybody before [`Workspace::publish`], which comes after the log is
//! durable. A replay at start goes through the same code, so what it builds is what was there.
//!
//! It may not know the log, threads or the clock.

mod prefetch;
mod publish;
mod replay;

pub use prefetch::Prefetched;

use std::collections::HashMap;
use std::sync::Arc;

use acclaim_core::edge::{self, Change};
use acclaim_core::{Action, EdgeState, Id, Op, ReadError, Rev, TargetType, Transition};
use foldhash::fast::FixedState;
use hashbrown::HashMap as FastMap;
use indexmap::IndexMap;
use smallvec::SmallVec;

use crate::embedded::board::Boards;
use crate::embedded::daily::{DailyBook, DailyChange};
use crate::embedded::delta::{EdgeChange, TypedId};
use crate::embedded::dictionary::Dictionary;
use crate::embedded::key::{DailyRef, EdgeRef, Key, KindNo, TargetRef, TypeNo, UserRef};
use crate::embedded::log::{ChangeEntry, Entry};
use crate::embedded::record::{TargetRecord, UserRecord, counted_day, step};
use crate::embedded::view::View;

const HASH: FixedState = FixedState::with_seed(0x0C0_FFEE);

/// A target that this commit looked at, and those of its edges that it looked at.
struct TargetWork {
    record: TargetRecord,
    changed: bool,
    edges: Vec<EdgeChange>,
    /// For each edge, its user's place in the workspace, once it changed.
    users: Vec<Option<usize>>,
}

#[derive(Default)]
struct UserWork {
    record: UserRecord,
    changed: bool,
    removed: SmallVec<[(Rev, TypedId); 1]>,
    added: SmallVec<[(Rev, TypedId); 1]>,
}

/// Where an edge lies in the workspace: its target's place, and its own under the target.
type Place = (usize, usize);

/// What one commit does.
pub struct Workspace<'a> {
    view: &'a View,
    dictionary: Arc<Dictionary>,
    targets: IndexMap<TargetRef, TargetWork, FixedState>,
    edges: FastMap<(usize, Id), usize, FixedState>,
    users: IndexMap<UserRef, UserWork, FixedState>,
    daily: FastMap<DailyRef, DailyChange, FixedState>,
    notes: HashMap<Key, Option<Vec<u8>>>,
    entries: Vec<Entry>,
    last_seq: Rev,
}

/// Where a commit is published.
pub struct Outlet<'a> {
    /// The days' numbers.
    pub daily: &'a DailyBook,
    /// The rankings' candidates.
    pub boards: &'a Boards,
}

impl<'a> Workspace<'a> {
    /// An empty workspace after the journal place `last_seq`.
    pub fn new(view: &'a View, dictionary: Arc<Dictionary>, last_seq: Rev) -> Self {
        Self {
            view,
            dictionary,
            targets: IndexMap::with_hasher(HASH),
            edges: FastMap::with_hasher(HASH),
            users: IndexMap::with_hasher(HASH),
            daily: FastMap::with_hasher(HASH),
            notes: HashMap::new(),
            entries: Vec::new(),
            last_seq,
        }
    }

    /// Transitions decided.
    pub fn transitions(&self) -> usize {
        self.entries
            .iter()
            .filter(|entry| matches!(entry, Entry::Change(_)))
            .count()
    }

    /// What the log must say of this commit.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The view under this commit.
    pub fn view(&self) -> &'a View {
        self.view
    }

    /// The dictionary as of this commit.
    pub fn dictionary(&self) -> &Arc<Dictionary> {
        &self.dictionary
    }

    /// The number of a type, given now if it is new. `None` when the store knows as many as it can.
    pub fn type_number(&mut self, target_type: &TargetType) -> Option<TypeNo> {
        if let Some(number) = self.dictionary.type_number(target_type) {
            return Some(number);
        }
        let (number, note) = Arc::make_mut(&mut self.dictionary).add_type(target_type)?;
        self.note(note.key, Some(note.value));
        Some(number)
    }

    /// The last journal place so far.
    pub fn last_seq(&self) -> Rev {
        self.last_seq
    }

    /// Decides an op whose target type has the given number. `excluded` are the kinds that a set
    /// of it unsets.
    pub fn decide(
        &mut self,
        op: &Op,
        edge: &EdgeRef,
        excluded: &[(acclaim_core::KindId, KindNo)],
        now: Rev,
    ) -> Result<Transition, ReadError> {
        let place = self.load(edge)?;
        let state = self.state(place);
        let mut others = SmallVec::<[_; 2]>::new();
        if op.action != Action::Unset {
            for (id, kind) in excluded {
                let place = self.load(&EdgeRef {
                    kind: *kind,
                    ..edge.clone()
                })?;
                others.push((*id, self.state(place)));
            }
        }
        let changes = edge::decide(op, state, &others, self.last_seq, now);
        for change in &changes {
            let kind = self.dictionary.kind(change.kind);
            let place = if kind == edge.kind {
                place
            } else {
                self.load(&EdgeRef {
                    kind,
                    ..edge.clone()
                })?
            };
            let edge = EdgeRef {
                kind,
                ..edge.clone()
            };
            let count = self.change(&edge, place, change.after, change.seq)?;
            self.entries
                .push(Entry::Change(entry_of(edge, change, count, op)));
        }
        let EdgeState { active, rev } = self.state(place);
        let count = self.targets[place.0].record.count;
        Ok(Transition {
            active,
            changed: !changes.is_empty(),
            count,
            rev,
        })
    }

    /// Writes or removes a note.
    pub fn note(&mut self, key: Key, value: Option<Vec<u8>>) {
        self.entries.push(Entry::Note(key.clone(), value.clone()));
        self.notes.insert(key, value);
    }

    /// A note as of this commit.
    pub fn read_note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        match self.notes.get(key) {
            Some(note) => Ok(note.clone()),
            None => self.view.note(key),
        }
    }

    /// An edge's state as of this commit.
    pub fn edge(&mut self, edge: &EdgeRef) -> Result<EdgeState, ReadError> {
        let place = self.load(edge)?;
        Ok(self.state(place))
    }

    fn state(&self, (target, edge): Place) -> EdgeState {
        self.targets[target].edges[edge].after
    }

    /// Brings an edge and its target into the workspace, both as of one moment.
    fn load(&mut self, edge: &EdgeRef) -> Result<Place, ReadError> {
        let target = edge.target_ref();
        let known = self.targets.get_index_of(&target);
        if let Some(place) = known
            && let Some(at) = self.edges.get(&(place, edge.user.clone()))
        {
            return Ok((place, *at));
        }
        let (place, state) = match known {
            Some(place) => (place, self.view.edge(edge)?),
            None => {
                let (record, state) = self.view.target_and_edge(edge)?;
                (
                    self.targets.insert_full(target, TargetWork::new(record)).0,
                    state,
                )
            }
        };
        Ok(self.add_edge(place, edge, state))
    }

    fn add_edge(&mut self, target: usize, edge: &EdgeRef, state: EdgeState) -> Place {
        let work = &mut self.targets[target];
        let user = edge.user.clone();
        work.edges.push(EdgeChange {
            user: user.clone(),
            before: state,
            after: state,
        });
        work.users.push(None);
        let at = work.edges.len() - 1;
        self.edges.insert((target, user), at);
        (target, at)
    }

    fn put(&mut self, (target, edge): Place, user: usize, after: EdgeState) {
        let work = &mut self.targets[target];
        work.edges[edge].after = after;
        work.users[edge] = Some(user);
        work.changed = true;
    }

    fn target(&mut self, target: &TargetRef) -> Result<&mut TargetWork, ReadError> {
        let place = match self.targets.get_index_of(target) {
            Some(place) => place,
            None => {
                let record = self.view.target(target)?;
                self.targets
                    .insert_full(target.clone(), TargetWork::new(record))
                    .0
            }
        };
        Ok(&mut self.targets[place])
    }

    /// The place of a user whose record is about to change.
    fn user(&mut self, user: &UserRef) -> Result<usize, ReadError> {
        let place = match self.users.get_index_of(user) {
            Some(place) => place,
            None => {
                let work = UserWork {
                    record: self.view.user(user)?,
                    ..UserWork::default()
                };
                self.users.insert_full(user.clone(), work).0
            }
        };
        self.users[place].changed = true;
        Ok(place)
    }

    /// Applies a transition to everything that follows from it and returns the target's count.
    fn change(
        &mut self,
        edge: &EdgeRef,
        place: Place,
        after: EdgeState,
        seq: Rev,
    ) -> Result<u64, ReadError> {
        let before = self.state(place);
        let user = self.user(&edge.user_ref())?;
        self.change_mutual(edge, after.active, user)?;
        self.put(place, user, after);
        let record = &mut self.targets[place.0].record;
        record.count = step(record.count, after.active)?;
        record.rev = seq;
        record.pulse.record(after.rev, after.active, seq);
        let count = record.count;
        let record = &mut self.users[user].record;
        record.change(edge.target_type, before.rev == Rev::ZERO, after.active)?;
        self.mark_day(edge.kind, edge.target_type, user, after, seq);
        self.last_seq = seq;
        Ok(count)
    }

    fn change_mutual(
        &mut self,
        edge: &EdgeRef,
        active: bool,
        user: usize,
    ) -> Result<(), ReadError> {
        if !self.dictionary.is_between_users(edge.kind) || edge.user == edge.target {
            return Ok(());
        }
        let back = EdgeRef {
            kind: edge.kind,
            user: edge.target.clone(),
            target_type: edge.target_type,
            target: edge.user.clone(),
        };
        if self.edge(&back)?.active {
            let other = self.user(&back.user_ref())?;
            for user in [user, other] {
                let mutual = &mut self.users[user].record.mutual;
                *mutual = step(*mutual, active)?;
            }
        }
        Ok(())
    }

    fn mark_day(
        &mut self,
        kind: KindNo,
        target_type: TypeNo,
        user: usize,
        after: EdgeState,
        seq: Rev,
    ) {
        let Some(day) = counted_day(after.rev, seq) else {
            return;
        };
        let record = &mut self.users[user].record;
        let (first_of_type, first_of_all) = record.mark_day(target_type, day, seq.day());
        for (of_type, first) in [(Some(target_type), first_of_type), (None, first_of_all)] {
            let numbers = self
                .daily
                .entry(DailyRef {
                    kind,
                    target_type: of_type,
                    day,
                })
                .or_default();
            numbers.change(after.active, first);
        }
    }

    /// Takes a user who is forgotten out of the days that they were counted on, so that one who
    /// comes back on the same day is counted once.
    fn unmark_days(&mut self, kind: KindNo, record: &UserRecord) {
        for (target_type, days) in record.days() {
            for day in days.runs().iter().flat_map(|run| run.first..=run.last) {
                let day = DailyRef {
                    kind,
                    target_type,
                    day,
                };
                self.daily.entry(day).or_default().users -= 1;
            }
        }
    }
}

impl TargetWork {
    fn new(record: TargetRecord) -> Self {
        Self {
            record,
            changed: false,
            edges: Vec::new(),
            users: Vec::new(),
        }
    }
}

fn entry_of(edge: EdgeRef, change: &Change, count: u64, op: &Op) -> ChangeEntry {
    ChangeEntry {
        edge,
        before: change.before,
        after: change.after,
        seq: change.seq,
        count,
        origin: op.origin.clone(),
    }
}
