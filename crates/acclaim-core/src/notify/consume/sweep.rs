//! Removing what is too old.

use std::collections::BTreeMap;

use super::{ConsumeError, Consumer};
use crate::notify::fold::Inbox;
use crate::notify::group::Group;
use crate::notify::keys::{self, tag};
use crate::notify::port::{Batch, CommitError, Key};
use crate::notify::record::{decode, decode_found, encode};
use crate::rev::Rev;

/// Groups looked at in one step of a sweep.
const SWEEP_GROUPS: usize = 500;

impl Consumer {
    /// Removes groups that nothing was added to for too long, a step at a time. Gives where the next
    /// step begins, `None` at the end.
    ///
    /// # Errors
    /// [`ConsumeError`].
    pub async fn sweep(&self, after: Option<Key>) -> Result<(Option<Key>, u64), ConsumeError> {
        let days = u64::from(self.settings.notifications.max_age_days);
        let oldest = Rev(self.clock.now().0.saturating_sub(days * 86_400_000_000));
        let notes = self.notes()?;
        let records = notes
            .scan(keys::all(tag::GROUP), after, SWEEP_GROUPS)
            .await?;
        let next = records.last().map(|(key, _)| key.clone());
        let next = next.filter(|_| records.len() == SWEEP_GROUPS);
        let mut gone: BTreeMap<crate::id::Id, u64> = BTreeMap::new();
        let mut batch = Batch::default().on(self.duty);
        let mut removed = 0;
        for (key, value) in records {
            let (Some(of), group) = (keys::group_of(&key), decode::<Group>(&value)?) else {
                continue;
            };
            if group.seen.seq >= oldest {
                continue;
            }
            batch
                .writes
                .push((keys::index(&of.owner, group.place), None));
            batch.writes.push((key.clone(), None));
            batch.expected.push((key, Some(value)));
            *gone.entry(of.owner).or_default() += 1;
            removed += 1;
        }
        if removed == 0 {
            return Ok((next, 0));
        }
        let owners: Vec<Key> = gone
            .keys()
            .map(|owner| keys::of(tag::INBOX, owner))
            .collect();
        let inboxes = notes.get(owners.clone()).await?;
        for ((key, found), gone) in owners.into_iter().zip(inboxes).zip(gone.values()) {
            let mut inbox: Inbox = decode_found(found.as_ref())?.unwrap_or_default();
            inbox.groups = inbox.groups.saturating_sub(*gone);
            batch.writes.push((key.clone(), Some(encode(&inbox))));
            batch.expected.push((key, found));
        }
        match notes.commit(batch).await {
            Ok(()) => Ok((next, removed)),
            // Somebody added to one of them; the next sweep looks again.
            Err(CommitError::Conflict) => Ok((next, 0)),
            Err(CommitError::Displaced) => Err(ConsumeError::Displaced),
            Err(CommitError::Write(error)) => Err(error.into()),
        }
    }
}
