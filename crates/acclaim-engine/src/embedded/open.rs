//! Opening a store: take the directory, trust nothing, replay the log.
//!
//! 1. Lock the directory, so that no second process writes it.
//! 2. Read the manifest, which says whose store it is and signs its cursors.
//! 3. Open the base and read its mark: which commits it contains.
//! 4. Read the log from there. A torn last frame is cut off; anything else that does not read, a gap,
//!    a log that ends before the mark or before the watermark: the store refuses to open and says
//!    what to do.
//! 5. Replay into an empty delta. Every count in the log must follow from the one before.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use acclaim_core::cursor::CursorKey;
use acclaim_core::{Kinds, ReadError};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::base::Base;
use super::board::Boards;
use super::daily::DailyBook;
use super::delta::Delta;
use super::dictionary::Dictionary;
use super::log::{LogWriter, Segments, Watermark, is_full};
use super::names::{make_dir, sync_dir};
use super::notes::Mark;
use super::options::Options;
use super::recover::{Replay, Replayed};
use super::spool::Spools;
use super::view::View;
use super::workspace::Outlet;

/// The directory of the log inside the data directory.
pub const LOG_DIR: &str = "log";
/// The directory of the tables inside the data directory.
pub const BASE_DIR: &str = "base";
/// Tables of a bulk load that was given up, on their way out.
pub const DISCARDED_DIR: &str = "base.discarded";
/// The manifest's file.
pub const MANIFEST_FILE: &str = "manifest.json";
const LOCK_FILE: &str = "lock";
const FORMAT: u32 = 1;

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{dir} is in use by another process; stop it, or use another directory")]
    Locked {
        /// The data directory.
        dir: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// There is no room to start.
    #[error("{dir}: the disk is full; make room and start again, nothing is lost")]
    Full {
        /// The data directory.
        dir: String,
    },
    /// The directory holds something else.
    #[error("{dir} is not an Acclaim store: {reason}")]
    NotAStore {
        /// The data directory.
        dir: String,
        /// Why.
        reason: String,
    },
    /// Acknowledged commits are missing or damaged.
    #[error(
        "{dir}: {reason}. Acknowledged writes may be lost. Restore a backup with `acclaim restore`, \
         or, to go on without what is missing, start with --accept-loss"
    )]
    Damaged {
        /// The data directory.
        dir: String,
        /// What is missing or damaged.
        reason: String,
    },
    /// The tables do not open.
    #[error("{dir}: the tables do not open ({error}); restore a backup with `acclaim restore`")]
    Base {
        /// The data directory.
        dir: String,
        /// Why.
        error: String,
    },
}

/// Who a store is.
#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    store: [u8; 16],
    cursor_secret: [u8; 32],
}

/// A store that is open, before its threads run.
pub struct Opened {
    /// The lock; held while the engine lives.
    pub lock: File,
    /// The store's id.
    pub store: [u8; 16],
    /// Signs cursors.
    pub cursor_key: CursorKey,
    /// The tables.
    pub base: Base,
    /// The view with everything replayed.
    pub view: View,
    /// Names and numbers.
    pub dictionary: Arc<Dictionary>,
    /// The days' numbers.
    pub daily: DailyBook,
    /// The rankings' candidates.
    pub boards: Boards,
    /// The log's segments.
    pub segments: Segments,
    /// The log, to be written further.
    pub log: LogWriter,
    /// The texts of import jobs, not swept yet.
    pub spools: Spools,
    /// What the base contains.
    pub mark: Mark,
    /// Notes that must be written first.
    pub new_names: Vec<super::dictionary::NewName>,
}

/// What is needed to say where something went wrong.
pub struct Place<'a> {
    /// The data directory.
    pub dir: &'a Path,
    /// Whether the operator accepts a loss.
    pub accept_loss: bool,
}

impl Place<'_> {
    /// The data directory, to show.
    pub fn dir(&self) -> String {
        self.dir.display().to_string()
    }

    /// What a failed access means.
    pub fn io(&self, path: &Path, error: io::Error) -> OpenError {
        if is_full(&error) {
            return OpenError::Full { dir: self.dir() };
        }
        OpenError::Io {
            path: path.display().to_string(),
            error,
        }
    }

    /// Refuses, unless the operator accepts the loss.
    pub fn loss(&self, reason: String) -> Result<(), OpenError> {
        if !self.accept_loss {
            return Err(OpenError::Damaged {
                dir: self.dir(),
                reason,
            });
        }
        warn!(%reason, "opened with a loss that was accepted");
        Ok(())
    }

    fn unreadable(&self, error: &ReadError) -> OpenError {
        OpenError::Base {
            dir: self.dir(),
            error: error.to_string(),
        }
    }
}

/// Opens the store in `dir`, making it where there is none.
pub fn open(dir: &Path, kinds: &Kinds, options: &Options) -> Result<Opened, OpenError> {
    let place = Place {
        dir,
        accept_loss: options.accept_loss,
    };
    for path in [dir.to_owned(), dir.join(LOG_DIR)] {
        make_dir(&path).map_err(|error| place.io(&path, error))?;
    }
    let lock = lock(&place)?;
    remove_discarded(&place)?;
    let manifest = manifest(&place)?;
    let base =
        Base::open(&dir.join(BASE_DIR), options.cache_bytes).map_err(|error| OpenError::Base {
            dir: place.dir(),
            error: error.to_string(),
        })?;
    let view = View {
        active: Arc::new(Delta::with_room_for(options.delta_max_edges)),
        sealed: None,
        base: Arc::new(base.snapshot()),
    };
    let read = |error: ReadError| place.unreadable(&error);
    let mark = view.note(&Mark::key()).map_err(read)?;
    let mark = match mark {
        Some(bytes) => Mark::decode(&bytes).map_err(|e| read(e.into()))?,
        None => Mark {
            store: manifest.store,
            ..Mark::default()
        },
    };
    if mark.store != manifest.store {
        let reason = "its manifest and its tables are of two different stores".to_owned();
        return Err(OpenError::NotAStore {
            dir: place.dir(),
            reason,
        });
    }
    let (dictionary, new_names) = Dictionary::load(&view, kinds).map_err(read)?;
    let daily = DailyBook::load(&view.base).map_err(read)?;
    let boards = Boards::load(&view.base).map_err(read)?;
    let replay = Replay {
        place: &place,
        view: &view,
        dictionary: Arc::new(dictionary),
        outlet: Outlet {
            daily: &daily,
            boards: &boards,
        },
        last_seq: mark.seq,
    };
    let Replayed {
        segments,
        end,
        dictionary,
        commits,
    } = replay.run(&mark)?;
    info!(commits, edges = view.active.size(), "replayed the log");
    let watermark = Watermark::open(dir).map_err(|error| place.io(dir, error))?;
    let segments: Segments = Arc::new(RwLock::new(segments));
    let log_dir = dir.join(LOG_DIR);
    let bytes = options.log_segment_bytes;
    let log = LogWriter::resume(&log_dir, bytes, Arc::clone(&segments), watermark, end);
    let log = log.map_err(|error| place.io(&log_dir, error))?;
    let spools =
        Spools::open(dir, options.spool_max_bytes).map_err(|error| place.io(dir, error))?;
    let (store, cursor_key) = (manifest.store, CursorKey::new(manifest.cursor_secret));
    Ok(Opened {
        lock,
        store,
        cursor_key,
        base,
        view,
        dictionary,
        daily,
        boards,
        segments,
        log,
        spools,
        mark,
        new_names,
    })
}

fn lock(place: &Place<'_>) -> Result<File, OpenError> {
    let path = place.dir.join(LOCK_FILE);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(|error| place.io(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: place.dir() }),
        Err(TryLockError::Error(error)) => Err(place.io(&path, error)),
    }
}

fn remove_discarded(place: &Place<'_>) -> Result<(), OpenError> {
    let path = place.dir.join(DISCARDED_DIR);
    match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(place.io(&path, error)),
        _ => Ok(()),
    }
}

fn manifest(place: &Place<'_>) -> Result<Manifest, OpenError> {
    let path = place.dir.join(MANIFEST_FILE);
    let not_a_store = |reason: String| OpenError::NotAStore {
        dir: place.dir(),
        reason,
    };
    match std::fs::read(&path) {
        Ok(bytes) => {
            let manifest: Manifest = serde_json::from_slice(&bytes)
                .map_err(|error| not_a_store(format!("{MANIFEST_FILE}: {error}")))?;
            if manifest.format != FORMAT {
                let reason = format!(
                    "its format is {}, this version of Acclaim reads {FORMAT}",
                    manifest.format
                );
                return Err(not_a_store(reason));
            }
            Ok(manifest)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if place.dir.join(BASE_DIR).exists() {
                return Err(not_a_store(format!("{MANIFEST_FILE} is missing")));
            }
            create_manifest(place, &path).map_err(|error| place.io(&path, error))
        }
        Err(error) => Err(place.io(&path, error)),
    }
}

fn create_manifest(place: &Place<'_>, path: &Path) -> io::Result<Manifest> {
    let manifest = Manifest {
        format: FORMAT,
        store: rand::random(),
        cursor_secret: rand::random(),
    };
    let new = path.with_extension("new");
    std::fs::write(&new, serde_json::to_vec_pretty(&manifest)?)?;
    File::open(&new)?.sync_all()?;
    std::fs::rename(&new, path)?;
    sync_dir(place.dir)?;
    Ok(manifest)
}
