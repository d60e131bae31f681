//! Imports that run as jobs: a text in the ledger is read line by line, and its edges are set.
//!
//! Edges are decided in Redis and the place in the text is written down in the ledger, so between
//! the two a node may end. The step is then done again, under the idempotency key that it had: what
//! was decided answers as it did the first time, so no line counts twice. Once a step is written
//! down, nobody asks for its answers any more, and they are removed.
//!
//! Invariant: of one place in one text every node reads the same step. So the lines of a step and
//! the time by which `at` is judged stand in the job's words, not in a node's configuration.
//!
//! Redis keeps answers for 24 hours. A step that is begun again later still changes nothing twice
//! where its lines have times; then some of its lines may count as already there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use acclaim_core::port::{Idempotency, Write};
use acclaim_core::transfer::{Decoded, Decoder, Defaults, FormatError, Place, Rejection};
use acclaim_core::{Op, Rev, TargetType, Transition, WriteError};
use futures::future::join_all;
use tokio::time::Instant;

use super::jobs::{Halt, is_ours, passes};
use super::shared::Shared;
use crate::ledger::Ledger;
use crate::ledger::journals::imports::{ImportProgress, ImportWork};
use crate::ledger::journals::jobs::TakenJob;
use crate::ledger::journals::texts::{PIECE_BYTES, TextId};
use crate::redis::idempotency::home;

/// How long one step is tried, before the job is left.
const PATIENCE: Duration = Duration::from_secs(600);
/// The pause before each further try.
const PAUSE: Duration = Duration::from_millis(100);

impl Shared {
    /// Works an import off, from where the node before was.
    pub async fn import(
        self: &Arc<Self>,
        job: &mut TakenJob,
        work: &ImportWork,
    ) -> Result<(), Halt> {
        let progress = ImportProgress::unpack(&job.progress, &job.rejections);
        let mut progress = progress?;
        let decoder = self.decoder(work)?;
        let mut reading =
            Reading::begin(&self.ledger, work, job.total, decoder, progress.place).await?;
        loop {
            let key = key_of(work.text, progress.place);
            let step = reading.step(work.step_lines as usize).await?;
            let transitions = self.decide_step(job, &step.ops, key).await?;
            progress.summary.count_applied(&transitions);
            progress.summary.count_rejected(&step.rejections);
            progress.place = step.place;
            let length = (!step.is_last).then(|| self.limits.job_lease());
            is_ours(self.ledger.note_import(job, &progress, length).await)?;
            self.forget_step(&step.ops, &key).await;
            if step.is_last {
                return Ok(());
            }
            if self.is_stopping() {
                return Err(Halt::Left);
            }
        }
    }

    fn decoder(&self, work: &ImportWork) -> Result<Decoder, Halt> {
        let failed = |reason: String| Halt::Failed(reason);
        let kind = work.kind.as_ref().map(|name| {
            let kind = self.kinds.find(name);
            kind.ok_or_else(|| failed(format!("the kind {name:?} is not configured any more")))
        });
        let target_type = work.target_type.as_deref().map(TargetType::parse);
        let defaults = Defaults {
            kind: kind.transpose()?,
            target_type: target_type
                .transpose()
                .map_err(|error| failed(format!("target type {error}")))?,
        };
        Ok(Decoder::new(work.format, &self.kinds, defaults))
    }

    /// Decides the ops of a step, as soon as that can be.
    async fn decide_step(
        self: &Arc<Self>,
        job: &TakenJob,
        ops: &[Op],
        key: Idempotency,
    ) -> Result<Vec<Transition>, Halt> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let write = Write {
                idempotency: Some(key),
                ..Write::plain(ops.to_vec())
            };
            match self.apply(write).await {
                Ok(applied) => return Ok(applied.transitions),
                Err(WriteError::Stopping) => return Err(Halt::Left),
                Err(error) if passes(&error) && Instant::now() < until => {
                    tracing::warn!(%error, job = job.id, "a step of an import is tried again");
                    tokio::time::sleep(PAUSE).await;
                    // Only while it is ours: another node may have gone past this step.
                    self.note(job).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes the answers of a step that is written down. What stays is swept with its day.
    async fn forget_step(&self, ops: &[Op], key: &Idempotency) {
        let mut places: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
        if !ops.is_empty() {
            // Here lies the request itself.
            places.insert(home(&key.key, self.store.partitions), Vec::new());
        }
        for (place, op) in (0..).zip(ops) {
            if let Ok(target) = self.written_target(&op.edge.target_key()).await {
                let partition = target.partition(self.store.partitions);
                places.entry(partition).or_default().push(place);
            }
        }
        let time = self.script_time();
        let forget = places.iter().map(|(partition, places)| {
            let partition = self.partition(*partition);
            self.redis.forget_answers(partition, time, &key.key, places)
        });
        for forgotten in join_all(forget).await {
            if let Err(error) = forgotten {
                tracing::debug!(%error, "answers of an import are removed with their day");
            }
        }
    }
}

/// The key of the step that begins at a place of a text.
fn key_of(text: TextId, place: Place) -> Idempotency {
    Idempotency::new("import job", &format!("{text} {}", place.bytes), &[])
}

/// What one step reads.
struct Step {
    ops: Vec<Op>,
    rejections: Vec<Rejection>,
    /// The end of what was read.
    place: Place,
    /// Whether the text ends with it.
    is_last: bool,
}

/// A text being read.
struct Reading<'a> {
    ledger: &'a Ledger,
    text: TextId,
    /// The time by which times in the text are judged.
    taken: Rev,
    /// Bytes of the text.
    bytes: u64,
    /// Bytes given to the decoder.
    at: u64,
    /// The piece that `at` lies in, once it was read.
    piece: Option<(u32, Vec<u8>)>,
    /// Gone once the text has ended.
    decoder: Option<Decoder>,
    place: Place,
}

impl<'a> Reading<'a> {
    /// Goes on at `place`, which an earlier reading got to.
    async fn begin(
        ledger: &'a Ledger,
        work: &ImportWork,
        bytes: u64,
        mut decoder: Decoder,
        place: Place,
    ) -> Result<Self, Halt> {
        let mut reading = Self {
            ledger,
            text: work.text,
            taken: work.taken,
            bytes,
            at: 0,
            piece: None,
            decoder: None,
            place,
        };
        while reading.at < place.header_bytes {
            let left = place.header_bytes - reading.at;
            let piece = reading.fill().await?;
            let piece = &piece[..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            // A header has no edges, so no time is looked at.
            decoder.decode(piece, Rev::ZERO, &mut Decoded::default())?;
            reading.at += piece.len() as u64;
        }
        decoder.go_on_at(place);
        reading.at = place.bytes;
        reading.decoder = Some(decoder);
        Ok(reading)
    }

    /// Reads `lines` lines, or what is left if that is less.
    async fn step(&mut self, lines: usize) -> Result<Step, Halt> {
        let mut out = Decoded::default();
        while let Some(mut decoder) = self.decoder.take() {
            let missing = lines.saturating_sub(out.ops.len() + out.rejections.len());
            if missing == 0 {
                self.decoder = Some(decoder);
                break;
            }
            let taken = self.taken;
            let piece = up_to_line(self.fill().await?, missing);
            if piece.is_empty() {
                decoder.finish(taken, &mut out)?;
                break;
            }
            decoder.decode(piece, taken, &mut out)?;
            self.at += piece.len() as u64;
            self.place = decoder.place();
            self.decoder = Some(decoder);
        }
        Ok(Step {
            ops: out.ops,
            rejections: out.rejections,
            place: self.place,
            is_last: self.decoder.is_none(),
        })
    }

    /// What follows in the text, to the end of its piece; empty at the end of the text.
    async fn fill(&mut self) -> Result<&[u8], Halt> {
        if self.at >= self.bytes {
            return Ok(&[]);
        }
        let gone = || {
            let reason = "its text is not there; send it again, nothing doubles";
            Halt::Failed(reason.to_owned())
        };
        let size = PIECE_BYTES as u64;
        // The limit on texts keeps their number far below a u32.
        let number = u32::try_from(self.at / size).map_err(|_| gone())?;
        if self.piece.as_ref().is_none_or(|(read, _)| *read != number) {
            let piece = self.ledger.piece(self.text, number).await;
            self.piece = Some((number, piece?.ok_or_else(gone)?));
        }
        let from = usize::try_from(self.at % size).map_err(|_| gone())?;
        let piece = self.piece.as_ref().and_then(|(_, piece)| piece.get(from..));
        piece.filter(|piece| !piece.is_empty()).ok_or_else(gone)
    }
}

/// The start of `piece` with at most so many ends of lines: no more lines can come of it.
fn up_to_line(piece: &[u8], lines: usize) -> &[u8] {
    let ends = piece.iter().enumerate();
    let mut ends = ends.filter(|(_, byte)| matches!(byte, b'\n' | b'\r'));
    let last = ends.nth(lines.saturating_sub(1));
    last.map_or(piece, |(end, _)| &piece[..=end])
}

impl From<FormatError> for Halt {
    fn from(error: FormatError) -> Self {
        Self::Failed(error.to_string())
    }
}
