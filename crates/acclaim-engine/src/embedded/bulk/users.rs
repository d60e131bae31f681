//! The first pass: every edge once, in the order of users.
//!
//! It writes the edges' states and folds the users' records. What it learns about targets, about
//! the lists of users with many edges and about mutual edges is sorted meanwhile for later passes.

use std::path::Path;

use acclaim_core::{Action, EdgeState, Rev};
use foldhash::fast::FixedState;
use hashbrown::HashMap as FastMap;
use smallvec::SmallVec;

use super::super::dictionary::Dictionary;
use super::super::key::{DailyRef, EdgeBytes, Key, tag};
use super::super::record::{DailyRecord, UserRecord, counted_day, encode_edge};
use super::exclusive::Families;
use super::line::{Effect, Line, Step};
use super::mutual::Mutual;
use super::sink::Sink;
use super::sorter::{Merge, Sorter};
use super::sources::Sources;
use super::spool::{SpoolWriter, unnamed_file};
use super::{BulkError, Progress};

/// What the pass leaves to the others.
pub struct UsersPass {
    /// What happened to targets, by the keys of their lists.
    pub effects: Sorter,
    /// The lists of users who have one.
    pub lists: Sorter,
    /// Edges between users.
    pub mutual: Mutual,
    /// The users' records, by their keys, without what is mutual.
    pub records: SpoolWriter,
    /// The days' numbers.
    pub days: FastMap<DailyRef, DailyRecord, FixedState>,
    /// The place in the journal of the last transition.
    pub end: Rev,
}

/// What the pass goes by.
pub struct Given<'a> {
    /// Names and numbers.
    pub dictionary: &'a Dictionary,
    /// The kinds whose lines were decided before.
    pub families: &'a Families,
    /// Where lines are counted that change nothing.
    pub sources: &'a mut Sources,
    /// The first place in the journal.
    pub first_seq: Rev,
}

impl UsersPass {
    /// A pass that sorts in chunks of `chunk_bytes`, and in files in `dir`.
    pub fn new(dir: &Path, chunk_bytes: usize) -> Result<Self, BulkError> {
        Ok(Self {
            effects: Sorter::new(dir, chunk_bytes),
            lists: Sorter::new(dir, chunk_bytes),
            mutual: Mutual::new(dir, chunk_bytes),
            records: SpoolWriter::new(unnamed_file(dir)?, 0),
            days: FastMap::with_hasher(FixedState::default()),
            end: Rev::ZERO,
        })
    }

    /// Goes over all lines and transitions, by the keys of their edges.
    pub fn run(
        self,
        mut lines: Merge,
        given: Given<'_>,
        sink: &mut Sink,
        progress: &mut Progress<'_>,
    ) -> Result<Self, BulkError> {
        let mut fold = Fold {
            pass: self,
            given,
            sink,
            edge: Edge::default(),
            user: User::default(),
            scratch: (Key::new(), Vec::new()),
        };
        while lines.advance()? {
            progress.advance();
            if fold.edge.key != lines.key() {
                fold.end_edge()?;
                fold.edge.begin(lines.key(), fold.given.families);
            }
            fold.take(lines.value())?;
        }
        fold.end_edge()?;
        fold.end_user()?;
        Ok(fold.pass)
    }
}

/// The edge under way.
#[derive(Default)]
struct Edge {
    key: Key,
    /// Whether its transitions are decided already.
    is_decided: bool,
    state: EdgeState,
    steps: SmallVec<[Step; 1]>,
}

impl Edge {
    fn begin(&mut self, key: &[u8], families: &Families) {
        self.key.clear();
        self.key.extend_from_slice(key);
        let kind = key.get(1);
        self.is_decided = kind.is_some_and(|kind| families.of_kind(*kind).is_some());
        self.state = EdgeState::default();
        self.steps.clear();
    }
}

/// The user under way.
#[derive(Default)]
struct User {
    /// Where the record lies; empty before the first user.
    key: Key,
    record: UserRecord,
    /// The entries of the list, for the case that there will be one, and where each ends.
    waiting: Vec<u8>,
    ends: Vec<usize>,
}

struct Fold<'a> {
    pass: UsersPass,
    given: Given<'a>,
    sink: &'a mut Sink,
    edge: Edge,
    user: User,
    scratch: (Key, Vec<u8>),
}

impl Fold<'_> {
    fn take(&mut self, value: &[u8]) -> Result<(), BulkError> {
        if self.edge.is_decided {
            let step = Step::read(value)?;
            self.edge.state = step.after;
            self.edge.steps.push(step);
            return Ok(());
        }
        let Line { seq, at } = Line::read(value)?;
        match self.edge.state.after(Action::Set, at, seq) {
            Some(after) => {
                self.edge.state = after;
                self.edge.steps.push(Step { seq, after });
            }
            None => self.given.sources.unchanged(seq),
        }
        Ok(())
    }

    fn end_edge(&mut self) -> Result<(), BulkError> {
        if self.edge.steps.is_empty() {
            return Ok(());
        }
        let key = std::mem::take(&mut self.edge.key);
        let edge = EdgeBytes::of_key(&key)?;
        if self.user.key.get(1) != Some(&edge.kind) || self.user.key[2..] != *edge.user {
            self.end_user()?;
            edge.put_user_key(&mut self.user.key);
        }
        self.sink.write(&key, &encode_edge(self.edge.state))?;
        for place in 0..self.edge.steps.len() {
            self.step(&edge, place)?;
        }
        if self.edge.state.active {
            self.list(&edge)?;
            if self.given.dictionary.is_between_users(edge.kind) && edge.user != edge.target {
                self.pass.mutual.push(&key, &edge)?;
            }
        }
        self.edge.key = key;
        Ok(())
    }

    /// What follows from a transition.
    fn step(&mut self, edge: &EdgeBytes<'_>, place: usize) -> Result<(), BulkError> {
        let Step { seq, after } = self.edge.steps[place];
        self.pass.end = self.pass.end.max(seq);
        let record = &mut self.user.record;
        record.change(edge.target_type, place == 0, after.active)?;
        if let Some(day) = counted_day(after.rev, seq) {
            // Transitions come out of their order, so nothing is forgotten that an earlier one
            // might have to find.
            let today = self.given.first_seq.day();
            let (first_of_type, first_of_all) = record.mark_day(edge.target_type, day, today);
            for (target_type, first) in [
                (Some(edge.target_type), first_of_type),
                (None, first_of_all),
            ] {
                let kind = edge.kind;
                let day = DailyRef {
                    kind,
                    target_type,
                    day,
                };
                let numbers = self.pass.days.entry(day).or_default();
                numbers.change(after.active, first);
            }
        }
        let effect = Effect {
            set: after.active,
            listed: after.active && place + 1 == self.edge.steps.len(),
            seq,
        };
        let (key, value) = &mut self.scratch;
        key.clear();
        edge.put_target_list_key(after.rev, key);
        value.clear();
        effect.put(after.rev, value);
        Ok(self.pass.effects.push(key, value)?)
    }

    /// Puts an active edge into its user's list, if there is or may be one.
    fn list(&mut self, edge: &EdgeBytes<'_>) -> Result<(), BulkError> {
        let User {
            record,
            waiting,
            ends,
            ..
        } = &mut self.user;
        edge.put_user_list_key(self.edge.state.rev, waiting);
        ends.push(waiting.len());
        if record.indexed {
            let mut start = 0;
            for end in ends.drain(..) {
                self.pass.lists.push(&waiting[start..end], &[])?;
                start = end;
            }
            waiting.clear();
        }
        Ok(())
    }

    fn end_user(&mut self) -> Result<(), BulkError> {
        let user = &mut self.user;
        if !user.key.is_empty() {
            let record = std::mem::take(&mut user.record);
            self.pass.records.push(&user.key, &record.encode())?;
        }
        debug_assert!(user.key.is_empty() || user.key[0] == tag::USER);
        user.key.clear();
        user.waiting.clear();
        user.ends.clear();
        Ok(())
    }
}
