//! Mutual edges: of two users who do it to each other.
//!
//! Every active edge of a kind between users is kept twice: as it is, which comes in the order of
//! users already, and turned round, which is sorted. Where the two agree, the edge is mutual.

use std::path::{Path, PathBuf};

use super::super::key::{EdgeBytes, Key, tag};
use super::sorter::{Merge, Sorter};
use super::spool::{SpoolReader, SpoolWriter, unnamed_file};
use super::{BulkError, READ_BYTES};

/// Takes the edges.
pub struct Mutual {
    dir: PathBuf,
    forth: Option<SpoolWriter>,
    back: Sorter,
    key: Key,
}

impl Mutual {
    /// Without edges. Uses up to twice `chunk_bytes` of memory.
    pub fn new(dir: &Path, chunk_bytes: usize) -> Self {
        Self {
            dir: dir.to_owned(),
            forth: None,
            back: Sorter::new(dir, chunk_bytes),
            key: Key::new(),
        }
    }

    /// Takes an active edge to another user, in the order of edges. `key` is where it lies.
    pub fn push(&mut self, key: &[u8], edge: &EdgeBytes<'_>) -> Result<(), BulkError> {
        let forth = match &mut self.forth {
            Some(forth) => forth,
            None => {
                let file = unnamed_file(&self.dir)?;
                self.forth.insert(SpoolWriter::new(file, 0))
            }
        };
        forth.push(key, &[])?;
        self.key.clear();
        edge.back().put_key(edge.kind, &mut self.key);
        Ok(self.back.push(&self.key, &[])?)
    }

    /// Ends the input.
    pub fn finish(self) -> Result<MutualCounts, BulkError> {
        let Some(forth) = self.forth else {
            return Ok(MutualCounts(None));
        };
        let mut forth = forth.finish()?.read(READ_BYTES);
        let mut back = self.back.merge()?;
        let more = (forth.advance()?, back.advance()?);
        Ok(MutualCounts(Some(Both { forth, back, more })))
    }
}

/// Counts them.
pub struct MutualCounts(Option<Both>);

struct Both {
    forth: SpoolReader,
    back: Merge,
    /// Whether each has a record.
    more: (bool, bool),
}

impl MutualCounts {
    /// The mutual edges of a user, given where their record lies. Users are asked for in order.
    pub fn of_user(&mut self, user_key: &[u8]) -> Result<u64, BulkError> {
        let Some(both) = &mut self.0 else {
            return Ok(0);
        };
        let mut prefix = user_key.to_vec();
        prefix[0] = tag::EDGE;
        let mut count = 0;
        while both.more.0 && both.forth.key().starts_with(&prefix) {
            while both.more.1 && both.back.key() < both.forth.key() {
                both.more.1 = both.back.advance()?;
            }
            count += u64::from(both.more.1 && both.back.key() == both.forth.key());
            both.more.0 = both.forth.advance()?;
        }
        Ok(count)
    }
}
