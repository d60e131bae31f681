//! Batches of writes: one bad op fails alone.

use super::writes::miscounted;
use super::{OutOfRange, Service, WriteFailure, WriteOptions};
use crate::edge::{Op, Transition};
use crate::kind::NotAllowed;
use crate::limits;

/// Why one op of a batch was not decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpFailure<E> {
    /// The caller could not read it.
    Unreadable(E),
    /// Its kind does not allow it.
    NotAllowed(NotAllowed),
}

/// The answer to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchAnswer<E> {
    /// One answer an op, in order.
    pub results: Vec<Result<Transition, OpFailure<E>>>,
    /// Whether this is the stored answer of an earlier request.
    pub replayed: bool,
}

impl Service {
    /// Decides the ops that can be read and are allowed, in order, and answers for every op.
    ///
    /// # Errors
    /// [`WriteFailure`] for a batch that is empty or too long, or that the engine did not decide;
    /// then no op was decided.
    pub async fn batch<E>(
        &self,
        ops: Vec<Result<Op, E>>,
        options: WriteOptions,
    ) -> Result<BatchAnswer<E>, WriteFailure> {
        OutOfRange::check_length("ops", ops.len(), limits::MAX_BATCH_OPS)?;
        let mut good = Vec::with_capacity(ops.len());
        let mut failures = Vec::new();
        for (place, op) in ops.into_iter().enumerate() {
            match self.admit(op) {
                Ok(op) => good.push(op),
                Err(failure) => failures.push((place, failure)),
            }
        }
        if good.is_empty() {
            let results = failures.into_iter().map(|(_, failure)| Err(failure));
            return Ok(BatchAnswer {
                results: results.collect(),
                replayed: false,
            });
        }
        let asked = good.len();
        let applied = self.engine.apply(options.write(good)).await?;
        if applied.transitions.len() != asked {
            return Err(miscounted(asked, applied.transitions.len()).into());
        }
        Ok(BatchAnswer {
            results: merge(applied.transitions, failures),
            replayed: applied.replayed,
        })
    }

    fn admit<E>(&self, op: Result<Op, E>) -> Result<Op, OpFailure<E>> {
        let op = op.map_err(OpFailure::Unreadable)?;
        let allowed = self.engine.kinds().check(&op.edge);
        allowed.map_err(OpFailure::NotAllowed)?;
        if self.hot.samples() {
            self.hot.count(&op.edge.target_key(), self.now());
        }
        Ok(op)
    }
}

/// Puts each failure back at its place among the answers.
fn merge<E>(
    transitions: Vec<Transition>,
    failures: Vec<(usize, OpFailure<E>)>,
) -> Vec<Result<Transition, OpFailure<E>>> {
    let mut results = Vec::with_capacity(transitions.len() + failures.len());
    let mut transitions = transitions.into_iter().map(Ok);
    for (place, failure) in failures {
        let before = place - results.len();
        results.extend(transitions.by_ref().take(before));
        results.push(Err(failure));
    }
    results.extend(transitions);
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rev::Rev;

    #[test]
    fn failures_keep_their_places() {
        let transition = |count| Transition {
            active: true,
            changed: true,
            count,
            rev: Rev(1),
        };
        let failures = [0, 2, 5].map(|place| (place, OpFailure::Unreadable(place)));
        let merged = merge((1..=3).map(transition).collect(), failures.into());
        let shown: Vec<_> = merged
            .into_iter()
            .map(|result| match result {
                Ok(transition) => format!("count {}", transition.count),
                Err(failure) => format!("{failure:?}"),
            })
            .collect();
        let expected = [
            "Unreadable(0)",
            "count 1",
            "Unreadable(2)",
            "count 2",
            "count 3",
            "Unreadable(5)",
        ];
        assert_eq!(shown, expected);
    }
}
