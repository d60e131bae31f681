//! Reading the journal from a place on, while it is being written.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use acclaim_core::port::Place;
use acclaim_core::{JournalError, Rev};

use super::super::codec::Reader;
use super::frame;
use super::{ChangeEntry, Entry, SegmentInfo, Segments};

/// How much is read at once; a larger frame is read whole.
const READ_BYTES: u64 = 256 * 1024;

/// Where to begin in a segment: the journal place before it, and the offset.
type Start = (u64, u64);

/// Reads what is durable. Any number may read at once.
#[derive(Clone, Debug)]
pub struct LogReader {
    segments: Segments,
}

impl LogReader {
    /// Reads these segments.
    pub fn new(segments: Segments) -> Self {
        Self { segments }
    }

    /// Hands every transition after `after` to `visit`, oldest first, until it breaks off or the
    /// durable end is reached.
    pub fn changes_after(
        &self,
        after: Rev,
        mut visit: impl FnMut(ChangeEntry) -> ControlFlow<()>,
    ) -> Result<(), JournalError> {
        for (segment, start) in self.from(after)? {
            if read_segment(&segment, start, after, &mut visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The segments that hold what follows `after`, each with where to begin in it.
    fn from(&self, after: Rev) -> Result<Vec<(SegmentInfo, Start)>, JournalError> {
        let segments = self.segments.read();
        let Some(oldest) = segments.first() else {
            return Ok(Vec::new());
        };
        if after.0 < oldest.name.after_seq {
            return Err(trimmed(after, oldest.name.after_seq));
        }
        let first = segments.partition_point(|segment| segment.name.after_seq <= after.0) - 1;
        let place = |segment: &SegmentInfo| {
            let mark = segment.marks.iter().rfind(|(seq, _)| *seq <= after.0);
            (
                segment.clone(),
                *mark.unwrap_or(&(segment.name.after_seq, 0)),
            )
        };
        Ok(segments[first..].iter().map(place).collect())
    }
}

fn trimmed(after: Rev, oldest: u64) -> JournalError {
    JournalError::Trimmed {
        asked: Place::unpartitioned(after),
        oldest: Place::unpartitioned(Rev(oldest)),
    }
}

fn read_segment(
    segment: &SegmentInfo,
    (seq, mut offset): Start,
    after: Rev,
    visit: &mut impl FnMut(ChangeEntry) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, JournalError> {
    let store =
        |error: io::Error| JournalError::Store(format!("{}: {error}", segment.path.display()));
    let file = match File::open(&segment.path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(trimmed(after, segment.name.after_seq + 1));
        }
        Err(error) => return Err(store(error)),
    };
    let mut last_seq = Rev(seq);
    let mut at_once = READ_BYTES;
    while offset < segment.durable_bytes {
        let mut bytes = vec![0; at_once.min(segment.durable_bytes - offset) as usize];
        file.read_exact_at(&mut bytes, offset).map_err(store)?;
        let mut read = 0;
        while let Some(Ok(frame)) = frame::read(&bytes[read..]) {
            read += frame.bytes();
            if frame.header.seq <= after.0 {
                last_seq = Rev(frame.header.seq);
            } else if visit_frame(frame.payload, &mut last_seq, after, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if read == 0 {
            if frame::read(&bytes).is_none() {
                // A segment that was full: zeros to its end.
                break;
            }
            if bytes.len() as u64 == segment.durable_bytes - offset {
                let place = format!("{} at byte {offset}", segment.path.display());
                return Err(JournalError::Store(format!(
                    "a frame does not read: {place}"
                )));
            }
            at_once *= 4;
        } else {
            at_once = READ_BYTES;
        }
        offset += read as u64;
    }
    Ok(ControlFlow::Continue(()))
}

fn visit_frame(
    payload: &[u8],
    last_seq: &mut Rev,
    after: Rev,
    visit: &mut impl FnMut(ChangeEntry) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, JournalError> {
    let mut reader = Reader(payload);
    while !reader.is_empty() {
        let entry = Entry::decode(&mut reader, last_seq);
        if let Entry::Change(change) = entry.map_err(|e| JournalError::Store(e.to_string()))?
            && change.seq > after
            && visit(change).is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
