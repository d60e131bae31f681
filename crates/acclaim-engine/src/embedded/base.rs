//! The base: sorted tables on disk, as of the last checkpoint.
//!
//! It is one fjall keyspace that is only ever written by whole sorted runs ("ingestion"): a run
//! becomes visible and durable at once or not at all, and passes neither fjall's journal nor its
//! memtable. So the log is the only write-ahead log, and a record costs a fraction of what it would
//! as a single write (see docs/architecture.md for the measurements).
//!
//! It may not know what the records mean.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use acclaim_core::ReadError;
use fjall::compaction::Leveled;
use fjall::config::{BlockSizePolicy, BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, Readable, Slice, Snapshot};

use super::heads::{self, Head, Heads, KeyHash};
use super::key::{Key, tag};
use super::log;
use super::names::{sync_dir, sync_dirs};

/// Bytes of a block before compression: the unit of reading.
const BLOCK_BYTES: u32 = 4 * 1024;
/// Runs that gather before they are merged. More runs cost each look-up a filter check, fewer cost
/// more rewriting.
const RUNS_BEFORE_MERGE: u8 = 6;
/// Filter bits a key: one false positive in a hundred.
const FILTER_BITS_PER_KEY: f32 = 10.0;

/// The records whose heads are kept in memory: those of targets, which begin with their counts.
const HEADS_OF: u8 = tag::TARGET;

/// Sorted tables on disk.
#[derive(Clone)]
pub struct Base {
    database: Database,
    keyspace: Keyspace,
    heads: Arc<Heads>,
    /// Runs since the base was opened.
    generation: Arc<AtomicU64>,
}

type WriteRecord<'a> = dyn FnMut(&[u8], Option<&[u8]>) -> fjall::Result<()> + 'a;

/// Records on their way into the base, in strictly rising key order.
pub struct Run<'a>(&'a mut WriteRecord<'a>);

impl Run<'_> {
    /// Adds a record, or removes one with `None`.
    pub fn write(&mut self, key: &[u8], value: Option<&[u8]>) -> fjall::Result<()> {
        (self.0)(key, value)
    }
}

/// A record as it is read: its key and its value.
pub type Stored = Result<(Slice, Slice), ReadError>;

/// The base as it was when the snapshot was taken.
pub struct BaseSnapshot {
    snapshot: Snapshot,
    keyspace: Keyspace,
    heads: Arc<Heads>,
    generation: u64,
}

/// Whether an error means that there is no room.
pub fn is_full(error: &fjall::Error) -> bool {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            log::is_full(error)
        }
        _ => false,
    }
}

fn store_error(error: impl std::fmt::Display) -> ReadError {
    ReadError::Store(error.to_string())
}

fn read(guard: Guard) -> Stored {
    looked();
    guard.into_inner().map_err(store_error)
}

impl Base {
    /// Opens the tables under `dir`, making them where they are missing.
    pub fn open(dir: &Path, cache_bytes: u64) -> fjall::Result<Self> {
        if !dir.try_exists()? {
            Self::make(dir, cache_bytes)?;
        }
        let base = Self::open_tables(dir, cache_bytes)?;
        // Another process may have died before it could do that for what it made.
        sync_dirs(dir)?;
        Ok(base)
    }

    /// Makes empty tables, whole or not at all: fjall does not open what it left when it was
    /// interrupted the first time, and does not sync the names of the directories that it makes.
    fn make(dir: &Path, cache_bytes: u64) -> fjall::Result<()> {
        let new = dir.with_extension("new");
        if new.try_exists()? {
            std::fs::remove_dir_all(&new)?;
        }
        drop(Self::open_tables(&new, cache_bytes)?);
        sync_dirs(&new)?;
        std::fs::rename(&new, dir)?;
        dir.parent().map_or(Ok(()), |parent| Ok(sync_dir(parent)?))
    }

    fn open_tables(dir: &Path, cache_bytes: u64) -> fjall::Result<Self> {
        // One worker: two would pick overlapping merges and do the work twice.
        let database = Database::builder(dir)
            .cache_size(cache_bytes)
            .worker_threads(1)
            .open()?;
        let filter =
            FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(FILTER_BITS_PER_KEY));
        let merge = Leveled::default().with_l0_threshold(RUNS_BEFORE_MERGE);
        let keyspace = database.keyspace("base", || {
            KeyspaceCreateOptions::default()
                .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
                .filter_policy(FilterPolicy::all(filter))
                .compaction_strategy(Arc::new(merge))
        })?;
        Ok(Self {
            database,
            keyspace,
            heads: Arc::default(),
            generation: Arc::default(),
        })
    }

    /// What is there now, held while the snapshot lives.
    pub fn snapshot(&self) -> BaseSnapshot {
        BaseSnapshot {
            // The generation first: a snapshot that is newer than it finds no heads, and one that
            // is older would find newer ones.
            generation: self.generation.load(Ordering::Acquire),
            snapshot: self.database.snapshot(),
            keyspace: self.keyspace.clone(),
            heads: Arc::clone(&self.heads),
        }
    }

    /// Adds the records that `fill` writes, in strictly rising key order, as one sorted run. All of
    /// them are visible and durable when this returns, or none.
    pub fn ingest<E: From<fjall::Error>>(
        &self,
        fill: impl FnOnce(&mut Run<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut run = self.keyspace.start_ingestion()?;
        let mut written: Vec<KeyHash> = Vec::new();
        let mut write = |key: &[u8], value: Option<&[u8]>| {
            if key.first() == Some(&HEADS_OF) {
                written.push(heads::hash(key));
            }
            match value {
                Some(value) => run.write(key, value),
                None => run.write_tombstone(key),
            }
        };
        fill(&mut Run(&mut write))?;
        // Between the two, nobody finds a head: snapshots are of the generation before.
        self.heads.begin(u64::MAX, &written);
        run.finish()?;
        let generation = self.generation.load(Ordering::Acquire) + 1;
        self.heads.begin(generation, &[]);
        self.generation.store(generation, Ordering::Release);
        Ok(())
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.keyspace.disk_space()
    }

    /// Sorted runs that wait to be merged.
    pub fn waiting_runs(&self) -> usize {
        self.keyspace.l0_table_count()
    }

    /// Bytes of the block cache in use.
    pub fn cached_bytes(&self) -> u64 {
        self.database.cache_size()
    }
}

fn looked() {
    #[cfg(test)]
    looks::add();
}

impl BaseSnapshot {
    /// A record.
    pub fn get(&self, key: &[u8]) -> Result<Option<Slice>, ReadError> {
        looked();
        self.snapshot.get(&self.keyspace, key).map_err(store_error)
    }

    /// The beginning of a target's record, which is kept in memory where it is asked for often.
    pub fn head(&self, key: &[u8]) -> Result<Option<Head>, ReadError> {
        debug_assert_eq!(key.first(), Some(&HEADS_OF), "no other heads are kept");
        let hash = heads::hash(key);
        if let Some(head) = self.heads.get(self.generation, hash, key) {
            return Ok(Some(head));
        }
        let found = self.get(key)?.map(|record| Head::of(&record));
        if let Some(head) = found {
            self.heads.put(self.generation, hash, key, head);
        }
        Ok(found)
    }

    /// The records whose keys begin with `prefix`, in key order.
    pub fn prefix(&self, prefix: &[u8]) -> impl DoubleEndedIterator<Item = Stored> + use<> {
        let found = self.snapshot.prefix(&self.keyspace, prefix);
        found.map(read)
    }

    /// The records whose keys begin with `prefix` and come after `after`.
    pub fn prefix_after(
        &self,
        prefix: &[u8],
        after: &[u8],
    ) -> impl Iterator<Item = Stored> + use<> {
        let from: Key = if after >= prefix {
            [after, &[0]].concat()
        } else {
            prefix.to_vec()
        };
        let prefix = prefix.to_vec();
        self.snapshot
            .range::<Key, _>(&self.keyspace, from..)
            .map(read)
            .take_while(move |found| match found {
                Ok((key, _)) => key.starts_with(&prefix),
                Err(_) => true,
            })
    }
}

/// Counts, in tests, the records that a thread looks at: what a call costs, whatever the time.
#[cfg(test)]
pub mod looks {
    use std::cell::Cell;

    thread_local!(static LOOKS: Cell<u64> = const { Cell::new(0) });

    pub(super) fn add() {
        LOOKS.set(LOOKS.get() + 1);
    }

    /// How many records `run` looks at on this thread.
    pub fn of<T>(run: impl FnOnce() -> T) -> (T, u64) {
        let before = LOOKS.get();
        let value = run();
        (value, LOOKS.get() - before)
    }
}
