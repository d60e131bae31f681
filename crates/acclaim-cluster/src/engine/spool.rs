//! Taking the texts of imports that run as jobs: they lie in the ledger until their job is over.
//!
//! What comes in is gathered into pieces of one size, so that a job finds any place of a text
//! without reading what lies before it. Room is taken a piece at a time.
//!
//! A text goes with its job. One that is dropped before it has a job goes at once, and one whose
//! node died goes when nothing of it came for a time; each node looks for those.

use std::sync::Arc;
use std::time::Duration;

use acclaim_core::error::JobError;
use acclaim_core::port::{ImportSpec, JobId, Spool};
use async_trait::async_trait;
use tokio::time::Instant;

use super::errors::{Trouble as _, unavailable, unknown};
use super::shared::Shared;
use crate::ledger::LedgerError;
use crate::ledger::journals::imports::ImportWork;
use crate::ledger::journals::jobs::MAX_OPEN_JOBS;
use crate::ledger::journals::texts::{PIECE_BYTES, Room, TextId};

/// The longest pause between two searches for texts that nobody needs.
const SWEEP_PAUSE_MAX: Duration = Duration::from_secs(60);

/// A text that is being taken.
pub struct Upload {
    text: Text,
    spec: ImportSpec,
    /// Bytes of the pieces that are written.
    written: u64,
    pieces: u32,
    /// The piece under way; shorter than [`PIECE_BYTES`].
    piece: Vec<u8>,
    /// Never later than what the ledger says, by which it is removed.
    touched: Instant,
}

/// A text without a job. Dropped, it is removed.
struct Text {
    shared: Arc<Shared>,
    id: TextId,
    has_job: bool,
}

impl Upload {
    /// Begins to take a text.
    pub async fn begin(shared: &Arc<Shared>, spec: ImportSpec) -> Result<Self, JobError> {
        let text = Text {
            shared: Arc::clone(shared),
            id: TextId::new(),
            has_job: false,
        };
        let touched = Instant::now();
        if !shared
            .ledger
            .begin_text(text.id)
            .await
            .map_err(|e| not_kept(&e))?
        {
            return Err(JobError::TooMany {
                queued: MAX_OPEN_JOBS,
            });
        }
        Ok(Self {
            text,
            spec,
            written: 0,
            pieces: 0,
            piece: Vec::new(),
            touched,
        })
    }

    fn bytes(&self) -> u64 {
        self.written + self.piece.len() as u64
    }

    /// Writes the piece under way.
    async fn flush(&mut self) -> Result<(), JobError> {
        let shared = &self.text.shared;
        let limit = shared.limits.spool_max_bytes;
        let bytes = self.bytes();
        let asked = Instant::now();
        let room = shared.ledger.take_room(self.text.id, bytes, limit).await;
        match room.map_err(|error| not_kept(&error))? {
            Room::Taken => {}
            Room::Full { held } => return Err(JobError::SpoolsFull { held, limit }),
            Room::Gone => return Err(self.gone()),
        }
        self.touched = asked;
        let written = shared
            .ledger
            .write_piece(self.text.id, self.pieces, &self.piece);
        written.await.map_err(|error| not_kept(&error))?;
        self.written = bytes;
        self.pieces += 1;
        self.piece.clear();
        Ok(())
    }

    /// Keeps a text that comes slowly.
    async fn touch(&mut self) -> Result<(), JobError> {
        let shared = &self.text.shared;
        if self.touched.elapsed() < shared.limits.spool_idle() / 4 {
            return Ok(());
        }
        let asked = Instant::now();
        let touched = shared.ledger.touch_text(self.text.id).await;
        if !touched.map_err(|error| not_kept(&error))? {
            return Err(self.gone());
        }
        self.touched = asked;
        Ok(())
    }

    fn gone(&self) -> JobError {
        JobError::Spool(format!(
            "nothing of it came for {} s (cluster.spool_idle_seconds), so it was removed",
            self.text.shared.limits.spool_idle_seconds
        ))
    }

    async fn queue(mut self) -> Result<JobId, JobError> {
        if !self.piece.is_empty() {
            self.flush().await?;
        }
        let shared = Arc::clone(&self.text.shared);
        let defaults = &self.spec.defaults;
        let kind = defaults.kind.map(|kind| shared.kinds.get(kind));
        let work = ImportWork {
            text: self.text.id,
            format: self.spec.format,
            kind: kind.map(|kind| kind.name.to_string()),
            target_type: defaults.target_type.as_ref().map(ToString::to_string),
            taken: shared.now(),
            step_lines: u32::try_from(shared.limits.job_step_edges.max(1)).unwrap_or(u32::MAX),
        };
        match shared.ledger.queue_import(&work).await {
            Ok(Some(id)) => {
                self.text.has_job = true;
                shared.job_queued.notify_one();
                Ok(id)
            }
            Ok(None) => Err(self.gone()),
            // It may be written down, and only the answer lost.
            Err(error) if error.is_away() => Err(JobError::Write(unknown(&error))),
            Err(error) => Err(not_kept(&error)),
        }
    }
}

#[async_trait]
impl Spool for Upload {
    async fn write(&mut self, mut piece: &[u8]) -> Result<(), JobError> {
        let limit = self.text.shared.limits.spool_max_bytes;
        if self.bytes() + piece.len() as u64 > limit {
            return Err(JobError::TooLarge { limit });
        }
        while !piece.is_empty() {
            let room = PIECE_BYTES - self.piece.len();
            let (now, later) = piece.split_at(room.min(piece.len()));
            self.piece.extend_from_slice(now);
            piece = later;
            if self.piece.len() == PIECE_BYTES {
                self.flush().await?;
            }
        }
        self.touch().await
    }

    async fn start(self: Box<Self>) -> Result<JobId, JobError> {
        // A task of its own: once the job may be written down, its text must not go because a
        // caller does.
        let started = tokio::spawn(self.queue()).await;
        started.unwrap_or_else(|died| Err(JobError::Spool(died.to_string())))
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        if self.has_job {
            return;
        }
        // Without a runtime it is found later, by its silence.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (shared, id) = (Arc::clone(&self.shared), self.id);
            runtime.spawn(async move { shared.give_up_text(id, Duration::ZERO).await });
        }
    }
}

impl Shared {
    /// Looks for texts that nobody needs, until the engine stops.
    pub async fn sweep_texts(self: Arc<Self>) {
        let idle = self.limits.spool_idle();
        let pause = (idle / 4).clamp(Duration::from_millis(100), SWEEP_PAUSE_MAX);
        let mut stopping = self.stopping.subscribe();
        loop {
            match self.ledger.idle_texts(idle).await {
                Ok(texts) => {
                    for (text, is_taken) in texts {
                        if is_taken {
                            tracing::info!(%text, "the text of an import that was not sent to its end is removed");
                            self.give_up_text(text, idle).await;
                        } else {
                            self.remove_text(text).await;
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "texts of imports could not be looked for"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    async fn give_up_text(&self, text: TextId, idle: Duration) {
        if let Err(error) = self.ledger.give_up_text(text, idle).await {
            tracing::warn!(%error, %text, "the text of an import is removed later");
        }
    }

    /// Removes the text of a job that is over.
    pub async fn remove_text(&self, text: TextId) {
        if let Err(error) = self.ledger.remove_text(text).await {
            tracing::warn!(%error, %text, "the text of an import is removed later");
        }
    }
}

fn not_kept(error: &LedgerError) -> JobError {
    if error.is_away() {
        return JobError::Write(unavailable(error));
    }
    JobError::Spool(error.to_string())
}
