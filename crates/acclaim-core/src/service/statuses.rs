//! Whether a user did it.

use super::counts::only;
use super::{OutOfRange, ReadFailure, Service};
use crate::edge::EdgeKey;
use crate::id::Id;
use crate::kind::KindId;
use crate::limits;
use crate::port::Status;
use crate::target::Target;

impl Service {
    /// The status of one edge.
    ///
    /// # Errors
    /// [`ReadFailure`].
    pub async fn status(
        &self,
        kind: KindId,
        user: Id,
        target: Target,
    ) -> Result<Status, ReadFailure> {
        let edge = self.edge(kind, user, target)?;
        only(self.engine.statuses(vec![edge]).await?)
    }

    /// The statuses of a user's edges to targets, in order.
    ///
    /// # Errors
    /// [`ReadFailure`] for a list that is empty or too long, or holds a target that the kind does
    /// not take.
    pub async fn statuses(
        &self,
        kind: KindId,
        user: &Id,
        targets: Vec<Target>,
    ) -> Result<Vec<Status>, ReadFailure> {
        OutOfRange::check_length("targets", targets.len(), limits::MAX_BATCH_READS)?;
        let edges = targets
            .into_iter()
            .map(|target| self.edge(kind, user.clone(), target));
        let edges = edges.collect::<Result<Vec<_>, _>>()?;
        Ok(self.engine.statuses(edges).await?)
    }

    fn edge(&self, kind: KindId, user: Id, target: Target) -> Result<EdgeKey, ReadFailure> {
        let key = self.readable(kind, target)?;
        Ok(EdgeKey {
            kind,
            user,
            target: key.target,
        })
    }
}
