//! Statuses, counts and a user's own numbers.

use acclaim_core::port::{Count, Relationship, Status, UserNumbers};
use acclaim_core::{EdgeKey, Id, ReadError, Target, TargetKey, TargetType, UserKey};

use super::super::key::{EdgeRef, TargetRef};
use super::Reading;

impl Reading {
    /// An edge and its target's count.
    pub fn status(&self, edge: &EdgeKey) -> Result<Status, ReadError> {
        let Some(edge) = self.dictionary.edge(edge) else {
            return Ok(Status::default());
        };
        let (edge, count) = self.view.status(&edge)?;
        Ok(Status { edge, count })
    }

    /// A target's count.
    pub fn count(&self, target: &TargetKey) -> Result<Count, ReadError> {
        let Some(target) = self.dictionary.target(target) else {
            return Ok(Count::default());
        };
        let (count, rev) = self.view.count(&target)?;
        Ok(Count { count, rev })
    }

    /// A user's own numbers.
    pub fn numbers(&self, user: &UserKey) -> Result<UserNumbers, ReadError> {
        let record = self.view.user(&self.dictionary.user(user))?;
        let target = TargetKey {
            kind: user.kind,
            target: Target::user(user.user.clone()),
        };
        let received = self.count(&target)?.count;
        Ok(UserNumbers {
            given: record.given(),
            received,
            mutual: record.mutual,
        })
    }

    /// Active edges of a user, of one type or of all.
    pub fn given(&self, user: &UserKey, of: Option<&TargetType>) -> Result<u64, ReadError> {
        let record = self.view.user(&self.dictionary.user(user))?;
        Ok(match of {
            None => record.given(),
            Some(of) => self
                .dictionary
                .type_number(of)
                .map_or(0, |number| record.given_of(number)),
        })
    }

    /// The edges between a user and another.
    pub fn relationship(&self, user: &UserKey, other: &Id) -> Result<Relationship, ReadError> {
        let Some(user_type) = self.dictionary.user_type() else {
            return Ok(Relationship::default());
        };
        let kind = self.dictionary.kind(user.kind);
        Ok(Relationship {
            following: self.view.does(kind, &user.user, user_type, other)?,
            followed_by: self.view.does(kind, other, user_type, &user.user)?,
        })
    }

    /// An edge's state by numbers.
    pub(super) fn edge_to(
        &self,
        user: &Id,
        target: &TargetRef,
    ) -> Result<acclaim_core::EdgeState, ReadError> {
        self.view.edge(&EdgeRef {
            kind: target.kind,
            user: user.clone(),
            target_type: target.target_type,
            target: target.id.clone(),
        })
    }
}
