//! Reading what a piece of the log will need before it is replayed.
//!
//! One look-up after the other keeps the replay waiting and a core idle. So a thread of its own
//! gathers which records the next piece will need, sorts them, so that neighbours are read from one
//! block, and reads them from the base, which does not change meanwhile. What is replayed is the
//! same with and without: this fills the workspace with what it would have read by itself.

use acclaim_core::ReadError;

use super::{TargetWork, UserWork, Workspace};
use crate::embedded::key::{EdgeRef, TargetRef, UserRef};
use crate::embedded::record::{TargetRecord, UserRecord};
use crate::embedded::view::View;

/// Records as the base has them, in key order.
pub struct Prefetched {
    targets: Vec<(TargetRef, TargetRecord)>,
    users: Vec<(UserRef, UserRecord)>,
}

impl Prefetched {
    /// Reads the records of the targets and users of `edges` from the base.
    pub fn read<'e>(
        view: &View,
        edges: impl Iterator<Item = &'e EdgeRef> + Clone,
    ) -> Result<Self, ReadError> {
        let targets = sorted(edges.clone().map(EdgeRef::target_ref)).into_iter();
        let users = sorted(edges.map(EdgeRef::user_ref)).into_iter();
        Ok(Self {
            targets: targets
                .map(|target| Ok((target.clone(), view.base_target(&target)?)))
                .collect::<Result<_, ReadError>>()?,
            users: users
                .map(|user| Ok((user.clone(), view.base_user(&user)?)))
                .collect::<Result<_, ReadError>>()?,
        })
    }
}

impl Workspace<'_> {
    /// Takes in what was read ahead, where no delta knows better.
    pub fn bring_in(&mut self, prefetched: Prefetched) {
        for (target, in_base) in prefetched.targets {
            let record = self.view.target_in_deltas(&target).unwrap_or(in_base);
            self.targets.insert(target, TargetWork::new(record));
        }
        for (user, in_base) in prefetched.users {
            let record = self.view.user_in_deltas(&user).unwrap_or(in_base);
            let work = UserWork {
                record,
                ..UserWork::default()
            };
            self.users.insert(user, work);
        }
    }
}

fn sorted<K: Ord>(keys: impl Iterator<Item = K>) -> Vec<K> {
    let mut keys: Vec<K> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
