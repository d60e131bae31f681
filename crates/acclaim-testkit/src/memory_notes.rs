//! Notes in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use acclaim_core::notify::erase::{self, Erased, Look};
use acclaim_core::notify::{Batch, CommitError, Key, Notes, Record};
use acclaim_core::port::Place;
use acclaim_core::{Kinds, ReadError};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Notes that are gone with the process.
#[derive(Default)]
pub struct MemoryNotes {
    records: Mutex<BTreeMap<Key, Vec<u8>>>,
    wakes: watch::Sender<u64>,
}

impl MemoryNotes {
    /// Everything that is kept, in order.
    #[must_use]
    pub fn all(&self) -> Vec<Record> {
        let records = self.records.lock();
        records
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Erases what is kept of somebody or something, in one step.
    ///
    /// # Errors
    /// [`ReadError`] for records that cannot be read.
    pub fn erase(&self, kinds: &Kinds, erased: &Erased, end: Place) -> Result<(), ReadError> {
        let mut records = self.records.lock();
        let (changes, _) = erase::step(&Held(&records), kinds, erased, end, usize::MAX)?;
        write(&mut records, changes);
        let all: Vec<Record> = records
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        for key in erase::deliveries_of(erased, &all)? {
            records.remove(&key);
        }
        drop(records);
        self.wakes.send_modify(|wakes| *wakes += 1);
        Ok(())
    }
}

struct Held<'a>(&'a BTreeMap<Key, Vec<u8>>);

impl Look for Held<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], max: usize) -> Result<Vec<Record>, ReadError> {
        let found = self.0.range(prefix.to_vec()..);
        let found = found
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(max);
        Ok(found
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}

fn write(records: &mut BTreeMap<Key, Vec<u8>>, changes: Vec<(Key, Option<Vec<u8>>)>) {
    for (key, value) in changes {
        match value {
            Some(value) => records.insert(key, value),
            None => records.remove(&key),
        };
    }
}

#[async_trait]
impl Notes for MemoryNotes {
    async fn get(&self, keys: Vec<Key>) -> Result<Vec<Option<Vec<u8>>>, ReadError> {
        let records = self.records.lock();
        Ok(keys.iter().map(|key| records.get(key).cloned()).collect())
    }

    async fn scan(
        &self,
        prefix: Key,
        after: Option<Key>,
        max: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let records = self.records.lock();
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix.clone()),
        };
        let found = records.range((from, Bound::Unbounded));
        let found = found
            .take_while(|(key, _)| key.starts_with(&prefix))
            .take(max);
        Ok(found
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let mut records = self.records.lock();
        let is_as_expected =
            |(key, value): &(Key, Option<Vec<u8>>)| records.get(key) == value.as_ref();
        if !batch.expected.iter().all(is_as_expected) {
            return Err(CommitError::Conflict);
        }
        write(&mut records, batch.writes);
        if batch.wakes {
            self.wakes.send_modify(|wakes| *wakes += 1);
        }
        Ok(())
    }

    fn wakes(&self) -> u64 {
        *self.wakes.borrow()
    }

    async fn woken(&self, seen: u64) -> u64 {
        let mut wakes = self.wakes.subscribe();
        // The sender lives as long as `self`.
        let woken = wakes
            .wait_for(|wakes| *wakes > seen)
            .await
            .map(|wakes| *wakes);
        woken.unwrap_or(seen)
    }
}
