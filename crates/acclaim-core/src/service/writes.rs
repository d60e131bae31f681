//! Single writes.

use super::{BadIdempotencyKey, Service, WriteFailure};
use crate::edge::{Op, Transition};
use crate::error::WriteError;
use crate::limits;
use crate::port::{Ack, Idempotency, Write};

/// How a write is to be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// How strong the acknowledgement must be.
    pub ack: Ack,
    /// Set when repeats are to be answered alike.
    pub idempotency: Option<Idempotency>,
}

/// The answer to a single write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// What became of the edge.
    pub transition: Transition,
    /// Whether this is the stored answer of an earlier request.
    pub replayed: bool,
}

/// Fingerprints an idempotency key within its caller's scope and the parts of the request that
/// must be the same for a repeat.
///
/// # Errors
/// [`BadIdempotencyKey`] when the key is empty, too long or not printable ASCII.
pub fn idempotency(
    scope: &str,
    key: &[u8],
    request: &[&[u8]],
) -> Result<Idempotency, BadIdempotencyKey> {
    let printable = key.iter().all(|byte| (0x20..0x7f).contains(byte));
    if key.is_empty() || key.len() > limits::MAX_IDEMPOTENCY_KEY_BYTES || !printable {
        return Err(BadIdempotencyKey);
    }
    let key = std::str::from_utf8(key).map_err(|_| BadIdempotencyKey)?;
    Ok(Idempotency::new(scope, key, request))
}

impl Service {
    /// Decides one op.
    ///
    /// # Errors
    /// [`WriteFailure`]; nothing was decided then.
    pub async fn write(&self, op: Op, options: WriteOptions) -> Result<Written, WriteFailure> {
        self.engine.kinds().check(&op.edge)?;
        if self.hot.samples() {
            self.hot.count(&op.edge.target_key(), self.now());
        }
        let applied = self.engine.apply(options.write(vec![op])).await?;
        match applied.transitions.as_slice() {
            [transition] => Ok(Written {
                transition: *transition,
                replayed: applied.replayed,
            }),
            // The port promises one answer an op; an engine that breaks it must not be believed.
            others => Err(WriteFailure::Engine(miscounted(1, others.len()))),
        }
    }
}

impl WriteOptions {
    pub(super) fn write(self, ops: Vec<Op>) -> Write {
        Write {
            ops,
            ack: self.ack,
            idempotency: self.idempotency,
        }
    }
}

pub(super) fn miscounted(ops: usize, answers: usize) -> WriteError {
    WriteError::Unavailable {
        reason: format!("the engine gave {answers} answers to {ops} writes"),
        retry_after: std::time::Duration::from_secs(1),
    }
}
