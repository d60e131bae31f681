//! What was read goes into the ledger, by the code that records what a bus brings. A ledger that is
//! away is waited for; events that it refuses become dead letters.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::ReplayError;
use crate::ledger::{Carried, Ledger, LedgerError, Recorded};
use crate::worker::poison::is_refusal;
use crate::worker::recorder::refused::mark_refused;
use crate::worker::recorder::sort::{Round, Stretch};

/// How long the ledger may be away.
pub const LEDGER_AWAY_MAX: Duration = Duration::from_secs(60);
/// Events of one batch that may be refused; where it is more, the ledger is at fault.
const MAX_REFUSED_EVENTS: usize = 100;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Calls the ledger until it answers, for a while.
///
/// # Errors
/// The last [`LedgerError`].
pub(super) async fn patiently<T, F>(call: impl Fn() -> F) -> Result<T, LedgerError>
where
    F: Future<Output = Result<T, LedgerError>>,
{
    let end = Instant::now() + LEDGER_AWAY_MAX;
    let mut pause = FIRST_PAUSE;
    loop {
        match call().await {
            Err(error @ (LedgerError::Unavailable { .. } | LedgerError::Contended { .. }))
                if Instant::now() + pause < end =>
            {
                tracing::warn!(%error, "the ledger does not answer; trying on");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// Writes rounds, one after the other.
pub(super) async fn write(
    ledger: &Ledger,
    rounds: Vec<Round>,
) -> Result<Vec<(Stretch, Recorded)>, ReplayError> {
    let mut done = Vec::new();
    for round in rounds {
        // Barriers are not among them: what they close is known when an event is sorted.
        let Round::Write(stretches) = round else {
            continue;
        };
        let mut stretches: Vec<Stretch> = stretches.into_values().collect();
        let recorded = match record(ledger, &stretches).await {
            Err(refusal) if is_refusal(&refusal) => {
                for stretch in &mut stretches {
                    if !mark(ledger, &mut stretch.carried).await? {
                        return Err(refusal.into());
                    }
                }
                record(ledger, &stretches).await?
            }
            recorded => recorded?,
        };
        done.extend(stretches.into_iter().zip(recorded));
    }
    Ok(done)
}

async fn record(ledger: &Ledger, stretches: &[Stretch]) -> Result<Vec<Recorded>, LedgerError> {
    let carried: Vec<&Carried> = stretches.iter().map(|one| &one.carried).collect();
    let carried = carried.as_slice();
    patiently(|| ledger.record(carried)).await
}

/// Answers whether all that is refused of a stretch is marked.
async fn mark(ledger: &Ledger, carried: &mut Carried) -> Result<bool, LedgerError> {
    let give = |part: Carried| async move {
        let part = [&part];
        match patiently(|| ledger.record(&part)).await {
            Ok(_) => Ok(None),
            Err(refusal) if is_refusal(&refusal) => Ok(Some(refusal)),
            Err(error) => Err(error),
        }
    };
    mark_refused(carried, MAX_REFUSED_EVENTS, give).await
}
