//! Notifications are kept as notes: what follows from the journal, and how far it was read, lies in
//! one frame of the log, as every commit does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use acclaim_core::ReadError;
use acclaim_core::notify::erase::Look;
use acclaim_core::notify::{Batch, CommitError, Key, Notes, Record};
use async_trait::async_trait;

use super::EmbeddedEngine;
use super::notes::{self, name};
use super::read::at_length;
use super::view::View;
use super::workspace::Workspace;

/// Look-ups of one call that are done on the spot.
const FEW_LOOKUPS: usize = 64;
/// Bytes before the key of a note of notifications.
const BEFORE_KEY: usize = 2;

/// The key of a note of notifications.
pub fn note_key(key: &[u8]) -> super::key::Key {
    notes::key(name::NOTIFY, key)
}

fn unwrapped(records: Vec<(super::key::Key, Vec<u8>)>) -> Vec<Record> {
    let records = records.into_iter();
    records
        .map(|(key, value)| (key[BEFORE_KEY..].to_vec(), value))
        .collect()
}

/// Up to `max` records under a prefix after a key; an empty one for all.
pub fn notes_of(
    view: &View,
    prefix: &[u8],
    after: &[u8],
    max: usize,
) -> Result<Vec<Record>, ReadError> {
    let after = match after {
        [] => Vec::new(),
        after => note_key(after),
    };
    Ok(unwrapped(view.notes_after(
        &note_key(prefix),
        &after,
        max,
    )?))
}

/// The notes of notifications as a commit sees them: those that are read by key with what the
/// commit has changed so far, those that are listed as they were before it.
pub struct WorkNotes<'a, 'b>(pub &'a Workspace<'b>);

impl Look for WorkNotes<'_, '_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.read_note(&note_key(key))
    }

    fn scan(&self, prefix: &[u8], max: usize) -> Result<Vec<Record>, ReadError> {
        let prefix = note_key(prefix);
        Ok(unwrapped(self.0.view().notes_after(&prefix, &[], max)?))
    }
}

#[async_trait]
impl Notes for EmbeddedEngine {
    async fn get(&self, keys: Vec<Key>) -> Result<Vec<Option<Vec<u8>>>, ReadError> {
        let read = |view: &super::view::View, keys: &[Key]| {
            keys.iter().map(|key| view.note(&note_key(key))).collect()
        };
        if keys.len() <= FEW_LOOKUPS {
            return read(&self.shared.view.load(), &keys);
        }
        at_length(&self.shared, move |shared, _| {
            read(&shared.view.load(), &keys)
        })
        .await
    }

    async fn scan(
        &self,
        prefix: Key,
        after: Option<Key>,
        max: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let prefix = note_key(&prefix);
        let after = after.map_or_else(Vec::new, |after| note_key(&after));
        if max <= FEW_LOOKUPS {
            return Ok(unwrapped(
                self.shared.view.load().notes_after(&prefix, &after, max)?,
            ));
        }
        at_length(&self.shared, move |shared, _| {
            Ok(unwrapped(
                shared.view.load().notes_after(&prefix, &after, max)?,
            ))
        })
        .await
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let is_conflict = Arc::new(AtomicBool::new(false));
        let (conflict, wakes) = (Arc::clone(&is_conflict), batch.wakes);
        self.work(move |work| {
            for (key, value) in batch.expected {
                if work.read_note(&note_key(&key))? != value {
                    conflict.store(true, Ordering::Relaxed);
                    return Ok(());
                }
            }
            for (key, value) in batch.writes {
                work.note(note_key(&key), value);
            }
            Ok(())
        })
        .await?;
        if is_conflict.load(Ordering::Relaxed) {
            return Err(CommitError::Conflict);
        }
        if wakes {
            self.shared.wakes.send_modify(|wakes| *wakes += 1);
        }
        Ok(())
    }

    fn wakes(&self) -> u64 {
        *self.shared.wakes.borrow()
    }

    async fn woken(&self, seen: u64) -> u64 {
        let mut wakes = self.shared.wakes.subscribe();
        // The sender lives as long as the engine.
        let woken = wakes
            .wait_for(|wakes| *wakes > seen)
            .await
            .map(|wakes| *wakes);
        woken.unwrap_or(seen)
    }
}
