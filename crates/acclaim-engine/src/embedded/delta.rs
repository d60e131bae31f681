//! The delta: what happened since the base, in memory.
//!
//! The lane publishes into the active delta what is durable in the log, and only that. When it is
//! full it is sealed, never changes again, and is moved into the base. Readers look into the active
//! delta, then the sealed one, then the base.
//!
//! It is split into shards by the hash of the target and of the user. A shard is locked for the
//! time of a few hash operations, never across a commit, so readers wait for no disk. All edges of
//! a target and its count lie in one shard and change under one lock: a reader sees them together.
//!
//! Invariants: a target's record is here if any of its edges is; likewise a user's; a cell's `base`
//! is the edge's state in whatever lies under this delta.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};

use acclaim_core::{EdgeState, Id, Rev};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use indexmap::IndexMap;
use parking_lot::{RwLock, RwLockReadGuard};

use super::key::{EdgeRef, Key, TargetRef, TypeNo, UserRef};
use super::record::{TargetRecord, UserRecord};
use super::timeline::Timeline;

const SHARDS: usize = 64;
const HASH: FixedState = FixedState::with_seed(0x5EED_ACC1);
/// Edges for which room is made for one target; more targets than that make room as they come.
const EDGES_A_TARGET: usize = 4;

/// The slot of a target in its shard.
type Slot = u32;

/// An edge as this delta knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeCell {
    /// Its state now.
    pub state: EdgeState,
    /// Its state under this delta.
    pub base: EdgeState,
}

/// A target as this delta knows it.
#[derive(Clone, Debug, Default)]
pub struct TargetDelta {
    /// Its record now.
    pub record: TargetRecord,
    /// Its active edges that are in this delta.
    pub list: Timeline<Id>,
}

/// The targets of a shard and their edges.
#[derive(Default)]
pub struct TargetShard {
    targets: IndexMap<TargetRef, TargetDelta, FixedState>,
    edges: HashMap<(Slot, Id), EdgeCell, FixedState>,
}

/// What the user's side calls a target: its type and id.
pub type TypedId = (TypeNo, Id);

/// A user as this delta knows them.
#[derive(Clone, Debug, Default)]
pub struct UserDelta {
    /// Their record now.
    pub record: UserRecord,
    /// Their active edges that are in this delta.
    pub list: Timeline<TypedId>,
}

type UserShard = IndexMap<UserRef, UserDelta, FixedState>;

/// What happened since the base.
pub struct Delta {
    targets: Vec<RwLock<TargetShard>>,
    users: Vec<RwLock<UserShard>>,
    notes: RwLock<BTreeMap<Key, Option<Vec<u8>>>>,
    size: AtomicUsize,
}

/// An edge of a target that changed in a commit.
#[derive(Clone, Debug)]
pub struct EdgeChange {
    /// The user.
    pub user: Id,
    /// The state before the commit.
    pub before: EdgeState,
    /// The state after it.
    pub after: EdgeState,
}

impl Default for Delta {
    fn default() -> Self {
        Self::with_room_for(0)
    }
}

fn shard_of(key: &impl std::hash::Hash) -> usize {
    (HASH.hash_one(key) >> 32) as usize % SHARDS
}

impl TargetShard {
    /// A target, if this delta knows it.
    pub fn target(&self, target: &TargetRef) -> Option<&TargetDelta> {
        self.targets.get(target)
    }

    /// A target and one of its edges, as far as this delta knows them.
    pub fn target_and_edge(
        &self,
        target: &TargetRef,
        user: &Id,
    ) -> Option<(&TargetDelta, Option<EdgeCell>)> {
        let (slot, _, known) = self.targets.get_full(target)?;
        Some((
            known,
            self.edges.get(&(slot as Slot, user.clone())).copied(),
        ))
    }

    /// An edge, if this delta knows it.
    pub fn edge(&self, target: &TargetRef, user: &Id) -> Option<EdgeCell> {
        self.target_and_edge(target, user)?.1
    }

    /// The targets, in no order.
    pub fn targets(&self) -> impl Iterator<Item = (&TargetRef, &TargetDelta)> {
        self.targets.iter()
    }

    /// The edges, in no order.
    pub fn edges(&self) -> impl Iterator<Item = (EdgeRef, EdgeCell)> {
        self.edges.iter().filter_map(|((slot, user), cell)| {
            let (target, _) = self.targets.get_index(*slot as usize)?;
            let edge = EdgeRef {
                kind: target.kind,
                user: user.clone(),
                target_type: target.target_type,
                target: target.id.clone(),
            };
            Some((edge, *cell))
        })
    }
}

impl Delta {
    /// An empty delta that takes `edges` without moving what it holds. Room that is not used costs
    /// addresses, not memory.
    pub fn with_room_for(edges: usize) -> Self {
        let room = edges.div_ceil(SHARDS);
        let targets = || {
            RwLock::new(TargetShard {
                targets: IndexMap::with_capacity_and_hasher(room / EDGES_A_TARGET, HASH),
                edges: HashMap::with_capacity_and_hasher(room, HASH),
            })
        };
        let users = || RwLock::new(IndexMap::with_capacity_and_hasher(room, HASH));
        Self {
            targets: (0..SHARDS).map(|_| targets()).collect(),
            users: (0..SHARDS).map(|_| users()).collect(),
            notes: RwLock::default(),
            size: AtomicUsize::new(0),
        }
    }

    /// Empties it and keeps its room.
    pub fn clear(&mut self) {
        for shard in &mut self.targets {
            let TargetShard { targets, edges } = shard.get_mut();
            targets.clear();
            edges.clear();
        }
        for users in &mut self.users {
            users.get_mut().clear();
        }
        self.notes.get_mut().clear();
        *self.size.get_mut() = 0;
    }

    /// How much was put into it: edges that changed, once a commit, and records and notes that
    /// changed by themselves. Bounds the memory, and the log that a start has to replay.
    pub fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// The shard of a target, for reading.
    pub fn target_shard(&self, target: &TargetRef) -> RwLockReadGuard<'_, TargetShard> {
        self.targets[shard_of(target)].read()
    }

    /// All target shards, for reading one after the other.
    pub fn target_shards(&self) -> impl Iterator<Item = RwLockReadGuard<'_, TargetShard>> {
        self.targets.iter().map(|shard| shard.read())
    }

    /// Runs `read` on a user, if this delta knows them.
    pub fn with_user<T>(&self, user: &UserRef, read: impl FnOnce(&UserDelta) -> T) -> Option<T> {
        self.users[shard_of(user)].read().get(user).map(read)
    }

    /// Runs `visit` on every user, in no order.
    pub fn each_user(&self, mut visit: impl FnMut(&UserRef, &UserDelta)) {
        for shard in &self.users {
            shard
                .read()
                .iter()
                .for_each(|(user, delta)| visit(user, delta));
        }
    }

    /// An edge, if this delta knows it.
    pub fn edge(&self, edge: &EdgeRef) -> Option<EdgeCell> {
        let target = edge.target_ref();
        self.target_shard(&target).edge(&target, &edge.user)
    }

    /// A note, if this delta knows it; the inner `None` is a removed one.
    pub fn note(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        self.notes.read().get(key).cloned()
    }

    /// The notes whose keys begin with `prefix`, removed ones too.
    pub fn notes(&self, prefix: &[u8]) -> Vec<(Key, Option<Vec<u8>>)> {
        let notes = self.notes.read();
        let from = notes.range(prefix.to_vec()..);
        let found = from.take_while(|(key, _)| key.starts_with(prefix));
        found
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Up to `max` of the notes whose keys begin with `prefix` and come after `after`.
    pub fn notes_after(
        &self,
        prefix: &[u8],
        after: &[u8],
        max: usize,
    ) -> Vec<(Key, Option<Vec<u8>>)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = if after >= prefix {
            Excluded(after.to_vec())
        } else {
            Included(prefix.to_vec())
        };
        let notes = self.notes.read();
        let found = notes.range((from, Unbounded));
        let found = found
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(max);
        found
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Publishes a target's record and those of its edges that changed.
    pub fn put_target(&self, target: &TargetRef, record: TargetRecord, changes: &[EdgeChange]) {
        let mut shard = self.targets[shard_of(target)].write();
        let TargetShard { targets, edges } = &mut *shard;
        let entry = targets.entry(target.clone());
        let slot = entry.index() as Slot;
        let known = entry.or_default();
        known.record = record;
        for change in changes {
            if change.before.active {
                known.list.remove(change.before.rev, &change.user);
            }
            if change.after.active {
                known.list.insert(change.after.rev, change.user.clone());
            }
            let cell = EdgeCell {
                state: change.after,
                base: change.before,
            };
            edges
                .entry((slot, change.user.clone()))
                .and_modify(|known| known.state = change.after)
                .or_insert(cell);
        }
        drop(shard);
        self.size.fetch_add(changes.len().max(1), Ordering::Relaxed);
    }

    /// Publishes a user's record and their list's changes: what was active before a commit and what
    /// is after it.
    pub fn put_user(
        &self,
        user: &UserRef,
        record: UserRecord,
        removed: &[(Rev, TypedId)],
        added: &[(Rev, TypedId)],
    ) {
        let mut shard = self.users[shard_of(user)].write();
        let known = shard.entry(user.clone()).or_default();
        known.record = record;
        for (rev, target) in removed {
            known.list.remove(*rev, target);
        }
        for (rev, target) in added {
            known.list.insert(*rev, target.clone());
        }
        drop(shard);
        if removed.is_empty() && added.is_empty() {
            self.size.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Publishes a note, or its removal.
    pub fn put_note(&self, key: Key, value: Option<Vec<u8>>) {
        self.notes.write().insert(key, value);
        self.size.fetch_add(1, Ordering::Relaxed);
    }
}
