//! Reading the log at start: replay it, tell a torn tail from damage, and, where the operator accepts
//! it, go on without what is lost.
//!
//! A loss that was accepted ends the log at the first thing that does not read. What came after is
//! set aside under another name, never read again and never deleted, and the log goes on from there
//! with numbers that were not used before, so the next start finds nothing to ask about.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acclaim_core::Rev;
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
use super::workspace::{Outlet, Workspace};

/// Entries replayed in one go.
const REPLAY_ENTRIES: usize = 8_192;
/// What the name of a segment that was set aside ends in.
const SET_ASIDE: &str = "lost";

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
    /// The last commit in the base.
    pub after: u64,
    /// Read and not yet replayed.
    pub waiting: Vec<Entry>,
    /// The last journal place replayed.
    pub last_seq: Rev,
    /// Commits replayed.
    pub commits: u64,
}

impl Replay<'_> {
    fn push(&mut self, number: u64, entries: Vec<Entry>) {
        if number > self.after {
            self.commits += 1;
            self.waiting.extend(entries);
        }
    }

    pub fn flush(&mut self) -> Result<(), OpenError> {
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

/// How a segment was found.
enum Found {
    /// Sound to its end.
    Sound(Scanned),
    /// Readable up to a place, which was accepted as the end of the log.
    Cut(Scanned),
}

/// Reads the segments that may hold commits after the mark; the ones before are only listed.
pub fn read_log(
    place: &Place<'_>,
    mark: &Mark,
    replay: &mut Replay<'_>,
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
        let (scanned, is_cut) = match scan(place, *name, path, is_last, replay)? {
            Found::Sound(scanned) => (scanned, false),
            Found::Cut(scanned) => (scanned, true),
        };
        replay.flush()?;
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
    replay: &mut Replay<'_>,
) -> Result<Found, OpenError> {
    let bytes = std::fs::read(path).map_err(|error| place.io(path, error))?;
    let after = Rev(name.after_seq);
    let visit = |number, entries| replay.push(number, entries);
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
