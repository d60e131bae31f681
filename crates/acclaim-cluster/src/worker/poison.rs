//! A batch that the ledger takes but for some events of it.
//!
//! An event that cannot be read, or names a kind that was never given, is found by the ledger
//! itself and buried with the others' transaction. Here it is about events for which a whole
//! transaction is refused: the batch is halved until they stand alone ([`Search`]). They become dead
//! letters only when they were refused again and again and are few; otherwise the ledger is at
//! fault, and its events wait. It is the same for journals ([`apply`]) and for a bus
//! ([`super::recorder`]).

use std::ops::Range;

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
pub(crate) fn is_refusal(error: &LedgerError) -> bool {
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
    let mut search = Search::of_refused(batch.entries.len(), limits.poison_max_events, &refusal);
    while let Some(part) = search.next() {
        let entries = batch.entries[part.clone()].to_vec();
        match ledger.apply(&with(batch, entries)).await {
            Ok(applied) => add(&mut sum, applied),
            Err(error) if is_refusal(&error) => {
                search.refuse(part, &error);
                if search.has_too_many() {
                    return Err(error);
                }
                refusal = error;
            }
            Err(error) => return Err(error),
        }
    }
    let refused = search.found(&batch.entries);
    if refused.is_empty() {
        return Ok(sum);
    }
    if attempt < limits.poison_attempts {
        return Err(refusal);
    }
    let refused = refused.into_iter().map(|(_, entry)| entry);
    let buried = ledger.apply(&with(batch, refused.collect())).await?;
    add(&mut sum, buried);
    Ok(sum)
}

/// The search for the entries for which a batch is refused: by halves, the first ones first.
#[derive(Debug)]
pub(super) struct Search {
    parts: Vec<Range<usize>>,
    refused: Vec<(usize, String)>,
    most: usize,
}

impl Search {
    /// Of a batch of so many entries, of which nothing is known. More than `most` refused ones are
    /// not believed.
    pub fn of_all(entries: usize, most: usize) -> Self {
        Self {
            parts: std::iter::once(0..entries).collect(),
            refused: Vec::new(),
            most,
        }
    }

    /// Of a batch that was refused as a whole.
    pub fn of_refused(entries: usize, most: usize, refusal: &LedgerError) -> Self {
        let mut search = Self::of_all(entries, most);
        search.parts.clear();
        search.refuse(0..entries, refusal);
        search
    }

    /// What is to be tried next.
    pub fn next(&mut self) -> Option<Range<usize>> {
        self.parts.pop()
    }

    /// A part was refused.
    pub fn refuse(&mut self, part: Range<usize>, refusal: &LedgerError) {
        if part.len() < 2 {
            let reason = refusal.to_string();
            self.refused.extend(part.map(|at| (at, reason.clone())));
            return;
        }
        let middle = part.start + part.len() / 2;
        self.parts.push(middle..part.end);
        self.parts.push(part.start..middle);
    }

    /// Whether so many are refused that the ledger is believed to be at fault.
    pub fn has_too_many(&self) -> bool {
        self.refused.len() > self.most
    }

    /// The entries that were refused, in order, with their places: dead letters with the reason.
    pub fn found(self, entries: &[Entry]) -> Vec<(usize, Entry)> {
        let found = self.refused.into_iter().filter_map(|(at, reason)| {
            let entry = entries.get(at)?.clone();
            let event = Err(reason);
            Some((at, Entry { event, ..entry }))
        });
        found.collect()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: u64) -> Vec<Entry> {
        let entry = |seq| Entry {
            seq: Rev(seq),
            event: Err(String::new()),
            payload: Default::default(),
        };
        (0..count).map(entry).collect()
    }

    /// Goes on until it ends, or is believed too many; what was tried, and what was found.
    fn search(mut search: Search, bad: &[usize], count: u64) -> (usize, Option<Vec<usize>>) {
        let refusal = LedgerError::Corrupt("no such column".to_owned());
        let mut tried = 0;
        while let Some(part) = search.next() {
            tried += 1;
            if bad.iter().any(|at| part.contains(at)) {
                search.refuse(part, &refusal);
                if search.has_too_many() {
                    return (tried, None);
                }
            }
        }
        let found = search.found(&entries(count));
        for (at, entry) in &found {
            assert_eq!(
                (entry.seq, &entry.event),
                (Rev(*at as u64), &Err(refusal.to_string()))
            );
        }
        (tried, Some(found.into_iter().map(|(at, _)| at).collect()))
    }

    #[test]
    fn the_refused_ones_are_found_in_order() {
        let most = WorkerLimits::default().poison_max_events;
        let refusal = LedgerError::Corrupt("no such column".to_owned());
        for bad in [&[][..], &[0], &[99], &[3, 50, 97], &[7, 8, 9]] {
            let (tried, found) = search(Search::of_all(100, most), bad, 100);
            assert_eq!(found.as_deref(), Some(bad));
            assert!(tried <= 1 + 2 * 7 * bad.len(), "{tried}");
            if !bad.is_empty() {
                let known = Search::of_refused(100, most, &refusal);
                assert_eq!(search(known, bad, 100), (tried - 1, Some(bad.to_vec())));
            }
        }
        let one = Search::of_refused(1, most, &refusal);
        assert_eq!(search(one, &[0], 1), (0, Some(vec![0])));
    }

    #[test]
    fn of_many_it_is_believed_that_the_ledger_is_at_fault() {
        let find = |bad: &[usize]| search(Search::of_all(8, 2), bad, 8).1;
        assert_eq!(find(&[1, 6]), Some(vec![1, 6]));
        assert_eq!(find(&[1, 3, 6]), None);
    }
}
