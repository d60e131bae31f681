//! A batch that the ledger takes but for some events of it.
//!
//! An event that cannot be read, or names a kind that was never given, is found by the ledger
//! itself and buried with the others' transaction. Here it is about events for which a whole
//! transaction is refused: the batch is halved until they stand alone. They become dead letters
//! only when they were refused again and again and are few; otherwise the ledger is at fault, and
//! its events wait.

use acclaim_core::Rev;

use super::limits::WorkerLimits;
use crate::ledger::{Applied, Batch, Entry, Ledger, LedgerError};

/// Applies a batch, or all of it that is not refused. `attempt` counts from 1.
///
/// # Errors
/// [`LedgerError`]; then some of it may be applied, and the whole is to be given again.
pub(super) async fn apply(
    ledger: &Ledger,
    batch: &Batch,
    limits: &WorkerLimits,
    attempt: u32,
) -> Result<Applied, LedgerError> {
    match ledger.apply(batch).await {
        Err(refusal) if is_refusal(&refusal) => {
            tracing::warn!(
                partition = batch.partition,
                events = batch.entries.len(),
                attempt,
                %refusal,
                "the ledger refuses a batch"
            );
            apply_parts(ledger, batch, limits, attempt, refusal).await
        }
        outcome => outcome,
    }
}

/// Whether another try of the same would end the same.
pub(super) fn is_refusal(error: &LedgerError) -> bool {
    matches!(error, LedgerError::Refused(_) | LedgerError::Corrupt(_))
}

async fn apply_parts(
    ledger: &Ledger,
    batch: &Batch,
    limits: &WorkerLimits,
    attempt: u32,
    mut refusal: LedgerError,
) -> Result<Applied, LedgerError> {
    let mut sum = Applied {
        applied: Rev::ZERO,
        flips: 0,
        stale: 0,
        refused: 0,
    };
    let mut refused: Vec<Entry> = Vec::new();
    let mut parts: Vec<&[Entry]> = halves(&batch.entries);
    while let Some(part) = parts.pop() {
        match ledger.apply(&with(batch, part.to_vec())).await {
            Ok(applied) => add(&mut sum, applied),
            Err(error) if is_refusal(&error) => {
                if let [entry] = part {
                    refused.push(Entry {
                        event: Err(error.to_string()),
                        ..entry.clone()
                    });
                } else {
                    parts.extend(halves(part));
                }
                if refused.len() > limits.poison_max_events {
                    return Err(error);
                }
                refusal = error;
            }
            Err(error) => return Err(error),
        }
    }
    // One event alone was in the batch.
    if let [entry] = batch.entries.as_slice() {
        refused.push(Entry {
            event: Err(refusal.to_string()),
            ..entry.clone()
        });
    }
    if refused.is_empty() {
        return Ok(sum);
    }
    if attempt < limits.poison_attempts {
        return Err(refusal);
    }
    refused.sort_by_key(|entry| entry.seq);
    let buried = ledger.apply(&with(batch, refused)).await?;
    add(&mut sum, buried);
    Ok(sum)
}

/// The two halves, so that the first comes off the end first; nothing of what stands alone.
fn halves(entries: &[Entry]) -> Vec<&[Entry]> {
    if entries.len() < 2 {
        return Vec::new();
    }
    let (first, second) = entries.split_at(entries.len() / 2);
    vec![second, first]
}

fn with(batch: &Batch, entries: Vec<Entry>) -> Batch {
    Batch { entries, ..*batch }
}

fn add(sum: &mut Applied, more: Applied) {
    sum.applied = sum.applied.max(more.applied);
    sum.flips += more.flips;
    sum.stale += more.stale;
    sum.refused += more.refused;
}
