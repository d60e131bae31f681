//! The texts of import jobs, each a file in a directory of its own inside the data directory.
//!
//! A text is written while it comes in, made durable, and named by its job. It goes when the job
//! is over, or at once when its sender goes away; what a crash left without a job goes at the next
//! start. All texts together have a limit, since nobody but the disk would stop them otherwise.
//!
//! It may not know jobs, nor what a text means.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use acclaim_core::{JobError, WriteError};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tracing::{info, warn};

use super::log::is_full;
use super::names::sync_dir;

/// The directory of the texts inside the data directory.
const SPOOL_DIR: &str = "spool";
/// What a caller is told to wait when the disk is full.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(5);

/// All texts of a store.
pub struct Spools {
    dir: PathBuf,
    max_bytes: u64,
    /// Bytes of all texts, those under way included.
    held_bytes: AtomicU64,
    /// Texts under way.
    under_way: AtomicUsize,
}

impl Spools {
    /// Those of the store in `data_dir`.
    pub fn open(data_dir: &Path, max_bytes: u64) -> io::Result<Self> {
        let dir = data_dir.join(SPOOL_DIR);
        if !dir.is_dir() {
            std::fs::create_dir(&dir)?;
            sync_dir(data_dir)?;
        }
        Ok(Self {
            dir,
            max_bytes,
            held_bytes: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
        })
    }

    /// Removes every text but those named. Called once, before any is begun.
    pub fn sweep(&self, named: &HashSet<&str>) -> io::Result<()> {
        for file in std::fs::read_dir(&self.dir)? {
            let file = file?;
            let name = file.file_name();
            if name.to_str().is_some_and(|name| named.contains(name)) {
                let bytes = file.metadata()?.len();
                self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
            } else {
                info!(text = %name.display(), "removed the text of an import without a job");
                std::fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    /// Texts under way.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Where a text lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Removes a text whose job is over.
    pub fn remove(&self, name: &str) {
        let path = self.path(name);
        let bytes = path.metadata().map_or(0, |file| file.len());
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        remove_file(&path);
    }

    /// Takes room for more of a text of which there are `so_far` bytes.
    fn reserve(&self, so_far: u64, more: u64) -> Result<(), JobError> {
        let limit = self.max_bytes;
        if so_far + more > limit {
            return Err(JobError::TooLarge { limit });
        }
        let held = self.held_bytes.fetch_add(more, Ordering::Relaxed);
        if held + more > limit {
            self.held_bytes.fetch_sub(more, Ordering::Relaxed);
            return Err(JobError::SpoolsFull { held, limit });
        }
        Ok(())
    }
}

/// A text under way. Dropped before it is kept, it is removed.
pub struct SpoolFile {
    spools: Arc<Spools>,
    name: String,
    bytes: u64,
    kept: bool,
    file: File,
}

impl SpoolFile {
    /// A text without a byte. It counts as under way from now on.
    pub async fn begin(spools: &Arc<Spools>) -> Result<Self, JobError> {
        let spools = Arc::clone(spools);
        // As one piece of work, so that a caller who goes away leaves either nothing or a whole
        // value, which removes the file when it is dropped.
        let begun = tokio::task::spawn_blocking(move || {
            let name = format!("{:032x}", rand::random::<u128>());
            let file = std::fs::File::create_new(spools.path(&name))?;
            spools.under_way.fetch_add(1, Ordering::Relaxed);
            Ok(Self {
                spools,
                name,
                bytes: 0,
                kept: false,
                file: File::from_std(file),
            })
        });
        unless_died(begun.await).map_err(not_kept)
    }

    /// Adds a piece.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), JobError> {
        let more = piece.len() as u64;
        self.spools.reserve(self.bytes, more)?;
        self.bytes += more;
        self.file.write_all(piece).await.map_err(not_kept)
    }

    /// Makes it durable: its bytes and its name.
    pub async fn sync(&mut self) -> Result<(), JobError> {
        self.file.flush().await.map_err(not_kept)?;
        self.file.sync_all().await.map_err(not_kept)?;
        let dir = self.spools.dir.clone();
        let synced = tokio::task::spawn_blocking(move || sync_dir(&dir)).await;
        unless_died(synced).map_err(not_kept)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Leaves it to its job.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        self.spools.under_way.fetch_sub(1, Ordering::Relaxed);
        if self.kept {
            return;
        }
        let (path, bytes) = (self.spools.path(&self.name), self.bytes);
        let spools = Arc::clone(&self.spools);
        let remove = move || {
            remove_file(&path);
            spools.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        };
        // A long file takes a while to be removed.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

fn remove_file(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(path = %path.display(), %error, "the text of an import was not removed; the next start tries again");
        }
        _ => {}
    }
}

fn unless_died<T>(done: Result<io::Result<T>, tokio::task::JoinError>) -> io::Result<T> {
    done.unwrap_or_else(|died| Err(io::Error::other(died)))
}

fn not_kept(error: io::Error) -> JobError {
    if is_full(&error) {
        return JobError::Write(WriteError::Unavailable {
            reason: "the disk is full".to_owned(),
            retry_after: RETRY_WHEN_FULL,
        });
    }
    JobError::Spool(error.to_string())
}
