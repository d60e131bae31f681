//! Erasing through the port: what a step asks for is read before it, and expected unchanged by its
//! commit.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::{DELIVERIES, Erased, Look, deliveries_of, step};
use crate::error::{ReadError, WriteError};
use crate::kind::Kinds;
use crate::notify::keys;
use crate::notify::port::{Batch, CommitError, Key, Notes, Record};
use crate::port::Place;

/// Why an erasure stopped. What was done of it stays, and the rest can be done by another call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EraseError {
    /// What is kept could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It could not be changed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Erases all of it in an engine whose records are read and changed through the port. `end` is where
/// the journal ended after the last edge was unset, `max` how many records of a sort one commit
/// removes.
///
/// # Errors
/// [`EraseError`].
pub async fn all(
    notes: &dyn Notes,
    kinds: &Kinds,
    erased: &Erased,
    end: Place,
    max: usize,
) -> Result<(), EraseError> {
    let mut steps = 0;
    loop {
        let (is_committed, is_clean) = one_step(notes, kinds, erased, end, max).await?;
        if is_committed {
            steps += 1;
        }
        if steps > 1 && is_clean {
            break;
        }
    }
    while erase_deliveries(notes, erased, max).await? > 0 {}
    Ok(())
}

/// Records that a step asked for so far.
#[derive(Default)]
struct Asked {
    records: BTreeMap<Key, Option<Vec<u8>>>,
    lists: BTreeMap<Key, Vec<Record>>,
    lacks: RefCell<(BTreeSet<Key>, BTreeSet<Key>)>,
}

impl Look for Asked {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let found = self.records.get(key).cloned();
        if found.is_none() {
            self.lacks.borrow_mut().0.insert(key.to_vec());
        }
        Ok(found.flatten())
    }

    fn scan(&self, prefix: &[u8], _max: usize) -> Result<Vec<Record>, ReadError> {
        let found = self.lists.get(prefix).cloned();
        if found.is_none() {
            self.lacks.borrow_mut().1.insert(prefix.to_vec());
        }
        Ok(found.unwrap_or_default())
    }
}

/// One step: what it asks for is read until it lacks nothing, then it is committed if the records
/// are what they were. Answers whether it was, and whether it found nothing any more.
async fn one_step(
    notes: &dyn Notes,
    kinds: &Kinds,
    erased: &Erased,
    end: Place,
    max: usize,
) -> Result<(bool, bool), EraseError> {
    let mut asked = Asked::default();
    let (changes, is_clean) = loop {
        let stepped = step(&asked, kinds, erased, end, max)?;
        let (keys, prefixes) = asked.lacks.take();
        if keys.is_empty() && prefixes.is_empty() {
            break stepped;
        }
        let keys: Vec<Key> = keys.into_iter().collect();
        let found = notes.get(keys.clone()).await?;
        asked.records.extend(keys.into_iter().zip(found));
        for prefix in prefixes {
            let found = notes.scan(prefix.clone(), None, max).await?;
            asked.lists.insert(prefix, found);
        }
    };
    let batch = Batch {
        expected: asked.records.into_iter().collect(),
        writes: changes,
        ..Batch::default()
    };
    match notes.commit(batch).await {
        Ok(()) => Ok((true, is_clean)),
        Err(CommitError::Conflict | CommitError::Displaced) => Ok((false, false)),
        Err(CommitError::Write(error)) => Err(error.into()),
    }
}

/// Walks over all deliveries once and removes those that tell of it. Gives how many those were.
async fn erase_deliveries(
    notes: &dyn Notes,
    erased: &Erased,
    max: usize,
) -> Result<usize, EraseError> {
    let mut removed = 0;
    for tag in DELIVERIES {
        let mut after = None;
        loop {
            let page = notes.scan(keys::all(tag), after, max).await?;
            let gone = deliveries_of(erased, &page)?;
            if !gone.is_empty() {
                removed += gone.len();
                let gone = gone.into_iter().map(|key| (key, None)).collect();
                match notes.commit(Batch::of(gone).waking()).await {
                    Ok(()) | Err(CommitError::Conflict | CommitError::Displaced) => {}
                    Err(CommitError::Write(error)) => return Err(error.into()),
                }
            }
            after = page.last().map(|(key, _)| key.clone());
            if page.len() < max {
                break;
            }
        }
    }
    Ok(removed)
}
