//! Batches of different partitions that wait for the ledger go into it together.
//!
//! What a transaction costs hardly depends on how many events it has, until they are hundreds, and
//! a partition seldom has hundreds at once. So while a transaction is under way the batches that
//! are ready wait, and those that waited share the next one. Another is begun beside it only where
//! half of what one may have waits, or a batch has waited for long: side by side they hold each other
//! up, and small ones cost the ledger more. Nobody waits for others to come.
//!
//! A transaction of several that is refused says little about any of them: then each goes by
//! itself, where it is found out which events are refused ([`super::poison`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::drain::Tools;
use super::limits::WorkerLimits;
use super::poison;
use crate::gather::Gather;
use crate::ledger::{Applied, Batch, Kept, LedgerError};

/// A batch that waits, and where its outcome goes.
pub(super) struct Waiting {
    since: Instant,
    batch: Batch,
    outcome: oneshot::Sender<Outcome>,
}

/// What became of a batch: nothing where it is to go by itself.
type Outcome = (Batch, Option<Result<Applied, LedgerError>>);

/// All that wait.
pub(super) type Together = Gather<(), Waiting>;

/// What all that wait are put into.
pub(super) fn new(limits: &WorkerLimits) -> Together {
    let worth_events = (limits.batch_max_events / 2).max(1);
    let longest = Duration::from_millis(limits.batch_max_millis);
    let is_worth_another = move |all: &VecDeque<Waiting>| {
        let mut events = 0;
        let mut is_enough = |waiting: &Waiting| {
            events += waiting.batch.entries.len();
            events >= worth_events
        };
        let oldest = all.front();
        oldest.is_some_and(|oldest| oldest.since.elapsed() >= longest)
            || all.iter().any(&mut is_enough)
    };
    Gather::sparing(limits.transactions_at_once, is_worth_another)
}

/// Applies a batch, together with others where others wait. `attempt` counts from 1; after the
/// first it goes by itself. Answers with the batch.
pub(super) async fn apply(
    tools: &Arc<Tools>,
    batch: Batch,
    attempt: u32,
) -> (Batch, Result<Applied, LedgerError>) {
    let (batch, outcome) = if attempt > 1 {
        (batch, None)
    } else {
        join(tools, batch).await
    };
    match outcome {
        Some(outcome) => (batch, outcome),
        None => {
            let applied = poison::apply(&tools.ledger, &batch, &tools.limits, attempt).await;
            (batch, applied)
        }
    }
}

async fn join(tools: &Arc<Tools>, batch: Batch) -> Outcome {
    let (sender, receiver) = oneshot::channel();
    let spare = Batch {
        entries: Vec::new(),
        ..batch
    };
    let waiting = Waiting {
        since: Instant::now(),
        batch,
        outcome: sender,
    };
    if tools.together.put((), |all| all.push_back(waiting)) {
        let tools = Arc::clone(tools);
        tokio::spawn(async move { run(&tools).await });
    }
    let died = || LedgerError::Unavailable {
        attempts: 1,
        last: "the task that wrote it died".to_owned(),
    };
    receiver
        .await
        .unwrap_or_else(|_| (spare, Some(Err(died()))))
}

async fn run(tools: &Tools) {
    let kept = Kept::default();
    loop {
        let max_events = tools.limits.batch_max_events;
        let waiting = tools.together.next(&(), |all| take(all, max_events));
        if waiting.is_empty() {
            return;
        }
        write(tools, &kept, waiting).await;
    }
}

/// One transaction.
async fn write(tools: &Tools, kept: &Kept, waiting: Vec<Waiting>) {
    let batches: Vec<&Batch> = waiting.iter().map(|one| &one.batch).collect();
    let outcomes = tools.ledger.apply_together(kept, &batches).await;
    let mut outcomes: Vec<Option<Result<Applied, LedgerError>>> = match outcomes {
        Ok(applied) => applied.into_iter().map(|one| Some(Ok(one))).collect(),
        // Nobody would get further alone.
        Err(LedgerError::Unavailable { attempts, last }) => {
            let away = || {
                let last = last.clone();
                Some(Err(LedgerError::Unavailable { attempts, last }))
            };
            batches.iter().map(|_| away()).collect()
        }
        Err(error) if batches.len() == 1 && !poison::is_refusal(&error) => vec![Some(Err(error))],
        Err(error) => {
            tracing::debug!(%error, batches = batches.len(), "each batch goes by itself");
            Vec::new()
        }
    };
    outcomes.resize_with(waiting.len(), || None);
    for (one, outcome) in waiting.into_iter().zip(outcomes) {
        // A turn that was given up waits for nothing.
        let _ = one.outcome.send((one.batch, outcome));
    }
}

/// The next batches, in order, with at most `max_events` unless the first has more.
fn take(all: &mut VecDeque<Waiting>, max_events: usize) -> Vec<Waiting> {
    let mut taken: Vec<Waiting> = Vec::new();
    let mut events = 0;
    while let Some(next) = all.front() {
        let more = next.batch.entries.len();
        if !taken.is_empty() && events + more > max_events {
            break;
        }
        let Some(next) = all.pop_front() else {
            break;
        };
        if !next.outcome.is_closed() {
            events += more;
            taken.push(next);
        }
    }
    taken
}
