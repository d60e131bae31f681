//! Hands records over to the thread that writes them into the base.
//!
//! They go in batches, so that the threads meet seldom. What was handed over counts only when
//! [`Sink::finish`] says that it is all; a sink that is dropped before leaves nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::super::base::Run;
use super::BulkError;

/// Bytes of a batch.
const BATCH_BYTES: usize = 256 << 10;
/// Batches that wait to be written.
const BATCHES_WAITING: usize = 4;

#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each key and its value end.
    ends: Vec<(usize, usize)>,
}

enum Message {
    Records(Batch),
    End,
}

/// Where records are handed over.
pub struct Sink {
    messages: SyncSender<Message>,
    batch: Batch,
    interrupted: Arc<AtomicBool>,
}

/// Where they arrive.
pub struct Drain(Receiver<Message>);

/// A sink and its drain. Once `interrupted` is set the sink takes no more.
pub fn sink(interrupted: Arc<AtomicBool>) -> (Sink, Drain) {
    let (messages, received) = sync_channel(BATCHES_WAITING);
    let sink = Sink {
        messages,
        batch: Batch::default(),
        interrupted,
    };
    (sink, Drain(received))
}

impl Sink {
    /// Hands over a record. Keys rise from one to the next.
    pub fn write(&mut self, key: &[u8], value: &[u8]) -> Result<(), BulkError> {
        self.batch.bytes.extend_from_slice(key);
        let key_end = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(value);
        self.batch.ends.push((key_end, self.batch.bytes.len()));
        if self.batch.bytes.len() >= BATCH_BYTES {
            self.hand_over()?;
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), BulkError> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(BulkError::Interrupted);
        }
        let room = Batch {
            bytes: Vec::with_capacity(BATCH_BYTES + BATCH_BYTES / 8),
            ends: Vec::with_capacity(self.batch.ends.len()),
        };
        let batch = std::mem::replace(&mut self.batch, room);
        self.send(Message::Records(batch))
    }

    fn send(&self, message: Message) -> Result<(), BulkError> {
        let sent = self.messages.send(message);
        sent.map_err(|_| BulkError::WriterGone)
    }

    /// Says that these were all.
    pub fn finish(mut self) -> Result<(), BulkError> {
        self.hand_over()?;
        self.send(Message::End)
    }
}

impl Drain {
    /// Writes what arrives.
    ///
    /// # Errors
    /// When it cannot be written, or ends before it is all.
    pub fn write_into(self, run: &mut Run<'_>) -> Result<(), BulkError> {
        loop {
            match self.0.recv() {
                Ok(Message::Records(batch)) => write(run, &batch)?,
                Ok(Message::End) => return Ok(()),
                // Whoever gave up has the reason.
                Err(_) => return Err(BulkError::Interrupted),
            }
        }
    }
}

fn write(run: &mut Run<'_>, batch: &Batch) -> fjall::Result<()> {
    let mut start = 0;
    for (key_end, end) in &batch.ends {
        let value = &batch.bytes[*key_end..*end];
        run.write(&batch.bytes[start..*key_end], Some(value))?;
        start = *end;
    }
    Ok(())
}
