//! Import into a data directory: the engine in this process, large batches, several under way.

use std::path::Path;
use std::sync::Arc;

use acclaim_core::port::{Clock, Write, Writes as _};
use acclaim_core::transfer::{Decoded, Decoder, Defaults, Summary};
use acclaim_core::{Engine as _, Kinds};
use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use tokio::sync::mpsc;

use crate::store::Store;

use super::progress::Progress;
use super::rejects::Rejects;
use super::source::Source;

/// Edges that are written together.
const BATCH_OPS: usize = 5_000;
/// Batches that wait to be written.
const BATCHES_WAITING: usize = 4;
/// Batches being written.
const BATCHES_IN_FLIGHT: usize = 4;

/// Imports one source.
pub(super) async fn import(
    store: &Store,
    path: &Path,
    defaults: &Defaults,
) -> anyhow::Result<Summary> {
    let source = Source::open(path)?;
    let mut rejects = Rejects::of(path)?;
    let mut progress = Progress::of(&source)?;
    let (sender, mut batches) = mpsc::channel(BATCHES_WAITING);
    let reader = Reader {
        source,
        kinds: store.engine.kinds().clone(),
        defaults: defaults.clone(),
        clock: Arc::clone(&store.clock),
        batches: sender,
    };
    let reading = tokio::task::spawn_blocking(move || reader.run());

    let mut summary = Summary::default();
    let mut writes = FuturesOrdered::new();
    let mut more = true;
    while more || !writes.is_empty() {
        tokio::select! {
            // Starting the next write first keeps the engine fed.
            biased;
            batch = batches.recv(), if more && writes.len() < BATCHES_IN_FLIGHT => match batch {
                Some(Decoded { ops, rejections }) => {
                    rejects.write(&rejections)?;
                    summary.count_rejected(&rejections);
                    progress.advance(rejections.len() as u64);
                    writes.push_back(store.engine.apply(Write::plain(ops)));
                }
                None => more = false,
            },
            Some(applied) = writes.next(), if !writes.is_empty() => {
                let transitions = applied.context("a batch could not be written")?.transitions;
                summary.count_applied(&transitions);
                progress.advance(transitions.len() as u64);
            }
        }
    }
    reading.await??;
    drop(progress);
    rejects.finish()?;
    Ok(summary)
}

/// Reads a source in a thread of its own.
struct Reader {
    source: Source,
    kinds: Kinds,
    defaults: Defaults,
    clock: Arc<dyn Clock>,
    batches: mpsc::Sender<Decoded>,
}

impl Reader {
    fn run(mut self) -> anyhow::Result<()> {
        let mut decoder = Decoder::new(self.source.format, &self.kinds, self.defaults.clone());
        let mut batch = Decoded::default();
        loop {
            let piece = self.source.piece()?;
            if piece.is_empty() {
                break;
            }
            let length = piece.len();
            decoder.decode(piece, self.clock.now(), &mut batch)?;
            self.source.consume(length);
            if batch.ops.len() + batch.rejections.len() >= BATCH_OPS && !self.send(&mut batch) {
                return Ok(());
            }
        }
        decoder.finish(self.clock.now(), &mut batch)?;
        self.send(&mut batch);
        Ok(())
    }

    /// False when nobody takes batches any more; whoever stopped has the reason.
    fn send(&self, batch: &mut Decoded) -> bool {
        let room = Vec::with_capacity(batch.ops.len());
        let next = Decoded {
            ops: room,
            rejections: Vec::new(),
        };
        let batch = std::mem::replace(batch, next);
        self.batches.blocking_send(batch).is_ok()
    }
}
