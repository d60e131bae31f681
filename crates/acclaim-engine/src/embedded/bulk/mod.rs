//! The bulk load: sets into a store that never had a commit, as one sorted run.
//!
//! An import in the ordinary way looks every edge up, logs it, keeps it in memory, and merges it
//! into the base again and again. Where there is nothing yet, all of that is for nothing: sorting
//! the lines once says as much. So they are sorted by the keys of their edges, folded in that order
//! into what follows from them, by the same rules as in a commit, and written once, in the order of
//! the base:
//!
//! ```text
//! lines ─ sort by edge ─┬─ edges ──────────────────────────────────────┐
//!                       ├─ sort by target ─┬─ targets' lists ──────────┤
//!                       │                  └─ targets' records, boards ┼─ base
//!                       ├─ sort by user's list ────────────────────────┤
//!                       └─ users' records, days ───────────────────────┘
//! ```
//!
//! Invariants: the result answers every read as an ordinary import of the same lines does. The base
//! takes all of it or nothing. Memory is bounded by [`Options::bulk_memory_bytes`], whatever the
//! number of lines; the disk holds what is sorted, and no file of that outlives the process.
//!
//! There are no events of a load: nobody can have subscribed to a store without a commit. Its journal
//! begins after the last place that a transition was given.

mod error;
mod exclusive;
mod line;
mod mutual;
mod sink;
mod sorter;
mod sources;
mod spool;
mod targets;
mod users;
mod write;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use acclaim_core::port::Clock;
use acclaim_core::{Action, Kinds, Op, Rev, TargetType};
use tracing::warn;

use super::base::Base;
use super::dictionary::{Dictionary, NewName};
use super::key::{Key, TypeNo, put_edge_key};
use super::log::list_segments;
use super::open::{BASE_DIR, DISCARDED_DIR, LOG_DIR, OpenError, open};
use super::options::Options;

use exclusive::{Exclusive, Families};
use line::Line;
use sorter::Sorter;
use sources::Sources;

pub use error::BulkError;
pub use sources::Loaded;
pub use write::Progress;

/// Bytes read at once of what lies sorted on the disk.
const READ_BYTES: usize = 256 << 10;
/// Chunks that are in memory at the same time at most: two of each sorter of the first pass, and one
/// of the lines that it goes over.
const CHUNKS: usize = 7;

/// A load under way. Nothing of it is in the store before [`BulkLoad::finish`]; dropped before, the
/// store is as empty as it was.
pub struct BulkLoad {
    dir: PathBuf,
    /// Gone once the load is done or given up.
    base: Option<Base>,
    store: [u8; 16],
    kinds: Kinds,
    dictionary: Dictionary,
    names: Vec<NewName>,
    families: Families,
    clock: Arc<dyn Clock>,
    chunk_bytes: usize,
    lines: Sorter,
    exclusive: Exclusive,
    sources: Sources,
    first_seq: Rev,
    last_seq: Rev,
    last_type: Option<(TargetType, TypeNo)>,
    interrupted: Arc<AtomicBool>,
    scratch: (Key, Vec<u8>),
    /// Held until the load is over.
    _lock: File,
}

impl BulkLoad {
    /// Begins a load into `dir`, making a store where there is none. `None` when the store there
    /// ever had a commit.
    ///
    /// # Errors
    /// [`OpenError`], as for opening the engine.
    pub fn begin(
        dir: &Path,
        kinds: Kinds,
        options: &Options,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Self>, OpenError> {
        if has_log(dir) {
            return Ok(None);
        }
        let opened = open(dir, &kinds, options)?;
        let unreadable = |error: acclaim_core::ReadError| OpenError::Base {
            dir: dir.display().to_string(),
            error: error.to_string(),
        };
        let first = opened.view.base.prefix(&[]).next().transpose();
        let is_empty = first.map_err(unreadable)?.is_none();
        if !is_empty || opened.log.last_number() > 0 || opened.log.last_seq() > Rev::ZERO {
            return Ok(None);
        }
        let dictionary = Dictionary::clone(&opened.dictionary);
        let chunk_bytes = options.bulk_memory_bytes / CHUNKS;
        Ok(Some(Self {
            dir: dir.to_owned(),
            base: Some(opened.base),
            store: opened.store,
            families: Families::of(&kinds, &dictionary),
            kinds,
            dictionary,
            names: opened.new_names,
            clock,
            chunk_bytes,
            lines: Sorter::new(dir, chunk_bytes),
            exclusive: Exclusive::new(dir, chunk_bytes),
            sources: Sources::default(),
            first_seq: Rev::ZERO,
            last_seq: Rev::ZERO,
            last_type: None,
            interrupted: Arc::default(),
            scratch: (Key::new(), Vec::new()),
            _lock: opened.lock,
        }))
    }

    /// Set it to let the load stop with [`BulkError::Interrupted`].
    #[must_use]
    pub fn interrupt(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupted)
    }

    /// Takes sets, in the order of their lines. They have been checked against their kinds.
    ///
    /// # Errors
    /// [`BulkError`]; then the load is to be given up.
    pub fn add(&mut self, ops: &[Op]) -> Result<(), BulkError> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(BulkError::Interrupted);
        }
        let now = self.clock.now();
        ops.iter().try_for_each(|op| self.add_one(op, now))
    }

    fn add_one(&mut self, op: &Op, now: Rev) -> Result<(), BulkError> {
        if op.action != Action::Set {
            return Err(BulkError::NotASet);
        }
        let target_type = self.type_number(&op.edge.target.target_type)?;
        let line = Line {
            seq: self.last_seq.next(now),
            at: op.at,
        };
        if self.first_seq == Rev::ZERO {
            self.first_seq = line.seq;
        }
        self.sources.line();
        let kind = self.dictionary.kind(op.edge.kind);
        if let Some(family) = self.families.of_kind(kind) {
            // A place for each edge that it may unset, and for its own.
            let unset = self.kinds.excluded_by(op.edge.kind).len() as u64;
            self.last_seq = Rev(line.seq.0 + unset);
            return self.exclusive.push(family, &op.edge, target_type, line);
        }
        self.last_seq = line.seq;
        let (key, value) = &mut self.scratch;
        key.clear();
        let (user, target) = (&op.edge.user, &op.edge.target.id);
        put_edge_key(key, kind, user, target_type, target);
        value.clear();
        line.put(value);
        Ok(self.lines.push(key, value)?)
    }

    fn type_number(&mut self, target_type: &TargetType) -> Result<TypeNo, BulkError> {
        if let Some((last, number)) = &self.last_type
            && last == target_type
        {
            return Ok(*number);
        }
        let number = match self.dictionary.type_number(target_type) {
            Some(number) => number,
            None => {
                let added = self.dictionary.add_type(target_type);
                let (number, name) = added.ok_or_else(|| BulkError::TooManyTargetTypes {
                    given: target_type.to_string(),
                })?;
                self.names.push(name);
                number
            }
        };
        self.last_type = Some((target_type.clone(), number));
        Ok(number)
    }

    /// Ends a source: what was added since the last one belongs to it.
    pub fn end_source(&mut self) {
        self.sources.end(self.last_seq);
    }
}

/// Whether there is a log, so that opening the store just to see it is saved.
fn has_log(dir: &Path) -> bool {
    list_segments(&dir.join(LOG_DIR)).is_ok_and(|segments| !segments.is_empty())
}

impl Drop for BulkLoad {
    fn drop(&mut self) {
        let Some(base) = self.base.take() else {
            return;
        };
        // Given up: tables that were begun take room and are of no use to anybody.
        drop(base);
        if let Err(error) = discard_tables(&self.dir) {
            warn!(%error, "tables that were begun are left; the next start removes them");
        }
    }
}

/// Removes tables without a record, so that at no moment a part of them is taken for a store.
fn discard_tables(dir: &Path) -> io::Result<()> {
    let discarded = dir.join(DISCARDED_DIR);
    std::fs::rename(dir.join(BASE_DIR), &discarded)?;
    std::fs::remove_dir_all(&discarded)
}
