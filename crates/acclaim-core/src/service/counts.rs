//! Counts of targets.

use super::{OutOfRange, ReadFailure, Service};
use crate::error::ReadError;
use crate::kind::KindId;
use crate::limits;
use crate::port::Count;
use crate::target::{Target, TargetKey};

impl Service {
    /// The count of one target.
    ///
    /// # Errors
    /// [`ReadFailure`].
    pub async fn count(&self, kind: KindId, target: Target) -> Result<Count, ReadFailure> {
        let key = self.readable(kind, target)?;
        only(self.engine.counts(vec![key]).await?)
    }

    /// The counts of targets, in order.
    ///
    /// # Errors
    /// [`ReadFailure`] for a list that is empty or too long, or holds a target that the kind does
    /// not take.
    pub async fn counts(
        &self,
        kind: KindId,
        targets: Vec<Target>,
    ) -> Result<Vec<Count>, ReadFailure> {
        OutOfRange::check_length("targets", targets.len(), limits::MAX_BATCH_READS)?;
        let keys = targets
            .into_iter()
            .map(|target| self.readable(kind, target));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        Ok(self.engine.counts(keys).await?)
    }

    /// A target that the kind takes, counted as touched.
    pub(super) fn readable(&self, kind: KindId, target: Target) -> Result<TargetKey, ReadFailure> {
        self.engine.kinds().check_type(kind, &target)?;
        let key = TargetKey { kind, target };
        self.touch(&key);
        Ok(key)
    }
}

/// The one answer to one question.
pub(super) fn only<T>(answers: Vec<T>) -> Result<T, ReadFailure> {
    let found = answers.len();
    let mut answers = answers.into_iter();
    match (answers.next(), found) {
        (Some(answer), 1) => Ok(answer),
        _ => {
            Err(ReadError::Store(format!("the engine gave {found} answers to one question")).into())
        }
    }
}
