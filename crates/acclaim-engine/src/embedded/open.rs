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
use acclaim_core::{Kinds, ReadError, Rev};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::base::Base;
use super::board::Boards;
use super::daily::DailyBook;
use super::delta::Delta;
use super::dictionary::Dictionary;
use super::log::{
    Entry, LogEnd, LogWriter, Scanned, SegmentInfo, SegmentName, Segments, Tail, Watermark,
    is_full, list_segments, scan_segment, sync_dir,
};
use super::notes::Mark;
use super::options::Options;
use super::view::View;
use super::workspace::{Outlet, Workspace};

/// The directory of the log inside the data directory.
pub const LOG_DIR: &str = "log";
/// The directory of the tables inside the data directory.
pub const BASE_DIR: &str = "base";
/// The manifest's file.
pub const MANIFEST_FILE: &str = "manifest.json";
const LOCK_FILE: &str = "lock";
const FORMAT: u32 = 1;
/// Entries replayed in one go.
const REPLAY_ENTRIES: usize = 8_192;

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
    /// What the base contains.
    pub mark: Mark,
    /// Notes that must be written first.
    pub new_names: Vec<super::dictionary::NewName>,
}

/// What is needed to say where something went wrong.
struct Place<'a> {
    dir: &'a Path,
    accept_loss: bool,
}

impl Place<'_> {
    fn dir(&self) -> String {
        self.dir.display().to_string()
    }

    fn io(&self, path: &Path, error: io::Error) -> OpenError {
        if is_full(&error) {
            return OpenError::Full { dir: self.dir() };
        }
        OpenError::Io {
            path: path.display().to_string(),
            error,
        }
    }

    /// Refuses, unless the operator accepts the loss.
    fn loss(&self, reason: String) -> Result<(), OpenError> {
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
        std::fs::create_dir_all(&path).map_err(|error| place.io(&path, error))?;
    }
    let lock = lock(&place)?;
    let manifest = manifest(&place)?;
    let base =
        Base::open(&dir.join(BASE_DIR), options.cache_bytes).map_err(|error| OpenError::Base {
            dir: place.dir(),
            error: error.to_string(),
        })?;
    let view = View {
        active: Arc::new(Delta::default()),
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
    let mut replay = Replay {
        place: &place,
        view: &view,
        dictionary: Arc::new(dictionary),
        outlet: Outlet {
            daily: &daily,
            boards: &boards,
        },
        after: mark.number,
        waiting: Vec::new(),
        last_seq: mark.seq,
        commits: 0,
    };
    let (segments, end) = read_log(&place, &mark, &mut replay)?;
    replay.flush()?;
    let (dictionary, commits) = (replay.dictionary, replay.commits);
    info!(commits, edges = view.active.size(), "replayed the log");
    let watermark = Watermark::open(dir).map_err(|error| place.io(dir, error))?;
    let segments: Segments = Arc::new(RwLock::new(segments));
    let log_dir = dir.join(LOG_DIR);
    let bytes = options.log_segment_bytes;
    let log = LogWriter::resume(&log_dir, bytes, Arc::clone(&segments), watermark, end);
    let log = log.map_err(|error| place.io(&log_dir, error))?;
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

/// Commits on their way from the log into the delta.
struct Replay<'a> {
    place: &'a Place<'a>,
    view: &'a View,
    dictionary: Arc<Dictionary>,
    outlet: Outlet<'a>,
    /// The last commit in the base.
    after: u64,
    waiting: Vec<Entry>,
    last_seq: Rev,
    commits: u64,
}

impl Replay<'_> {
    fn push(&mut self, number: u64, entries: Vec<Entry>) {
        if number > self.after {
            self.commits += 1;
            self.waiting.extend(entries);
        }
    }

    fn flush(&mut self) -> Result<(), OpenError> {
        for chunk in std::mem::take(&mut self.waiting).chunks(REPLAY_ENTRIES) {
            let mut work = Workspace::new(self.view, Arc::clone(&self.dictionary), self.last_seq);
            for entry in chunk {
                work.replay(entry).map_err(|error| OpenError::Damaged {
                    dir: self.place.dir(),
                    reason: format!("the log does not fit the tables: {error}"),
                })?;
            }
            self.dictionary = Arc::clone(work.dictionary());
            self.last_seq = work.last_seq();
            work.publish(&self.outlet);
        }
        Ok(())
    }
}

/// Reads the segments that may hold commits after the mark; the ones before are only listed.
fn read_log(
    place: &Place<'_>,
    mark: &Mark,
    replay: &mut Replay<'_>,
) -> Result<(Vec<SegmentInfo>, LogEnd), OpenError> {
    let log_dir = place.dir.join(LOG_DIR);
    let found = list_segments(&log_dir).map_err(|error| place.io(&log_dir, error))?;
    let first = found.partition_point(|(name, _)| name.first_number <= mark.number + 1);
    let mut segments: Vec<SegmentInfo> = Vec::new();
    let mut end = LogEnd {
        next_number: mark.number + 1,
        last_seq: mark.seq,
        offset: 0,
    };
    for (index, (name, path)) in found.iter().enumerate() {
        let info = |durable_bytes| SegmentInfo {
            name: *name,
            path: path.clone(),
            durable_bytes,
            marks: Vec::new(),
        };
        if index + 1 < first {
            let length = std::fs::metadata(path)
                .map_err(|error| place.io(path, error))?
                .len();
            segments.push(info(length));
            continue;
        }
        if index + 1 > first && end.next_number != name.first_number {
            let (from, to) = (end.next_number, name.first_number - 1);
            place.loss(format!("commits {from} to {to} of the log are missing"))?;
        }
        let scanned = scan(place, *name, path, index + 1 == found.len(), replay)?;
        replay.flush()?;
        end = LogEnd {
            next_number: scanned.next_number,
            last_seq: scanned.last_seq,
            offset: scanned.bytes,
        };
        segments.push(info(scanned.bytes));
    }
    check_end(place, mark, &mut segments, end)
}

/// Holds the end of the log against the mark and the watermark.
fn check_end(
    place: &Place<'_>,
    mark: &Mark,
    segments: &mut Vec<SegmentInfo>,
    mut end: LogEnd,
) -> Result<(Vec<SegmentInfo>, LogEnd), OpenError> {
    let watermark = Watermark::open(place.dir).map_err(|error| place.io(place.dir, error))?;
    let acknowledged = watermark.read().max(mark.number);
    let last = if segments.is_empty() {
        0
    } else {
        end.next_number - 1
    };
    if last < acknowledged {
        let reason =
            format!("the log ends with commit {last}, but commit {acknowledged} was acknowledged");
        place.loss(reason)?;
        // Later commits must not take the numbers of lost ones that the base contains.
        if end.next_number <= mark.number {
            segments.clear();
            end = LogEnd {
                next_number: mark.number + 1,
                last_seq: mark.seq,
                offset: 0,
            };
        }
        watermark
            .write(end.next_number - 1, end.last_seq.0)
            .map_err(|e| place.io(place.dir, e))?;
    }
    Ok((std::mem::take(segments), end))
}

fn scan(
    place: &Place<'_>,
    name: SegmentName,
    path: &Path,
    is_last: bool,
    replay: &mut Replay<'_>,
) -> Result<Scanned, OpenError> {
    let bytes = std::fs::read(path).map_err(|error| place.io(path, error))?;
    let after = Rev(name.after_seq);
    let visit = |number, entries| replay.push(number, entries);
    let damaged = |reason: String| OpenError::Damaged {
        dir: place.dir(),
        reason: format!("{}: {reason}", path.display()),
    };
    let scanned = match scan_segment(&bytes, name.first_number, after, visit) {
        Ok(scanned) => scanned,
        Err(damage) if place.accept_loss => {
            warn!(segment = %path.display(), %damage, "cut off a damaged log");
            let cut = damage.offset as usize;
            let again = scan_segment(&bytes[..cut], name.first_number, after, |_, _| ());
            again.map_err(|damage| damaged(damage.to_string()))?
        }
        Err(damage) => return Err(damaged(damage.to_string())),
    };
    if scanned.tail == Tail::Torn && !is_last {
        place.loss(format!(
            "{}: it ends in a torn frame and others follow",
            path.display()
        ))?;
    }
    let whole = bytes[scanned.bytes as usize..]
        .iter()
        .all(|byte| *byte == 0);
    if is_last && !whole {
        warn!(segment = %path.display(), at = scanned.bytes, "cut off a torn frame that nobody was answered for");
        zero_from(path, scanned.bytes, bytes.len() as u64).map_err(|e| place.io(path, e))?;
    }
    Ok(scanned)
}

/// Overwrites what follows the last frame with zeros, as it was before it was torn.
fn zero_from(path: &Path, from: u64, to: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let file = File::options().write(true).open(path)?;
    file.write_all_at(&vec![0; (to - from) as usize], from)?;
    file.sync_all()
}
