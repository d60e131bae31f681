//! What a worker's task and those of its process who wait for it share.
//!
//! With a bus it is told, too, which entries the bus has acknowledged, and in which turn of their
//! partition's seat they were published.
//!
//! Whoever waits for an event to be in the ledger asks the worker to hurry and is told when the
//! transaction that has it was committed. What is told is exact: the places of the entries that
//! were applied, of the journal that they were read from. So nobody need ask Redis how far the
//! ledger is, over and over, while a worker of the same process knows.
//!
//! Only the newest places are kept. Who comes too late for a place, or waits for one that another
//! worker applies, is told nothing and asks Redis.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use acclaim_core::Rev;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::ledger::MAX_BATCH_EVENTS;
use crate::redis::keys::Partition;

/// The newest places applied that are kept of a partition: a batch.
const KEPT_PLACES: usize = MAX_BATCH_EVENTS;

#[derive(Debug, Default)]
pub(super) struct Desk {
    owned: Mutex<BTreeMap<u16, Arc<Told>>>,
    /// The partitions that somebody asked to hurry.
    asked: Mutex<BTreeSet<u16>>,
    wake: Notify,
    stop: Notify,
}

/// What was told of a partition.
#[derive(Debug, Default)]
struct Told {
    applied: Mutex<Places<Partition>>,
    published: Mutex<Places<(Partition, u64)>>,
    more: Notify,
}

/// The newest places of one journal that something was done with, oldest first.
#[derive(Debug)]
struct Places<Of> {
    of: Option<Of>,
    places: VecDeque<Rev>,
}

impl<Of> Default for Places<Of> {
    fn default() -> Self {
        let (of, places) = (None, VecDeque::new());
        Self { of, places }
    }
}

impl<Of: Copy + PartialEq> Places<Of> {
    fn add(&mut self, of: Of, places: impl Iterator<Item = Rev>) {
        if self.of != Some(of) {
            self.of = Some(of);
            self.places.clear();
        }
        for place in places {
            // A batch may come again.
            if self.places.back().is_none_or(|last| *last < place) {
                self.places.push_back(place);
            }
        }
        let surplus = self.places.len().saturating_sub(KEPT_PLACES);
        self.places.drain(..surplus);
    }

    fn has(&self, of: Of, place: Rev) -> bool {
        self.of == Some(of) && self.places.binary_search(&place).is_ok()
    }
}

impl Desk {
    /// Says which partitions the worker owns now.
    pub fn own(&self, partitions: impl Iterator<Item = u16>) {
        let mut owned = self.owned.lock();
        let mut before = std::mem::take(&mut *owned);
        *owned = partitions
            .map(|number| (number, before.remove(&number).unwrap_or_default()))
            .collect();
    }

    /// Tells that the ledger has these entries of a journal, in their order.
    pub fn tell(&self, journal: Partition, places: impl Iterator<Item = Rev>) {
        let told = self.owned.lock().get(&journal.number).cloned();
        if let Some(told) = told {
            told.applied.lock().add(journal, places);
            told.more.notify_waiters();
        }
    }

    /// Tells that the bus has these entries of a journal, published in this turn, in their order.
    pub fn tell_published(&self, journal: Partition, turn: u64, places: impl Iterator<Item = Rev>) {
        let told = self.owned.lock().get(&journal.number).cloned();
        if let Some(told) = told {
            told.published.lock().add((journal, turn), places);
            told.more.notify_waiters();
        }
    }

    /// Takes the partitions that somebody asked to hurry.
    pub fn take_asked(&self) -> BTreeSet<u16> {
        std::mem::take(&mut *self.asked.lock())
    }

    /// Somebody asked for something.
    pub async fn asked(&self) {
        self.wake.notified().await;
    }

    /// Asks the worker to stop.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// The worker was asked to stop.
    pub async fn stopped(&self) {
        self.stop.notified().await;
    }
}

/// A way to ask the worker of this process to hurry.
#[derive(Clone, Debug)]
pub struct Hurry {
    desk: Arc<Desk>,
}

impl Hurry {
    pub(super) fn at(desk: &Arc<Desk>) -> Self {
        Self {
            desk: Arc::clone(desk),
        }
    }

    /// Has a partition drained at once. Answers whether the worker owns it; whose worker is another
    /// process's asks through Redis: [`crate::redis::connection::Redis::want_durable`].
    #[must_use]
    pub fn ask(&self, partition: u16) -> bool {
        if !self.desk.owned.lock().contains_key(&partition) {
            return false;
        }
        if self.desk.asked.lock().insert(partition) {
            self.desk.wake.notify_one();
        }
        true
    }

    /// Waits until the ledger has the event at a place of a journal. It may never be told, so the
    /// caller waits no longer than for a while, and then asks Redis.
    ///
    /// Ends at once, with `false`, where the worker does not own the partition.
    pub async fn applied(&self, journal: Partition, place: Rev) -> bool {
        let is_there = |told: &Told| told.applied.lock().has(journal, place);
        self.told(journal.number, is_there).await
    }

    /// The same for the bus, published in a turn of the partition's seat.
    pub async fn published(&self, journal: Partition, turn: u64, place: Rev) -> bool {
        let is_there = |told: &Told| told.published.lock().has((journal, turn), place);
        self.told(journal.number, is_there).await
    }

    async fn told(&self, partition: u16, is_there: impl Fn(&Told) -> bool) -> bool {
        let told = self.desk.owned.lock().get(&partition).cloned();
        let Some(told) = told else {
            return false;
        };
        loop {
            let more = told.more.notified();
            tokio::pin!(more);
            // Before the look: what is told after it wakes.
            more.as_mut().enable();
            if is_there(&told) {
                return true;
            }
            more.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const JOURNAL: Partition = Partition {
        epoch: 1,
        life: 0,
        number: 3,
    };

    fn places(range: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = Rev> {
        range.map(Rev)
    }

    #[test]
    fn only_what_was_applied_is_told() {
        let desk = Arc::new(Desk::default());
        let hurry = Hurry::at(&desk);
        assert_eq!(hurry.applied(JOURNAL, Rev(2)).now_or_never(), Some(false));
        assert!(!hurry.ask(3));
        desk.own([3].into_iter());
        assert!(hurry.ask(3));
        assert_eq!(desk.take_asked(), BTreeSet::from([3]));

        let mut waits = Box::pin(hurry.applied(JOURNAL, Rev(2)));
        assert_eq!((&mut waits).now_or_never(), None);
        desk.tell(JOURNAL, [Rev(1), Rev(3)].into_iter());
        assert_eq!((&mut waits).now_or_never(), None, "2 was not applied");
        let other = Partition { life: 1, ..JOURNAL };
        desk.tell(other, places(2..=2));
        assert_eq!((&mut waits).now_or_never(), None, "another journal");
        desk.tell(JOURNAL, places(2..=2));
        assert_eq!(waits.now_or_never(), Some(true));
        // What the bus has is another matter.
        let mut waits = Box::pin(hurry.published(JOURNAL, 4, Rev(2)));
        assert_eq!((&mut waits).now_or_never(), None);
        desk.tell_published(JOURNAL, 3, places(2..=2));
        assert_eq!((&mut waits).now_or_never(), None, "another turn");
        desk.tell_published(JOURNAL, 4, places(2..=2));
        assert_eq!(waits.now_or_never(), Some(true));
        // Who comes right after it is told too.
        assert_eq!(hurry.applied(JOURNAL, Rev(2)).now_or_never(), Some(true));
    }

    #[test]
    fn the_newest_places_are_kept() {
        let most = KEPT_PLACES as u64;
        let mut applied = Places::default();
        applied.add(JOURNAL, places(1..=most));
        applied.add(JOURNAL, places(most..=most + 1));
        assert_eq!(applied.places.len(), KEPT_PLACES);
        assert!(!applied.has(JOURNAL, Rev(1)));
        assert!(applied.has(JOURNAL, Rev(2)) && applied.has(JOURNAL, Rev(most + 1)));
    }
}
