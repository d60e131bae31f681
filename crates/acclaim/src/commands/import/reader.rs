//! Reads a source and takes its lines apart, in a thread of its own.

use std::sync::Arc;

use acclaim_core::Kinds;
use acclaim_core::port::Clock;
use acclaim_core::transfer::{Decoded, Decoder, Defaults};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::source::Source;

/// Batches that wait to be taken.
const BATCHES_WAITING: usize = 4;

/// Begins to read. The batches end with the source, or where it cannot be read further; which of the
/// two the thread says.
pub(super) fn read(
    source: Source,
    kinds: &Kinds,
    defaults: &Defaults,
    clock: &Arc<dyn Clock>,
    batch_ops: usize,
) -> (mpsc::Receiver<Decoded>, JoinHandle<anyhow::Result<()>>) {
    let (sender, batches) = mpsc::channel(BATCHES_WAITING);
    let reader = Reader {
        source,
        kinds: kinds.clone(),
        defaults: defaults.clone(),
        clock: Arc::clone(clock),
        batch_ops,
        batches: sender,
    };
    (batches, tokio::task::spawn_blocking(move || reader.run()))
}

struct Reader {
    source: Source,
    kinds: Kinds,
    defaults: Defaults,
    clock: Arc<dyn Clock>,
    /// Edges of a batch.
    batch_ops: usize,
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
            if batch.ops.len() + batch.rejections.len() >= self.batch_ops && !self.send(&mut batch)
            {
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
