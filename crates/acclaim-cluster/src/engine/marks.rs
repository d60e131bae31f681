//! Telling readers of a user's side where the user wrote, and asking.
//!
//! A mark lives [`MARK_SECONDS`] in Redis. This node writes it again when it is half as old, so a
//! user who writes on and on costs one small call now and then.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use acclaim_core::Id;
use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::shared::Shared;
use crate::redis::error::RedisError;

/// How long a mark lives in Redis, in seconds. An event is in the ledger long before, or the
/// backlog is so long that a read would not wait for its end anyway.
pub const MARK_SECONDS: u64 = 60;
/// A generation of what this node marked; there are two, so a mark is written again after 15 to
/// 30 s.
const GENERATION: Duration = Duration::from_secs(15);
/// Marks of one generation that are remembered; more make it end early.
const MAX_REMEMBERED_MARKS: usize = 50_000;

/// What this node marked lately.
#[derive(Default)]
pub struct Marks(Mutex<Remembered>);

struct Remembered {
    young: HashSet<(Id, u16)>,
    old: HashSet<(Id, u16)>,
    since: Instant,
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            young: HashSet::new(),
            old: HashSet::new(),
            since: Instant::now(),
        }
    }
}

impl Remembered {
    fn age(&mut self) {
        let age = self.since.elapsed();
        if age < GENERATION && self.young.len() < MAX_REMEMBERED_MARKS {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        if age >= 2 * GENERATION {
            self.old.clear();
        }
        self.since = Instant::now();
    }

    fn has(&self, mark: &(Id, u16)) -> bool {
        self.young.contains(mark) || self.old.contains(mark)
    }
}

impl Shared {
    /// Marks what is not marked yet.
    pub async fn mark(&self, marks: HashSet<(Id, u16)>) -> Result<(), RedisError> {
        let mut homes: BTreeMap<u16, Vec<(Id, u16)>> = BTreeMap::new();
        {
            let mut remembered = self.marks.0.lock();
            remembered.age();
            for mark in marks {
                if !remembered.has(&mark) {
                    homes.entry(self.home(&mark.0)).or_default().push(mark);
                }
            }
        }
        let calls = homes.into_iter().map(|(home, marks)| async move {
            let home = self.partition(home);
            self.redis.mark(home, MARK_SECONDS, &marks).await?;
            self.marks.0.lock().young.extend(marks);
            Ok::<(), RedisError>(())
        });
        try_join_all(calls).await.map(|_| ())
    }

    /// The partitions in which a user wrote lately.
    pub async fn marked(&self, user: &Id) -> Result<Vec<u16>, RedisError> {
        let home = self.partition(self.home(user));
        let mut marked = self.redis.marked(home, user).await?;
        marked.retain(|number| *number < self.store.partitions);
        Ok(marked)
    }
}
