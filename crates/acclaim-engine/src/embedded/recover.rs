//! Reading the log at start: replay it, tell a torn tail from damage, and, where the operator accepts
//! it, go on without what is lost.
//!
//! A loss that was accepted ends the log at the first thing that does not read. What came after is
//! set aside under another name, never read again and never deleted, and the log goes on from there
//! with numbers that were not used before, so the next start finds nothing to ask about.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use acclaim_core::{ReadError, Rev};
use tracing::warn;

use super::dictionary::Dictionary;
use super::log::{
    Entry, LogEnd, Scanned, SegmentInfo, SegmentName, Tail, Watermark, list_segments, make_segment,
    scan_segment,
};
use super::names::sync_dir;
use super::notes::Mark;
use super::open::{LOG_DIR, OpenError, Place};
use super::view::View;
use super::workspace::{Outlet, Prefetched, Workspace};

/// Entries replayed in one go: enough that neighbours among their records are read together.
const REPLAY_ENTRIES: usize = 32_768;
/// Pieces of that size that wait to be replayed while the log is read on.
const PIECES_WAITING: usize = 2;
/// What the name of a segment that was set aside ends in.
const SET_ASIDE: &str = "lost";

/// Where commits go that were read from the log: to the thread that replays them.
pub struct Feed {
    /// The last commit in the base.
    after: u64,
    waiting: Vec<Entry>,
    pieces: SyncSender<Vec<Entry>>,
    commits: u64,
}

impl Feed {
    fn push(&mut self, number: u64, entries: Vec<Entry>) {
        if number > self.after {
            self.commits += 1;
            self.waiting.extend(entries);
            if self.waiting.len() >= REPLAY_ENTRIES {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        let room = Vec::with_capacity(REPLAY_ENTRIES);
        // Nobody takes it when the replay has failed, and then that is what is told.
        let _ = self.pieces.send(std::mem::replace(&mut self.waiting, room));
    }
}

/// Commits on their way from the log into the delta.
pub struct Replay<'a> {
    /// Where the store is.
    pub place: &'a Place<'a>,
    /// What is replayed into.
    pub view: &'a View,
    /// The dictionary so far.
    pub dictionary: Arc<Dictionary>,
    /// What is kept beside the view.
    pub outlet: Outlet<'a>,
    /// The last journal place replayed.
    pub last_seq: Rev,
}

/// A log that was read to its end and replayed.
pub struct Replayed {
    /// Its segments.
    pub segments: Vec<SegmentInfo>,
    /// Where it goes on.
    pub end: LogEnd,
    /// Names and numbers.
    pub dictionary: Arc<Dictionary>,
    /// Commits replayed.
    pub commits: u64,
}

/// A piece of the log with the records that it needs.
type Ready = (Vec<Entry>, Prefetched);

impl Replay<'_> {
    /// Reads the log after `mark` and replays it, in three threads: one reads the log, one reads
    /// the records that the next piece needs, one replays.
    pub fn run(mut self, mark: &Mark) -> Result<Replayed, OpenError> {
        let (place, view) = (self.place, self.view);
        let (pieces, to_prefetch) = sync_channel(PIECES_WAITING);
        let (ready, to_replay) = sync_channel::<Ready>(PIECES_WAITING);
        let mut feed = Feed {
            after: mark.number,
            waiting: Vec::new(),
            pieces,
            commits: 0,
        };
        thread::scope(|scope| {
            let prefetching = scope.spawn(move || prefetch(place, view, &to_prefetch, &ready));
            let replaying = scope.spawn(move || {
                for (piece, prefetched) in to_replay {
                    self.replay(&piece, prefetched)?;
                }
                Ok(self.dictionary)
            });
            let read = read_log(place, mark, &mut feed);
            feed.flush();
            let commits = feed.commits;
            drop(feed);
            // A panic there is one here.
            let prefetched = prefetching
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic));
            let replayed = replaying
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic));
            let (segments, end) = read?;
            prefetched?;
            Ok(Replayed {
                segments,
                end,
                dictionary: replayed?,
                commits,
            })
        })
    }

    fn replay(&mut self, piece: &[Entry], prefetched: Prefetched) -> Result<(), OpenError> {
        let mut work = Workspace::new(self.view, Arc::clone(&self.dictionary), self.last_seq);
        work.bring_in(prefetched);
        let done = piece.iter().try_for_each(|entry| work.replay(entry));
        done.map_err(|error| does_not_fit(self.place, &error))?;
        self.dictionary = Arc::clone(work.dictionary());
        self.last_seq = work.last_seq();
        work.publish(&self.outlet);
        Ok(())
    }
}

fn does_not_fit(place: &Place<'_>, error: &ReadError) -> OpenError {
    OpenError::Damaged {
        dir: place.dir(),
        reason: format!("the log does not fit the tables: {error}"),
    }
}

fn prefetch(
    place: &Place<'_>,
    view: &View,
    pieces: &Receiver<Vec<Entry>>,
    ready: &SyncSender<Ready>,
) -> Result<(), OpenError> {
    for piece in pieces {
        let edges = piece.iter().filter_map(|entry| match entry {
            Entry::Change(change) => Some(&change.edge),
            _ => None,
        });
        let prefetched = Prefetched::read(view, edges);
        let prefetched = prefetched.map_err(|error| does_not_fit(place, &error))?;
        // Nobody takes it when the replay has failed, and then that is what is told.
        let _ = ready.send((piece, prefetched));
    }
    Ok(())
}

/// How a segment was found.
enum Found {
    /// Sound to its end.
    Sound(Scanned),
    /// Readable up to a place, which was accepted as the end of the log.
    Cut(Scanned),
}

/// Reads the segments that may hold commits after the mark; the ones before are only listed.
fn read_log(
    place: &Place<'_>,
    mark: &Mark,
    feed: &mut Feed,
) -> Result<(Vec<SegmentInfo>, LogEnd), OpenError> {
    let log_dir = place.dir.join(LOG_DIR);
    let found = list_segments(&log_dir).map_err(|error| place.io(&log_dir, error))?;
    let first = found.partition_point(|(name, _)| name.first_number <= mark.number + 1);
    let first = first.saturating_sub(1);
    let mut segments = Vec::new();
    for (name, path) in &found[..first] {
        let length = std::fs::metadata(path)
            .map_err(|error| place.io(path, error))?
            .len();
        segments.push(info(*name, path, length));
    }
    let mut end = LogEnd {
        next_number: mark.number + 1,
        last_seq: mark.seq,
        offset: 0,
    };
    let mut read_any = false;
    for (index, (name, path)) in found.iter().enumerate().skip(first) {
        let is_begun = read_any || name.first_number > end.next_number;
        if is_begun && end.next_number != name.first_number {
            let (from, to) = (end.next_number, name.first_number - 1);
            place.loss(format!("commits {from} to {to} of the log are missing"))?;
            set_aside(place, &found[index..])?;
            break;
        }
        let is_last = index + 1 == found.len();
        let (scanned, is_cut) = match scan(place, *name, path, is_last, feed)? {
            Found::Sound(scanned) => (scanned, false),
            Found::Cut(scanned) => (scanned, true),
        };
        read_any = true;
        end = LogEnd {
            next_number: scanned.next_number,
            last_seq: scanned.last_seq,
            offset: scanned.bytes,
        };
        segments.push(info(*name, path, scanned.bytes));
        if is_cut {
            set_aside(place, &found[index + 1..])?;
            break;
        }
    }
    check_end(place, mark, segments, end, read_any)
}

fn info(name: SegmentName, path: &Path, durable_bytes: u64) -> SegmentInfo {
    SegmentInfo {
        name,
        path: path.to_owned(),
        durable_bytes,
        marks: Vec::new(),
    }
}

fn set_aside(place: &Place<'_>, segments: &[(SegmentName, PathBuf)]) -> Result<(), OpenError> {
    for (_, path) in segments {
        let aside = path.with_extension(SET_ASIDE);
        std::fs::rename(path, &aside).map_err(|error| place.io(path, error))?;
        warn!(segment = %aside.display(), "set aside a segment of the log that is not read again");
    }
    let log_dir = place.dir.join(LOG_DIR);
    sync_dir(&log_dir).map_err(|error| place.io(&log_dir, error))
}

/// Holds the end of the log against the mark and the watermark.
fn check_end(
    place: &Place<'_>,
    mark: &Mark,
    mut segments: Vec<SegmentInfo>,
    mut end: LogEnd,
    read_any: bool,
) -> Result<(Vec<SegmentInfo>, LogEnd), OpenError> {
    let io = |error: io::Error| place.io(place.dir, error);
    let watermark = Watermark::open(place.dir).map_err(io)?;
    let acknowledged = watermark.read().max(mark.number);
    let last = if read_any { end.next_number - 1 } else { 0 };
    if last >= acknowledged {
        return Ok((segments, end));
    }
    place.loss(format!(
        "the log ends with commit {last}, but commit {acknowledged} was acknowledged"
    ))?;
    if last < mark.number {
        // The tables are newer than the log: it goes on after them, in a segment of its own.
        let old: Vec<_> = segments.drain(..).map(|old| (old.name, old.path)).collect();
        set_aside(place, &old)?;
        let name = SegmentName {
            first_number: mark.number + 1,
            after_seq: mark.seq.0,
        };
        let path = make_segment(&place.dir.join(LOG_DIR), name).map_err(io)?;
        segments.push(info(name, &path, 0));
        end = LogEnd {
            next_number: mark.number + 1,
            last_seq: mark.seq,
            offset: 0,
        };
    }
    watermark
        .write(end.next_number - 1, end.last_seq.0)
        .map_err(io)?;
    Ok((segments, end))
}

fn scan(
    place: &Place<'_>,
    name: SegmentName,
    path: &Path,
    is_last: bool,
    feed: &mut Feed,
) -> Result<Found, OpenError> {
    let bytes = std::fs::read(path).map_err(|error| place.io(path, error))?;
    let after = Rev(name.after_seq);
    let visit = |number, entries| feed.push(number, entries);
    let (scanned, is_cut) = match scan_segment(&bytes, name.first_number, after, visit) {
        Ok(scanned) if scanned.tail == Tail::Torn && !is_last => {
            place.loss(format!("{}: it is torn and others follow", path.display()))?;
            (scanned, true)
        }
        Ok(scanned) => (scanned, false),
        Err(damage) => {
            place.loss(format!("{}: {damage}", path.display()))?;
            // What is before the damage was read a moment ago, so it reads again.
            let sound = &bytes[..damage.offset as usize];
            let again = scan_segment(sound, name.first_number, after, |_, _| ());
            let again = again.map_err(|damage| OpenError::Damaged {
                dir: place.dir(),
                reason: format!("{}: {damage}", path.display()),
            })?;
            (again, true)
        }
    };
    let rest = &bytes[scanned.bytes as usize..];
    if (is_last || is_cut) && rest.iter().any(|byte| *byte != 0) {
        warn!(segment = %path.display(), at = scanned.bytes, "cut off what follows the last commit");
        zero_from(path, scanned.bytes, bytes.len() as u64).map_err(|e| place.io(path, e))?;
    }
    Ok(if is_cut {
        Found::Cut(scanned)
    } else {
        Found::Sound(scanned)
    })
}

/// Overwrites what follows the last frame with zeros, as it was before it was torn.
fn zero_from(path: &Path, from: u64, to: u64) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.write_all_at(&vec![0; (to - from) as usize], from)?;
    file.sync_all()
}
