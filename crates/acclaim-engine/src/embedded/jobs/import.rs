//! Import: a text that was kept is read line by line, and its edges are set.
//!
//! Each step commits its edges together with the place in the text and the counts so far. So after
//! a crash the job goes on behind the last line that was committed, and no line is done or counted
//! twice.
//!
//! Bad lines are rejected one by one. What can get better by itself (a full queue, a full disk) is
//! waited for.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use acclaim_core::port::{Applied, ImportSpec, JobId, JobState};
use acclaim_core::transfer::{
    Decoded, Decoder, Defaults, Format, FormatError, Place, Rejection, Summary,
};
use acclaim_core::{Kinds, Op, ReadError, Rev, TargetType, Transition, WriteError};
use serde::{Deserialize, Serialize, Serializer};

use super::super::lane::Command;
use super::super::notes::{self, name};
use super::super::view::View;
use super::super::workspace::Workspace;
use super::{JobRecord, Runner, StepError};
use crate::failpoint;

/// Bytes that are read from the file at once.
const READ_BYTES: usize = 64 * 1024;
/// How long one step is tried, before the job fails.
const PATIENCE: Duration = Duration::from_secs(600);
/// The pause before each further try.
const PAUSE: Duration = Duration::from_millis(100);

/// A text and how it is read, by names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportText {
    spool: String,
    format: Format,
    kind: Option<String>,
    target_type: Option<String>,
}

impl ImportText {
    /// The text of this name.
    pub fn new(spool: String, spec: &ImportSpec, kinds: &Kinds) -> Self {
        let Defaults { kind, target_type } = &spec.defaults;
        Self {
            spool,
            format: spec.format,
            kind: kind.map(|kind| kinds.get(kind).name.to_string()),
            target_type: target_type.as_ref().map(TargetType::to_string),
        }
    }

    /// Its name.
    pub fn spool(&self) -> &str {
        &self.spool
    }

    fn decoder(&self, kinds: &Kinds) -> Result<Decoder, StepError> {
        let kind = match &self.kind {
            Some(name) => Some(kinds.find(name).ok_or_else(|| {
                StepError::Failed(format!("the kind {name:?} is not configured any more"))
            })?),
            None => None,
        };
        let target_type = self.target_type.as_deref().map(TargetType::parse);
        let target_type = target_type
            .transpose()
            .map_err(|error| StepError::Failed(format!("target type {error}")))?;
        let defaults = Defaults { kind, target_type };
        Ok(Decoder::new(self.format, kinds, defaults))
    }
}

impl fmt::Display for ImportText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "import {}", self.format.media_type())
    }
}

/// How far an import got. Its rejections lie in a note of their own, so that looking through all
/// jobs does not read them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Imported {
    place: Place,
    #[serde(serialize_with = "without_rejections")]
    summary: Summary,
}

fn without_rejections<S: Serializer>(summary: &Summary, serializer: S) -> Result<S::Ok, S::Error> {
    let counts = Summary {
        rejections: Vec::new(),
        ..*summary
    };
    counts.serialize(serializer)
}

impl Imported {
    /// What became of the lines so far.
    pub fn summary(&self) -> Summary {
        self.summary.clone()
    }

    /// Where the rejections of a job lie.
    pub fn rejections_key(id: JobId) -> Vec<u8> {
        notes::numbered_key(name::REJECTIONS, id)
    }

    /// Reads them.
    pub fn read_rejections(&mut self, view: &View, id: JobId) -> Result<(), ReadError> {
        if let Some(bytes) = view.note(&Self::rejections_key(id))? {
            self.summary.rejections = serde_json::from_slice(&bytes)
                .map_err(|error| ReadError::Store(format!("the rejections of a job: {error}")))?;
        }
        Ok(())
    }
}

/// What a step leaves behind, besides its edges.
struct End {
    rejections: Vec<Rejection>,
    /// The end of what was read.
    place: Place,
    /// Whether the text ends with it.
    is_last: bool,
}

impl JobRecord {
    /// Counts a step. Says whether there are new rejections to be kept.
    fn advance(&mut self, transitions: &[Transition], end: &End) -> bool {
        self.done = end.place.bytes;
        if end.is_last {
            // Together with the last lines, so that no crash comes between them and this.
            self.state = JobState::Done;
            self.done = self.total;
        }
        let Some(import) = &mut self.import else {
            return false;
        };
        let kept = import.summary.rejections.len();
        import.place = end.place;
        import.summary.count_applied(transitions);
        import.summary.count_rejected(&end.rejections);
        import.summary.rejections.len() > kept
    }

    fn write_advance(&mut self, transitions: &[Transition], end: &End, work: &mut Workspace<'_>) {
        let has_new_rejections = self.advance(transitions, end);
        work.note(Self::key(self.id), Some(self.encode()));
        if let Some(import) = self.import.as_ref().filter(|_| has_new_rejections) {
            // A list of strings and numbers always serializes.
            let bytes = serde_json::to_vec(&import.summary.rejections).unwrap_or_default();
            work.note(Imported::rejections_key(self.id), Some(bytes));
        }
    }
}

impl Runner {
    pub(super) fn import(&self, job: &mut JobRecord, text: &ImportText) -> Result<(), StepError> {
        let place = job.import.as_ref().map_or(Place::default(), |i| i.place);
        let decoder = text.decoder(&self.shared.kinds)?;
        let file = File::open(self.shared.spools.path(text.spool())).map_err(unreadable)?;
        let mut reading = Reading::begin(file, decoder, place)?;
        let step_lines = self.shared.options.job_step_edges;
        while job.state != JobState::Done {
            let (ops, end) = reading.step(step_lines, || self.shared.clock.now())?;
            self.import_step(job, ops, end)?;
        }
        Ok(())
    }

    /// Commits a step, as soon as that can be.
    fn import_step(&self, job: &mut JobRecord, ops: Vec<Op>, end: End) -> Result<(), StepError> {
        let end = Arc::new(end);
        let begun = Instant::now();
        let applied = loop {
            let (mut written, its_end) = (job.clone(), Arc::clone(&end));
            let then = move |transitions: &[Transition], work: &mut Workspace<'_>| {
                written.write_advance(transitions, &its_end, work);
            };
            let weight = ops.len().max(1);
            let step = Command::Step(ops.clone(), Box::new(then));
            match self.ask(step, weight) {
                Ok(applied) => break applied,
                Err(error) if passes(&error) && begun.elapsed() < PATIENCE => sleep(PAUSE),
                Err(error) => return Err(error.into()),
            }
        };
        job.advance(&applied.transitions, &end);
        failpoint::hit(failpoint::JOB_STEP);
        Ok(())
    }

    fn ask(&self, command: Command, weight: usize) -> Result<Applied, WriteError> {
        let queued = self.lane.call(command, weight);
        let queued = queued.map_err(|refused| self.shared.refusal(refused))?;
        queued.blocking_recv().unwrap_or(Err(WriteError::Stopping))
    }
}

/// Whether an error may be gone the next time.
fn passes(error: &WriteError) -> bool {
    matches!(
        error,
        WriteError::Overloaded { .. } | WriteError::Unavailable { .. }
    )
}

/// A text being read.
struct Reading {
    file: BufReader<File>,
    /// Gone once the text has ended.
    decoder: Option<Decoder>,
    place: Place,
}

impl Reading {
    /// Goes on at `place`, of which an earlier reading got to.
    fn begin(file: File, mut decoder: Decoder, place: Place) -> Result<Self, StepError> {
        let mut file = BufReader::with_capacity(READ_BYTES, file);
        let mut header = file.by_ref().take(place.header_bytes);
        loop {
            let piece = header.fill_buf().map_err(unreadable)?;
            if piece.is_empty() {
                break;
            }
            // A header has no edges, so no time is looked at.
            decoder.decode(piece, Rev::ZERO, &mut Decoded::default())?;
            let length = piece.len();
            header.consume(length);
        }
        decoder.go_on_at(place);
        file.seek(SeekFrom::Start(place.bytes))
            .map_err(unreadable)?;
        Ok(Self {
            file,
            decoder: Some(decoder),
            place,
        })
    }

    /// Reads `lines` lines, or what is left if that is less.
    fn step(&mut self, lines: usize, now: impl Fn() -> Rev) -> Result<(Vec<Op>, End), StepError> {
        let mut out = Decoded::default();
        while let Some(decoder) = &mut self.decoder {
            let missing = lines.saturating_sub(out.ops.len() + out.rejections.len());
            if missing == 0 {
                break;
            }
            let piece = self.file.fill_buf().map_err(unreadable)?;
            if piece.is_empty() {
                if let Some(decoder) = self.decoder.take() {
                    decoder.finish(now(), &mut out)?;
                }
                break;
            }
            let piece = up_to_line(piece, missing);
            decoder.decode(piece, now(), &mut out)?;
            self.place = decoder.place();
            let length = piece.len();
            self.file.consume(length);
        }
        let end = End {
            rejections: out.rejections,
            place: self.place,
            is_last: self.decoder.is_none(),
        };
        Ok((out.ops, end))
    }
}

/// The start of `piece` with at most so many ends of lines: no more lines can come of it.
fn up_to_line(piece: &[u8], lines: usize) -> &[u8] {
    let last = memchr::memchr2_iter(b'\n', b'\r', piece).nth(lines.saturating_sub(1));
    last.map_or(piece, |end| &piece[..=end])
}

impl From<FormatError> for StepError {
    fn from(error: FormatError) -> Self {
        Self::Failed(error.to_string())
    }
}

fn unreadable(error: io::Error) -> StepError {
    StepError::Failed(match error.kind() {
        io::ErrorKind::NotFound => "its text is not there, as in a store that was restored from a \
                                    backup; send it again, nothing doubles"
            .to_owned(),
        _ => format!("its text could not be read: {error}"),
    })
}
