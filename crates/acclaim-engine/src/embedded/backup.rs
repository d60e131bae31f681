//! Backups: a consistent copy of a store while it runs, and the way back.
//!
//! A backup is itself a store: the tables of one snapshot, written as one sorted run, and the log
//! from there to the last commit that was durable when the backup began. Opening it replays the
//! log, so it holds exactly what was acknowledged up to that moment.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use acclaim_core::{ReadError, Rev};

use super::EmbeddedEngine;
use super::base::Base;
use super::log::SegmentName;
use super::names::{make_dir, sync_dir};
use super::notes::Mark;
use super::open::{BASE_DIR, LOG_DIR, MANIFEST_FILE};
use super::shared::Shared;

/// Memory for blocks while a backup is written; it only writes.
const CACHE_BYTES: u64 = 8 << 20;

/// Why a backup was not made, or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is something already.
    #[error("{0} is not empty; name a directory that is empty or not there")]
    NotEmpty(String),
    /// That is no backup.
    #[error("{0} is not an Acclaim backup: it has no {MANIFEST_FILE}")]
    NotABackup(String),
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The tables could not be written.
    #[error("the tables could not be written: {0}")]
    Store(#[from] fjall::Error),
    /// The tables could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// Records of the tables.
    pub records: u64,
    /// Bytes it takes on the disk.
    pub bytes: u64,
    /// The last journal place in it.
    pub end: Rev,
}

fn at(path: &Path) -> impl Fn(io::Error) -> BackupError + '_ {
    |error| BackupError::Io {
        path: path.display().to_string(),
        error,
    }
}

fn require_empty(dir: &Path) -> Result<(), BackupError> {
    match std::fs::read_dir(dir) {
        Ok(mut files) => match files.next() {
            Some(_) => Err(BackupError::NotEmpty(dir.display().to_string())),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(dir)(error)),
    }
}

impl EmbeddedEngine {
    /// Copies the store into `to`, which must be empty or not there, while it goes on. Blocks.
    ///
    /// # Errors
    /// [`BackupError`]; what was written of the copy is left for a look, without its manifest, so it
    /// cannot be taken for a backup.
    pub fn backup(&self, to: &Path) -> Result<BackupSummary, BackupError> {
        require_empty(to)?;
        // What is in memory goes into the tables, so that the copy has little to replay. Where that
        // cannot be, the log that is copied has it.
        if let Err(skipped) = super::jobs::checkpoint(&self.shared, &self.lane) {
            tracing::debug!(%skipped, "backup without a checkpoint");
        }
        for dir in [to.to_owned(), to.join(LOG_DIR)] {
            make_dir(&dir).map_err(at(&dir))?;
        }
        // The log first: its files stay readable when the log is trimmed meanwhile.
        let (log, end) = open_log(&self.shared)?;
        let view = self.shared.view.load_full();
        let mark = match view.base.get(&Mark::key())? {
            Some(bytes) => Mark::decode(&bytes).map_err(ReadError::from)?,
            None => Mark::default(),
        };
        let base = Base::open(&to.join(BASE_DIR), CACHE_BYTES)?;
        let mut records = 0;
        base.ingest(|run| {
            for record in view.base.prefix(&[]) {
                let (key, value) = record?;
                run.write(&key, Some(&value))?;
                records += 1;
            }
            Ok::<_, BackupError>(())
        })?;
        drop(base);
        copy_log(&log, mark.number, &to.join(LOG_DIR))?;
        copy_file(
            &self.shared.dir.join(MANIFEST_FILE),
            &to.join(MANIFEST_FILE),
        )?;
        sync_dir(to).map_err(at(to))?;
        Ok(BackupSummary {
            records,
            bytes: bytes_under(to).map_err(at(to))?,
            end,
        })
    }
}

/// A segment that is open, with how much of it is durable.
struct OpenSegment {
    name: SegmentName,
    path: PathBuf,
    file: File,
    bytes: u64,
}

fn open_log(shared: &Shared) -> Result<(Vec<OpenSegment>, Rev), BackupError> {
    let segments = shared.segments.read();
    let open = segments.iter().map(|segment| {
        let path = segment.path.clone();
        let file = File::open(&path).map_err(at(&path))?;
        Ok(OpenSegment {
            name: segment.name,
            path,
            file,
            bytes: segment.durable_bytes,
        })
    });
    Ok((
        open.collect::<Result<_, BackupError>>()?,
        *shared.end.borrow(),
    ))
}

/// Copies the segments that hold commits after `mark`.
fn copy_log(log: &[OpenSegment], mark: u64, to: &Path) -> Result<(), BackupError> {
    let needed = log.partition_point(|segment| segment.name.first_number <= mark + 1);
    for segment in &log[needed.saturating_sub(1)..] {
        let path = segment.name.path(to);
        let mut copy = File::create(&path).map_err(at(&path))?;
        let mut bytes = vec![0; 1 << 20];
        let mut done = 0;
        while done < segment.bytes {
            let part = (segment.bytes - done).min(bytes.len() as u64) as usize;
            segment
                .file
                .read_exact_at(&mut bytes[..part], done)
                .map_err(at(&segment.path))?;
            copy.write_all(&bytes[..part]).map_err(at(&path))?;
            done += part as u64;
        }
        copy.sync_all().map_err(at(&path))?;
    }
    sync_dir(to).map_err(at(to))
}

fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    std::fs::copy(from, to).map_err(at(from))?;
    File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(at(to))
}

fn bytes_under(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        // What is taken on the disk: tables are preceded by a file that is mostly a hole.
        bytes += if meta.is_dir() {
            bytes_under(&entry.path())?
        } else {
            meta.blocks() * 512
        };
    }
    Ok(bytes)
}

/// Copies a backup into `to`, which must be empty or not there. Returns the bytes copied.
///
/// # Errors
/// [`BackupError`].
pub fn restore(from: &Path, to: &Path) -> Result<u64, BackupError> {
    if !from.join(MANIFEST_FILE).is_file() {
        return Err(BackupError::NotABackup(from.display().to_string()));
    }
    require_empty(to)?;
    copy_dir(from, to)?;
    bytes_under(to).map_err(at(to))
}

fn copy_dir(from: &Path, to: &Path) -> Result<(), BackupError> {
    make_dir(to).map_err(at(to))?;
    for entry in std::fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(at(&source))?.is_dir() {
            copy_dir(&source, &copy)?;
        } else {
            copy_file(&source, &copy)?;
        }
    }
    sync_dir(to).map_err(at(to))
}
