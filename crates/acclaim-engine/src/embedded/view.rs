//! A view: the active delta, the sealed one if there is one, and the base under them.
//!
//! Every read holds one view from its first look-up to its last, so a checkpoint that ends
//! meanwhile cannot hide or double anything.

use std::sync::Arc;

use acclaim_core::{EdgeState, Id, ReadError, Rev};

use super::base::BaseSnapshot;
use super::codec::Damaged;
use super::delta::{Delta, TargetDelta};
use super::key::{EdgeRef, Key, TargetRef, UserRef};
use super::record::{TargetRecord, UserRecord, decode_edge};

/// Notes that are read from a delta in one go at least.
const NOTES_AT_LEAST: usize = 64;

/// What a read looks at.
pub struct View {
    /// Written by the lane.
    pub active: Arc<Delta>,
    /// Being moved into the base.
    pub sealed: Option<Arc<Delta>>,
    /// The tables under them.
    pub base: Arc<BaseSnapshot>,
}

impl From<Damaged> for ReadError {
    fn from(damaged: Damaged) -> Self {
        Self::Store(damaged.to_string())
    }
}

impl View {
    /// The deltas, newest first.
    pub fn deltas(&self) -> impl Iterator<Item = &Arc<Delta>> {
        std::iter::once(&self.active).chain(&self.sealed)
    }

    /// An edge's state.
    pub fn edge(&self, edge: &EdgeRef) -> Result<EdgeState, ReadError> {
        match self.deltas().find_map(|delta| delta.edge(edge)) {
            Some(cell) => Ok(cell.state),
            None => self.base_edge(edge),
        }
    }

    /// An edge's state in the base.
    pub fn base_edge(&self, edge: &EdgeRef) -> Result<EdgeState, ReadError> {
        match self.base.get(&edge.key())? {
            Some(bytes) => Ok(decode_edge(&bytes)?),
            None => Ok(EdgeState::default()),
        }
    }

    /// Whether an edge's state in the base is out of date.
    pub fn overrides_base(&self, edge: &EdgeRef) -> bool {
        self.deltas().any(|delta| delta.edge(edge).is_some())
    }

    /// An edge and its target's count, as they were at one moment.
    pub fn status(&self, edge: &EdgeRef) -> Result<(EdgeState, u64), ReadError> {
        self.status_over(edge, |edge| self.base_edge(edge))
    }

    /// As [`View::status`], for one who knows a faster way to the base.
    pub fn status_over(
        &self,
        edge: &EdgeRef,
        base_edge: impl FnOnce(&EdgeRef) -> Result<EdgeState, ReadError>,
    ) -> Result<(EdgeState, u64), ReadError> {
        let target = edge.target_ref();
        let (mut count, mut state) = (None, None);
        for delta in self.deltas() {
            let shard = delta.target_shard(&target);
            let Some((known, cell)) = shard.target_and_edge(&target, &edge.user) else {
                continue;
            };
            count = count.or(Some(known.record.count));
            state = cell.map(|cell| cell.state);
            if state.is_some() {
                break;
            }
        }
        let state = match state {
            Some(state) => state,
            None => base_edge(edge)?,
        };
        let count = match count {
            Some(count) => count,
            None => self.base_count(&target)?.0,
        };
        Ok((state, count))
    }

    fn base_count(&self, target: &TargetRef) -> Result<(u64, Rev), ReadError> {
        match self.base.head(&target.key())? {
            Some(head) => Ok(TargetRecord::decode_count(head.bytes())?),
            None => Ok((0, Rev::ZERO)),
        }
    }

    fn in_deltas<T>(&self, target: &TargetRef, read: impl Fn(&TargetDelta) -> T) -> Option<T> {
        self.deltas()
            .find_map(|delta| delta.target_shard(target).target(target).map(&read))
    }

    /// A target's count and the journal place of its last transition.
    pub fn count(&self, target: &TargetRef) -> Result<(u64, Rev), ReadError> {
        match self.in_deltas(target, |known| (known.record.count, known.record.rev)) {
            Some(found) => Ok(found),
            None => self.base_count(target),
        }
    }

    /// A target's record and one of its edges, as they were at one moment.
    pub fn target_and_edge(&self, edge: &EdgeRef) -> Result<(TargetRecord, EdgeState), ReadError> {
        let target = edge.target_ref();
        let (mut record, mut state) = (None, None);
        for delta in self.deltas() {
            let shard = delta.target_shard(&target);
            let Some((known, cell)) = shard.target_and_edge(&target, &edge.user) else {
                continue;
            };
            if record.is_none() {
                record = Some(known.record.clone());
            }
            state = cell.map(|cell| cell.state);
            if state.is_some() {
                break;
            }
        }
        let state = match state {
            Some(state) => state,
            None => self.base_edge(edge)?,
        };
        let record = match record {
            Some(record) => record,
            None => self.base_target(&target)?,
        };
        Ok((record, state))
    }

    /// A target's record.
    pub fn target(&self, target: &TargetRef) -> Result<TargetRecord, ReadError> {
        match self.target_in_deltas(target) {
            Some(record) => Ok(record),
            None => self.base_target(target),
        }
    }

    /// A target's record, if a delta has it.
    pub fn target_in_deltas(&self, target: &TargetRef) -> Option<TargetRecord> {
        self.in_deltas(target, |known| known.record.clone())
    }

    /// A target's record in the base.
    pub fn base_target(&self, target: &TargetRef) -> Result<TargetRecord, ReadError> {
        match self.base.get(&target.key())? {
            Some(bytes) => Ok(TargetRecord::decode(&bytes)?),
            None => Ok(TargetRecord::default()),
        }
    }

    /// A user's record.
    pub fn user(&self, user: &UserRef) -> Result<UserRecord, ReadError> {
        match self.user_in_deltas(user) {
            Some(record) => Ok(record),
            None => self.base_user(user),
        }
    }

    /// A user's record, if a delta has it.
    pub fn user_in_deltas(&self, user: &UserRef) -> Option<UserRecord> {
        self.deltas()
            .find_map(|delta| delta.with_user(user, |known| known.record.clone()))
    }

    /// A user's record in the base.
    pub fn base_user(&self, user: &UserRef) -> Result<UserRecord, ReadError> {
        match self.base.get(&user.key())? {
            Some(bytes) => Ok(UserRecord::decode(&bytes)?),
            None => Ok(UserRecord::default()),
        }
    }

    /// A note.
    pub fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        match self.deltas().find_map(|delta| delta.note(key)) {
            Some(note) => Ok(note),
            None => Ok(self.base.get(key)?.map(|bytes| bytes.to_vec())),
        }
    }

    /// All notes whose keys begin with `prefix`, in key order.
    pub fn notes(&self, prefix: &[u8]) -> Result<Vec<(Key, Vec<u8>)>, ReadError> {
        let mut found = std::collections::BTreeMap::new();
        for record in self.base.prefix(prefix) {
            let (key, value) = record?;
            found.insert(key.to_vec(), Some(value.to_vec()));
        }
        for delta in self.sealed.iter().chain([&self.active]) {
            found.extend(delta.notes(prefix));
        }
        Ok(found
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect())
    }

    /// Up to `max` notes whose keys begin with `prefix` and come after `after`, in key order.
    pub fn notes_after(
        &self,
        prefix: &[u8],
        after: &[u8],
        max: usize,
    ) -> Result<Vec<(Key, Vec<u8>)>, ReadError> {
        let mut out = Vec::new();
        let mut after = after.to_vec();
        loop {
            // What the deltas hold of the next stretch; it ends where the first of them was cut.
            let part = (max - out.len()).saturating_add(NOTES_AT_LEAST);
            let mut newer = std::collections::BTreeMap::new();
            let mut end: Option<Key> = None;
            for delta in self.sealed.iter().chain([&self.active]) {
                let notes = delta.notes_after(prefix, &after, part);
                if let (true, Some((last, _))) = (notes.len() == part, notes.last()) {
                    end = Some(end.map_or(last.clone(), |end: Key| end.min(last.clone())));
                }
                newer.extend(notes);
            }
            let is_inside = |key: &[u8]| end.as_deref().is_none_or(|end| key <= end);
            let mut newer = newer
                .into_iter()
                .filter(|(key, _)| is_inside(key))
                .peekable();
            let mut older = self.base.prefix_after(prefix, &after).peekable();
            while out.len() < max {
                let below = match older.peek() {
                    Some(Ok((key, _))) if is_inside(key) => Some(key.to_vec()),
                    Some(Err(error)) => return Err(error.clone()),
                    _ => None,
                };
                let above = newer.peek().map(|(key, _)| key.clone());
                match (above, below) {
                    (None, None) => break,
                    (Some(above), below) if below.as_ref().is_none_or(|below| above <= *below) => {
                        if below == Some(above) {
                            older.next();
                        }
                        if let Some((key, Some(value))) = newer.next() {
                            out.push((key, value));
                        }
                    }
                    _ => {
                        if let Some(record) = older.next() {
                            let (key, value) = record?;
                            out.push((key.to_vec(), value.to_vec()));
                        }
                    }
                }
            }
            match end {
                Some(end) if out.len() < max => after = end,
                _ => return Ok(out),
            }
        }
    }

    /// Whether `user` does it to `target`, both users.
    pub fn does(
        &self,
        kind: u8,
        user: &Id,
        target_type: u16,
        target: &Id,
    ) -> Result<bool, ReadError> {
        let edge = EdgeRef {
            kind,
            user: user.clone(),
            target_type,
            target: target.clone(),
        };
        Ok(self.edge(&edge)?.active)
    }
}
