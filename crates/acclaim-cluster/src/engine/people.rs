//! A user's side: from the ledger, after it has what the user wrote lately.
//!
//! `known` takes only whom the user follows from the ledger; who of them did it is asked of Redis.

use std::sync::Arc;

use acclaim_core::limits::MAX_KNOWN_FOLLOWED;
use acclaim_core::page::{Entry, Position};
use acclaim_core::port::{Known, Listing, UserNumbers};
use acclaim_core::{
    Id, KindId, Page, ReadError, Rev, Start, Target, TargetKey, TargetType, UserKey,
};

use super::errors::read_error;
use super::shared::Shared;
use crate::ledger::Ledger;

impl Shared {
    /// Waits until the ledger has what these users wrote lately, and what was done to them where
    /// that is wanted too. Answers where to read it: where all is that the ledger has by now, since
    /// nobody keeps what users wrote once the ledger has it.
    async fn caught_up(
        &self,
        users: &[&Id],
        received_by: Option<&Id>,
    ) -> Result<Ledger, ReadError> {
        let all: Vec<_> = self.all_partitions().map(|n| self.partition(n)).collect();
        let pending = self.redis.pending_of(&all, users).await;
        let pending = pending.map_err(read_error)?.into_iter();
        let mut owed: Vec<(u16, Rev)> = self.all_partitions().zip(pending).collect();
        if let Some(user) = received_by {
            owed.extend(self.owed(&[self.home(user)]).await.map_err(read_error)?);
        }
        owed.retain(|(_, place)| *place > Rev::ZERO);
        let longest = self.limits.read_wait_max();
        let waited = self.ledger_has_places(owed, longest).await;
        waited.map_err(read_error)?;
        let all: Vec<u16> = self.all_partitions().collect();
        self.ledger_of(&all).await
    }

    /// See [`acclaim_core::port::Reads::targets`].
    pub async fn targets(
        &self,
        user: &UserKey,
        target_type: Option<&TargetType>,
        start: &Start<Target>,
        size: usize,
    ) -> Result<Listing<Target>, ReadError> {
        let ledger = self.caught_up(&[&user.user], None).await?;
        let kind = self.names.kind_no(user.kind);
        let found = ledger.targets_of(kind, &user.user, target_type, start, size);
        found.await.map_err(read_error)
    }

    /// See [`acclaim_core::port::Reads::numbers`].
    pub async fn numbers(&self, user: &UserKey) -> Result<UserNumbers, ReadError> {
        let ledger = self.caught_up(&[&user.user], Some(&user.user)).await?;
        let kind = self.names.kind_no(user.kind);
        let found = ledger.user_numbers(kind, &user.user).await;
        let mut numbers = found.map_err(read_error)?;
        if !self.kinds.get(user.kind).is_between_users() {
            numbers.mutual = 0;
        }
        Ok(numbers)
    }

    /// See [`acclaim_core::port::Reads::mutual`].
    pub async fn mutual(
        &self,
        user: &UserKey,
        start: &Start<Id>,
        size: usize,
    ) -> Result<Page<Id>, ReadError> {
        let ledger = self.caught_up(&[&user.user], Some(&user.user)).await?;
        let kind = self.names.kind_no(user.kind);
        let start = match start {
            Start::Offset(skip) => Start::Offset(*skip),
            Start::After(position) => Start::After(Position {
                rev: position.rev,
                key: Target::user(position.key.clone()),
            }),
        };
        let found = ledger.mutual_of(kind, &user.user, &start, size).await;
        let Page { entries, next } = found.map_err(read_error)?;
        let entry = |entry: Entry<Target>| Entry {
            key: entry.key.id,
            at: entry.at,
        };
        let position = |position: Position<Target>| Position {
            rev: position.rev,
            key: position.key.id,
        };
        Ok(Page {
            entries: entries.into_iter().map(entry).collect(),
            next: next.map(position),
        })
    }

    /// See [`acclaim_core::port::Reads::common`].
    pub async fn common(
        &self,
        user: &UserKey,
        other: &Id,
        start: &Start<Target>,
        size: usize,
    ) -> Result<Page<Target>, ReadError> {
        let ledger = self.caught_up(&[&user.user, other], None).await?;
        let kind = self.names.kind_no(user.kind);
        let found = ledger.common_of(kind, &user.user, other, start, size);
        found.await.map_err(read_error)
    }

    /// See [`acclaim_core::port::Reads::known`].
    pub async fn known(
        self: &Arc<Self>,
        user: &Id,
        via: KindId,
        target: &TargetKey,
        size: usize,
    ) -> Result<Known, ReadError> {
        let follows = UserKey {
            kind: via,
            user: user.clone(),
        };
        let (users, top) = (TargetType::USER, Start::top());
        let followed = self.targets(&follows, Some(&users), &top, MAX_KNOWN_FOLLOWED);
        let followed = followed.await?;
        let name = self.known_target(target).await?;
        let wanted = followed.page.entries.iter().map(|entry| {
            let name = name.clone()?;
            Some((name, Some(entry.key.id.clone())))
        });
        let found = self.look_up(wanted.collect()).await?;
        let did = followed.page.entries.into_iter().zip(found);
        let did = did.filter(|(_, (status, _))| status.edge.active);
        let mut entries: Vec<Entry<Id>> = did
            .map(|(entry, (status, _))| Entry {
                key: entry.key.id,
                at: status.edge.rev,
            })
            .collect();
        entries.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.key.cmp(&b.key)));
        let count = entries.len() as u64;
        entries.truncate(size);
        Ok(Known {
            count,
            entries,
            partial: followed.total > MAX_KNOWN_FOLLOWED as u64,
        })
    }
}
