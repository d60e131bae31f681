//! Appending to the log: one frame a commit, durable when `append` returns.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use acclaim_core::Rev;

use super::super::names::sync_dir;
use super::frame::Frame;
use super::segment::{self, SegmentName};
use super::{Entry, MARK_EVERY_BYTES, SegmentInfo, Segments, Watermark};
use crate::failpoint;

/// Why a commit could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LogFailure {
    /// There is no room; nothing was written, and it may be tried again.
    #[error("the disk is full")]
    Full,
    /// The disk failed. What is durable is unknown, so the process must end (a failed fsync may
    /// have dropped the pages it could not write, and a second one would say all is well).
    #[error("the log could not be written: {0}")]
    Broken(io::Error),
}

/// Whether an error means that there is no room.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// The only writer of a log.
pub struct LogWriter {
    dir: PathBuf,
    segment_bytes: u64,
    segments: Segments,
    watermark: Watermark,
    file: Option<File>,
    offset: u64,
    marked: u64,
    next_number: u64,
    last_seq: Rev,
    spare: Option<JoinHandle<io::Result<PathBuf>>>,
    buffer: Vec<u8>,
}

/// Where the log ends, as recovery found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The number the next frame gets.
    pub next_number: u64,
    /// The last journal place.
    pub last_seq: Rev,
    /// Where the next frame goes in the newest segment.
    pub offset: u64,
}

impl LogWriter {
    /// Goes on where the log ends. The newest of `segments`, if any, is written further.
    ///
    /// What was read from the log may have been written by a process that died before it could
    /// flush. It is made durable here, before anybody is shown it.
    pub fn resume(
        dir: &Path,
        segment_bytes: u64,
        segments: Segments,
        watermark: Watermark,
        end: LogEnd,
    ) -> io::Result<Self> {
        let newest = segments.read().last().map(|segment| segment.path.clone());
        let file = match newest {
            Some(path) => {
                let file = OpenOptions::new().read(true).write(true).open(path)?;
                file.sync_data()?;
                Some(file)
            }
            None => None,
        };
        sync_dir(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            segment_bytes,
            segments,
            watermark,
            file,
            offset: end.offset,
            marked: end.offset,
            next_number: end.next_number,
            last_seq: end.last_seq,
            spare: None,
            buffer: Vec::new(),
        })
    }

    /// The number of the last commit.
    pub fn last_number(&self) -> u64 {
        self.next_number - 1
    }

    /// The last journal place.
    pub fn last_seq(&self) -> Rev {
        self.last_seq
    }

    /// Makes a commit durable and returns its bytes.
    ///
    /// # Errors
    /// [`LogFailure`]; only after [`LogFailure::Full`] may the writer be used again.
    pub fn append(&mut self, entries: &[Entry]) -> Result<usize, LogFailure> {
        let before = self.last_seq;
        let mut seq = before;
        let mut buffer = std::mem::take(&mut self.buffer);
        Frame::begin(&mut buffer);
        for entry in entries {
            entry.encode(&mut buffer, &mut seq);
        }
        Frame::finish(&mut buffer, self.next_number, seq.0);
        let written = self.write(&buffer, before);
        let bytes = buffer.len();
        self.buffer = buffer;
        written?;
        self.last_seq = seq;
        self.next_number += 1;
        self.watermark
            .write(self.last_number(), seq.0)
            .map_err(LogFailure::Broken)?;
        Ok(bytes)
    }

    fn write(&mut self, frame: &[u8], before: Rev) -> Result<(), LogFailure> {
        let file = match self.file.take() {
            Some(file) if self.offset + frame.len() as u64 <= self.segment_bytes => file,
            full => self
                .roll(frame.len() as u64, before)
                .inspect_err(|_| self.file = full)?,
        };
        failpoint::hit(failpoint::COMMIT_BEFORE_WRITE);
        let written = file.write_all_at(frame, self.offset);
        failpoint::hit(failpoint::COMMIT_BEFORE_SYNC);
        let durable = written.and_then(|()| file.sync_data());
        self.file = Some(file);
        durable.map_err(|error| failure(error, "write"))?;
        self.publish(frame.len() as u64, before);
        if self.spare.is_none() && self.offset > self.segment_bytes / 2 {
            self.prepare_spare();
        }
        Ok(())
    }

    fn publish(&mut self, bytes: u64, before: Rev) {
        let mut segments = self.segments.write();
        if let Some(segment) = segments.last_mut() {
            if self.offset >= self.marked + MARK_EVERY_BYTES || self.offset == 0 {
                segment.marks.push((before.0, self.offset));
                self.marked = self.offset;
            }
            self.offset += bytes;
            segment.durable_bytes = self.offset;
        }
    }

    fn roll(&mut self, frame_bytes: u64, before: Rev) -> Result<File, LogFailure> {
        let spare = match self.spare.take() {
            Some(thread) if frame_bytes <= self.segment_bytes => thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the spare's thread died"))),
            _ => segment::make_spare(&self.dir, self.segment_bytes.max(frame_bytes)),
        };
        let name = SegmentName {
            first_number: self.next_number,
            after_seq: before.0,
        };
        let spare = spare.map_err(|error| failure(error, "segment"))?;
        let file = segment::adopt_spare(&self.dir, &spare, name);
        let file = file.map_err(|error| failure(error, "segment"))?;
        self.offset = 0;
        self.marked = 0;
        let path = name.path(&self.dir);
        self.segments.write().push(SegmentInfo {
            name,
            path,
            durable_bytes: 0,
            marks: Vec::new(),
        });
        Ok(file)
    }

    fn prepare_spare(&mut self) {
        let (dir, bytes) = (self.dir.clone(), self.segment_bytes);
        let thread = std::thread::Builder::new().name("log-spare".into());
        // Without a thread the next roll makes its segment itself.
        self.spare = thread.spawn(move || segment::make_spare(&dir, bytes)).ok();
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if let Some(Ok(Ok(spare))) = self.spare.take().map(JoinHandle::join) {
            // The next start would remove it as well.
            let _ = std::fs::remove_file(spare);
        }
    }
}

fn failure(error: io::Error, step: &str) -> LogFailure {
    if is_full(&error) {
        LogFailure::Full
    } else {
        LogFailure::Broken(io::Error::new(error.kind(), format!("{step}: {error}")))
    }
}
