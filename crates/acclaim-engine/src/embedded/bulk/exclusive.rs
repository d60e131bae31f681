//! Kinds that exclude one another: their lines meet at a user and a target, whatever the kind.
//!
//! Such lines cannot be decided in the order of edges, where a kind comes after the other. So they
//! are sorted by user and target first and decided there, in the order of the lines, by the one
//! rule. What comes out are transitions, on their way to be sorted with all others.

use std::path::Path;

use acclaim_core::edge::decide;
use acclaim_core::{Action, EdgeKey, EdgeState, KindId, Kinds, Op, Rev};
use smallvec::SmallVec;

use super::super::codec::Damaged;
use super::super::dictionary::Dictionary;
use super::super::key::{EdgeBytes, EdgeRef, Key, KindNo, TypeNo, put_edge_key};
use super::BulkError;
use super::line::{Line, Step};
use super::sorter::Sorter;
use super::sources::Sources;

/// For each kind by its stored number, the family that it belongs to, named by one of its kinds.
#[derive(Clone, Debug)]
pub struct Families([Option<KindNo>; 256]);

impl Families {
    /// The families of these kinds: those that exclude one another, directly or through others.
    pub fn of(kinds: &Kinds, dictionary: &Dictionary) -> Self {
        let mut families = [None; 256];
        let pairs = kinds.iter().flat_map(|(id, _)| {
            let others = kinds.excluded_by(id).iter();
            others.map(move |other| (dictionary.kind(id), dictionary.kind(*other)))
        });
        for (one, other) in pairs {
            let [one, other] = [one, other].map(|kind| (kind, families[usize::from(kind)]));
            let (name, old) = (one.1.unwrap_or(one.0), other.1.unwrap_or(other.0));
            for (kind, family) in families.iter_mut().enumerate() {
                let is_one = kind == usize::from(one.0) || kind == usize::from(other.0);
                if is_one || *family == Some(old) {
                    *family = Some(name);
                }
            }
        }
        Self(families)
    }

    /// The family of a kind, if it has one.
    pub fn of_kind(&self, kind: KindNo) -> Option<KindNo> {
        self.0[usize::from(kind)]
    }
}

/// Lines of kinds that exclude others.
pub struct Exclusive {
    sorter: Sorter,
    key: Key,
    value: Vec<u8>,
}

impl Exclusive {
    /// Without lines. Uses up to twice `chunk_bytes` of memory.
    pub fn new(dir: &Path, chunk_bytes: usize) -> Self {
        Self {
            sorter: Sorter::new(dir, chunk_bytes),
            key: Key::new(),
            value: Vec::new(),
        }
    }

    /// Lines taken.
    pub fn records(&self) -> u64 {
        self.sorter.records()
    }

    /// Takes a line.
    pub fn push(
        &mut self,
        family: KindNo,
        edge: &EdgeKey,
        target_type: TypeNo,
        line: Line,
    ) -> Result<(), BulkError> {
        self.key.clear();
        let target = &edge.target.id;
        put_edge_key(&mut self.key, family, &edge.user, target_type, target);
        self.value.clear();
        self.value.push(edge.kind.0);
        line.put(&mut self.value);
        Ok(self.sorter.push(&self.key, &self.value)?)
    }

    /// Decides all lines. The transitions go to `transitions` under the keys of their edges.
    pub fn decide(
        self,
        kinds: &Kinds,
        dictionary: &Dictionary,
        sources: &mut Sources,
        transitions: &mut Sorter,
    ) -> Result<(), BulkError> {
        let mut merge = self.sorter.merge()?;
        let mut meeting: Option<Meeting> = None;
        while merge.advance()? {
            let meeting = match &mut meeting {
                Some(meeting) if meeting.key == merge.key() => meeting,
                before => before.insert(Meeting::at(merge.key(), dictionary)?),
            };
            let (kind, line) = merge.value().split_at_checked(1).ok_or(NO_KIND)?;
            let (kind, line) = (KindId(kind[0]), Line::read(line)?);
            let changed = meeting.set(kind, line, kinds, dictionary, transitions)?;
            if !changed {
                sources.unchanged(line.seq);
            }
        }
        Ok(())
    }
}

const NO_KIND: Damaged = Damaged("a line has no kind");

/// A user and a target, and how the edges between them stand.
struct Meeting {
    key: Key,
    op: Op,
    states: SmallVec<[(KindId, EdgeState); 2]>,
}

impl Meeting {
    fn at(key: &[u8], dictionary: &Dictionary) -> Result<Self, BulkError> {
        let edge = EdgeRef::from_key(key)?;
        let edge = dictionary.edge_key(&edge).ok_or(NO_KIND)?;
        Ok(Self {
            key: key.to_vec(),
            op: Op::new(Action::Set, edge),
            states: SmallVec::new(),
        })
    }

    fn state(&self, kind: KindId) -> EdgeState {
        let known = self.states.iter().find(|(known, _)| *known == kind);
        known.map_or_else(EdgeState::default, |(_, state)| *state)
    }

    fn put(&mut self, kind: KindId, state: EdgeState) {
        match self.states.iter_mut().find(|(known, _)| *known == kind) {
            Some(known) => known.1 = state,
            None => self.states.push((kind, state)),
        }
    }

    /// Decides a line. Answers whether it changed anything.
    fn set(
        &mut self,
        kind: KindId,
        line: Line,
        kinds: &Kinds,
        dictionary: &Dictionary,
        transitions: &mut Sorter,
    ) -> Result<bool, BulkError> {
        self.op.edge.kind = kind;
        self.op.at = line.at;
        let excluded = kinds.excluded_by(kind).iter();
        let excluded: SmallVec<[_; 2]> = excluded.map(|id| (*id, self.state(*id))).collect();
        // The line's place was given when it was read.
        let last = Rev(line.seq.0 - 1);
        let changes = decide(&self.op, self.state(kind), &excluded, last, line.seq);
        let (mut key, mut value) = (Key::new(), Vec::new());
        for change in &changes {
            self.put(change.kind, change.after);
            key.clear();
            EdgeBytes::of_key(&self.key)?.put_key(dictionary.kind(change.kind), &mut key);
            value.clear();
            let (seq, after) = (change.seq, change.after);
            Step { seq, after }.put(&mut value);
            transitions.push(&key, &value)?;
        }
        Ok(!changes.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use acclaim_core::Kind;

    use super::*;

    #[test]
    fn families_reach_through_others() {
        let kind = |name: &str, excludes: &[&str]| Kind {
            excludes: excludes.iter().map(|name| (*name).into()).collect(),
            ..Kind::open(name)
        };
        let configured = [
            kind("a", &["b"]),
            kind("b", &[]),
            kind("c", &["d"]),
            kind("d", &[]),
            kind("e", &["b", "d"]),
            kind("f", &["g"]),
            kind("g", &[]),
        ];
        let kinds = Kinds::new(configured).unwrap();
        let dictionary = Dictionary::numbered(&kinds);
        let families = Families::of(&kinds, &dictionary);
        let of = |name: &str| families.of_kind(dictionary.kind(kinds.find(name).unwrap()));
        assert_eq!(of("likes"), None);
        let one = of("a");
        assert!(one.is_some());
        for name in ["b", "c", "d", "e"] {
            assert_eq!(of(name), one, "{name}");
        }
        assert!(of("f").is_some() && of("f") == of("g") && of("f") != one);
    }
}
