//! Who did it to a target: the newest from Redis, the rest from the ledger, without a seam.
//!
//! Redis has the whole list of a small target, and a contiguous beginning of a larger one's. What
//! lies beyond it was in the ledger before it was cut off; the ledger is read after it has every
//! transition of the target that Redis knew of, so what Redis has moved or unset since is gone
//! from there too. An edge that does not change meanwhile is in one of both parts, once.

use std::sync::Arc;

use acclaim_core::page::{Entry, Position};
use acclaim_core::port::{Count, Listing, Status};
use acclaim_core::{Id, Page, ReadError, Start, TargetKey};
use tokio::time::Instant;

use super::errors::read_error;
use super::names::target_ref;
use super::shared::Shared;
use crate::ledger::Ledger;
use crate::redis::keys::TargetName;
use crate::redis::list::{MAX_LIST_ENTRIES, Newest};

/// What share of a large target's edges Redis keeps in its list: one of so many.
const LIST_SHARE: u64 = 8;

impl Shared {
    /// See [`acclaim_core::port::Reads::users`].
    pub async fn users(
        self: &Arc<Self>,
        target: &TargetKey,
        start: &Start<Id>,
        size: usize,
    ) -> Result<Listing<Id>, ReadError> {
        let Some(name) = self.known_target(target).await? else {
            return Ok(Listing {
                page: cut(Vec::new(), size),
                total: 0,
            });
        };
        match self.newest(&name).await? {
            Newest::Whole(count, entries) => Ok(Listing {
                page: cut(after(entries, start), size),
                total: count.count,
            }),
            Newest::Beginning(count, entries) => {
                self.from_beginning(&name, count, entries, start, size)
                    .await
            }
            Newest::Missing(count) => {
                if self.wait_for(&name, count).await? {
                    self.gather(&name, count, start).await?;
                }
                let ledger = self.ledger_of_list(&name, count).await;
                let found = ledger.users_of(&target_ref(&name), start, size).await;
                Ok(Listing {
                    page: found.map_err(read_error)?.page,
                    total: count.count,
                })
            }
            Newest::Cold(_) => Err(read_error("what was loaded is cold again and again")),
        }
    }

    /// What Redis knows of a list, loading what is cold.
    async fn newest(self: &Arc<Self>, name: &TargetName) -> Result<Newest, ReadError> {
        let number = name.partition(self.store.partitions);
        let end = Instant::now() + self.limits.load_wait_max();
        loop {
            let newest = self.redis.newest(self.partition(number), name).await;
            match newest.map_err(read_error)? {
                Newest::Cold(cold) if Instant::now() < end => {
                    let loaded = self.load_all([(number, cold)]).await;
                    loaded.map_err(read_error)?;
                }
                newest => return Ok(newest),
            }
        }
    }

    async fn from_beginning(
        self: &Arc<Self>,
        name: &TargetName,
        count: Count,
        entries: Vec<Entry<Id>>,
        start: &Start<Id>,
        size: usize,
    ) -> Result<Listing<Id>, ReadError> {
        let total = count.count;
        let known = entries.len();
        let last = entries.last().map(Entry::position);
        let mut page = after(entries, start);
        let is_all = known as u64 >= total;
        if is_all || page.len() > size {
            return Ok(Listing {
                page: cut(page, size),
                total,
            });
        }
        let is_whole = self.wait_for(name, count).await?;
        // Where to go on in the ledger: after what is known, but never before what was asked for.
        let (skip, position) = match start {
            Start::Offset(skip) => (skip.saturating_sub(known), last),
            Start::After(position) if page.is_empty() => (0, Some(position.clone())),
            Start::After(_) => (0, last),
        };
        let more = skip + size + 1 - page.len();
        let start = position.map_or_else(Start::top, Start::After);
        let ledger = self.ledger_of_list(name, count).await;
        let rest = ledger.users_of(&target_ref(name), &start, more).await;
        let mut rest = rest.map_err(read_error)?.page.entries;
        if !is_whole {
            rest = self.standing(name, rest).await?;
        }
        page.extend(rest.into_iter().skip(skip));
        Ok(Listing {
            page: cut(page, size),
            total,
        })
    }

    /// Puts the newest entries of a large target into Redis, for those who come next.
    async fn gather(
        &self,
        name: &TargetName,
        count: Count,
        start: &Start<Id>,
    ) -> Result<(), ReadError> {
        if !matches!(start, Start::Offset(_)) {
            return Ok(());
        }
        let share = usize::try_from(count.count / LIST_SHARE).unwrap_or(MAX_LIST_ENTRIES);
        let most = share.min(MAX_LIST_ENTRIES);
        let top = Start::top();
        let newest = self.ledger.users_of(&target_ref(name), &top, most).await;
        let newest = newest.map_err(read_error)?.page.entries;
        let partition = self.partition(name.partition(self.store.partitions));
        let keep = self.limits.keep();
        let installed = self
            .redis
            .install_newest(partition, name, count, &newest, keep)
            .await;
        // A cache: the answer does not need it.
        if let Err(error) = installed {
            tracing::warn!(%error, target = %name, "a list could not be cached");
        }
        Ok(())
    }

    /// Those of the ledger's entries that Redis has as they are: for a ledger that is behind.
    async fn standing(
        self: &Arc<Self>,
        name: &TargetName,
        entries: Vec<Entry<Id>>,
    ) -> Result<Vec<Entry<Id>>, ReadError> {
        let wanted = entries.iter();
        let wanted = wanted.map(|entry| Some((name.clone(), Some(entry.key.clone()))));
        let found = self.look_up(wanted.collect()).await?;
        let pairs = entries.into_iter().zip(found);
        let stands = |(entry, (status, _)): (Entry<Id>, (Status, Count))| {
            (status.edge.active && status.edge.rev == entry.at).then_some(entry)
        };
        Ok(pairs.filter_map(stands).collect())
    }

    /// Where to read the list of a target that has changed last at its count's place.
    async fn ledger_of_list(&self, name: &TargetName, count: Count) -> Ledger {
        let number = name.partition(self.store.partitions);
        self.ledger_at(number, count.rev).await
    }

    /// Waits until the ledger has the target's last transition. Answers whether it has.
    async fn wait_for(&self, name: &TargetName, count: Count) -> Result<bool, ReadError> {
        let number = name.partition(self.store.partitions);
        let waited = self.ledger_has_place(number, count.rev).await;
        waited.map_err(read_error)
    }
}

/// The entries from `start` on.
fn after(mut entries: Vec<Entry<Id>>, start: &Start<Id>) -> Vec<Entry<Id>> {
    let skip = match start {
        Start::Offset(skip) => (*skip).min(entries.len()),
        Start::After(position) => {
            entries.partition_point(|entry| !Position::is_before(position, entry.at, &entry.key))
        }
    };
    entries.drain(..skip);
    entries
}

/// A page of at most `size`, and where to go on if there were more.
fn cut(mut entries: Vec<Entry<Id>>, size: usize) -> Page<Id> {
    let more = entries.len() > size;
    entries.truncate(size);
    let next = entries.last().filter(|_| more).map(Entry::position);
    Page { entries, next }
}
