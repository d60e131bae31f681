//! Users and what stands between them.

use super::lists::page_size;
use super::{OutOfRange, ReadFailure, Service};
use crate::id::Id;
use crate::kind::KindId;
use crate::limits;
use crate::port::{Known, Relationship, UserNumbers};
use crate::target::{Target, UserKey};

/// A user's own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// The numbers.
    pub numbers: UserNumbers,
    /// Whether `mutual` means something: the kind is between users.
    pub has_mutual: bool,
}

impl Service {
    /// A user's own numbers.
    ///
    /// # Errors
    /// [`ReadFailure`].
    pub async fn statistics(&self, kind: KindId, user: Id) -> Result<Statistics, ReadFailure> {
        Ok(Statistics {
            numbers: self.engine.numbers(UserKey { kind, user }).await?,
            has_mutual: self.engine.kinds().get(kind).is_between_users(),
        })
    }

    /// The edges between a user and each of the others, in order.
    ///
    /// # Errors
    /// [`ReadFailure`] for a list that is empty or too long, or a kind that takes no users.
    pub async fn relationships(
        &self,
        kind: KindId,
        user: Id,
        others: Vec<Id>,
    ) -> Result<Vec<Relationship>, ReadFailure> {
        OutOfRange::check_length("others", others.len(), limits::MAX_BATCH_READS)?;
        self.takes_users(kind, &user)?;
        let key = UserKey { kind, user };
        Ok(self.engine.relationships(key, others).await?)
    }

    /// Who among those that a user has under `via` did it to the target.
    ///
    /// # Errors
    /// [`ReadFailure`]; `via` must take users.
    pub async fn known(
        &self,
        kind: KindId,
        via: KindId,
        user: Id,
        target: Target,
        size: Option<u64>,
    ) -> Result<Known, ReadFailure> {
        let size = page_size(size)?;
        self.takes_users(via, &user)?;
        let key = self.readable(kind, target)?;
        Ok(self.engine.known(user, via, key, size).await?)
    }
}
