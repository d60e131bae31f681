//! What can be asked of notifications: read them, mark them read, say whose a target is. What
//! concerns webhooks is in [`webhooks`].

mod webhooks;

use std::collections::HashMap;
use std::time::Duration;

pub use webhooks::{WebhookForm, WebhookView};

use super::endpoint::BadEndpoint;
use super::erase::{self, Look};
use super::fold::Change;
use super::group::{Actor, Group};
use super::keys::{self, GroupKey, tag};
use super::ownership::{BadOwnership, Ownership};
use super::port::{Batch, CommitError, Key, Notes, Record};
use super::record::{decode_found, encode};
use super::settings::Settings;
use crate::cursor::{BadCursor, CursorItem};
use crate::error::{ReadError, WriteError};
use crate::id::Id;
use crate::page::Position;
use crate::port::{Engine, Place};
use crate::rev::Rev;
use crate::target::Target;

/// Tries of a change that others are faster at.
const MAX_TRIES: usize = 32;

/// Why a call about notifications was refused or not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeskFailure {
    /// There are none here.
    #[error("there are no notifications and no webhooks here: {0}")]
    Absent(&'static str),
    /// A cursor that is not one of this list.
    #[error(transparent)]
    BadCursor(#[from] BadCursor),
    /// An ownership outside its limits.
    #[error(transparent)]
    BadOwnership(#[from] BadOwnership),
    /// An endpoint outside its limits.
    #[error(transparent)]
    BadEndpoint(#[from] BadEndpoint),
    /// There is no such endpoint.
    #[error("there is no webhook {0:?}; GET /api/v2/webhooks lists them")]
    UnknownWebhook(String),
    /// As many endpoints as there can be.
    #[error("there are {0} webhooks, which is the limit; remove one first")]
    TooManyWebhooks(usize),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store could not write.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// One notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Its id, to mark it and all older ones read by.
    pub id: Place,
    /// Of which kind, about which target.
    pub key: GroupKey,
    /// The newest who do it.
    pub actors: Vec<Actor>,
    /// How many others do.
    pub others: u64,
    /// When the owner was told last.
    pub at: Rev,
    /// Whether the owner has read it.
    pub is_read: bool,
}

/// A page of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notifications {
    /// Newest first.
    pub items: Vec<Notification>,
    /// How many of the owner's are unread, on all pages.
    pub unread: u64,
    /// The way to the next page.
    pub next_cursor: Option<String>,
}

/// A place's partition inside a cursor.
struct Partition(u16);

impl CursorItem for Partition {
    fn to_text(&self) -> String {
        self.0.to_string()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

/// Answers what is asked.
pub struct Desk<'a> {
    engine: &'a dyn Engine,
    notes: &'a dyn Notes,
    settings: &'a Settings,
    now: Rev,
}

/// Records that were read beforehand.
#[derive(Default)]
struct Fetched(HashMap<Key, Option<Vec<u8>>>);

impl Look for Fetched {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.0.get(key).cloned().flatten())
    }

    fn scan(&self, _prefix: &[u8], _max: usize) -> Result<Vec<Record>, ReadError> {
        Ok(Vec::new())
    }
}

impl<'a> Desk<'a> {
    /// The desk of an engine.
    ///
    /// # Errors
    /// [`DeskFailure::Absent`] where the engine keeps no notes or notifications are switched off.
    pub fn of(
        engine: &'a dyn Engine,
        settings: &'a Settings,
        now: Rev,
    ) -> Result<Self, DeskFailure> {
        if !settings.notifications.enabled {
            let reason = "notifications.enabled is false in the configuration";
            return Err(DeskFailure::Absent(reason));
        }
        let notes = engine
            .notes()
            .ok_or(DeskFailure::Absent("the engine of this server keeps none"))?;
        Ok(Self {
            engine,
            notes,
            settings,
            now,
        })
    }

    async fn get(&self, key: Key) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.notes.get(vec![key]).await?.pop().flatten())
    }

    /// A page of a user's notifications, newest first. `size` is within its limits.
    ///
    /// # Errors
    /// [`DeskFailure`].
    pub async fn list(
        &self,
        user: &Id,
        size: usize,
        cursor: Option<&str>,
    ) -> Result<Notifications, DeskFailure> {
        let list = format!("notifications?{user}");
        let cursor_key = self.engine.cursor_key();
        let after = match cursor {
            None => Place::MAX,
            Some(cursor) => {
                let position: Position<Partition> = cursor_key.read(&list, cursor)?;
                Place {
                    seq: position.rev,
                    partition: position.key.0,
                }
            }
        };
        let mark = self.mark(user).await?.1;
        let index = self.index(user).await?;
        let unread = self.unread(&index, mark).await?;
        let rest: Vec<_> = index
            .into_iter()
            .filter(|(place, _)| *place < after || cursor.is_none())
            .collect();
        let mut items = Vec::new();
        for part in rest.chunks(size + 1) {
            items.extend(self.shown(part, mark).await?);
            if items.len() > size {
                break;
            }
        }
        let has_more = items.len() > size;
        items.truncate(size);
        let last = items.last().filter(|_| has_more);
        let next_cursor = last.map(|item| {
            let position = Position {
                rev: item.id.seq,
                key: Partition(item.id.partition),
            };
            cursor_key.sign(&list, &position)
        });
        Ok(Notifications {
            items,
            unread,
            next_cursor,
        })
    }

    /// An owner's groups by time, newest first: as many as an owner keeps.
    async fn index(&self, user: &Id) -> Result<Vec<(Place, GroupKey)>, ReadError> {
        let most = self.settings.notifications.max_per_owner;
        let records = self
            .notes
            .scan(keys::of(tag::INDEX, user), None, most)
            .await?;
        let groups = records.iter().filter_map(|(key, value)| {
            Some((
                keys::place_of_index(key)?,
                keys::group_of_index(user, value)?,
            ))
        });
        Ok(groups.collect())
    }

    /// Those of the groups that are shown.
    async fn shown(
        &self,
        groups: &[(Place, GroupKey)],
        mark: Place,
    ) -> Result<Vec<Notification>, ReadError> {
        let days = u64::from(self.settings.notifications.max_age_days);
        let oldest = Rev(self.now.0.saturating_sub(days * 86_400_000_000));
        let records = groups.iter().map(|(_, key)| keys::group(key)).collect();
        let records = self.notes.get(records).await?;
        let mut shown = Vec::new();
        for ((_, key), record) in groups.iter().zip(&records) {
            let group: Option<Group> = decode_found(record.as_ref())?;
            let Some(group) = group.filter(|group| group.is_shown() && group.seen.seq >= oldest)
            else {
                continue;
            };
            shown.push(Notification {
                id: group.place,
                key: key.clone(),
                actors: group.shown_actors().to_vec(),
                others: group.others(),
                at: group.place.seq,
                is_read: group.place <= mark,
            });
        }
        Ok(shown)
    }

    async fn unread(&self, index: &[(Place, GroupKey)], mark: Place) -> Result<u64, ReadError> {
        let new = index.partition_point(|(place, _)| *place > mark);
        Ok(self.shown(&index[..new], mark).await?.len() as u64)
    }

    /// Up to where a user has read, as it is written down and as it is.
    async fn mark(&self, user: &Id) -> Result<(Option<Vec<u8>>, Place), ReadError> {
        let found = self.get(keys::of(tag::READ, user)).await?;
        let text: Option<String> = decode_found(found.as_ref())?;
        let mark = text
            .and_then(|text| text.parse().ok())
            .unwrap_or(Place::START);
        Ok((found, mark))
    }

    /// Marks a user's notifications read up to one of them, and gives how many are unread. What
    /// comes later is unread whatever `up_to` says, and what was read stays so.
    ///
    /// # Errors
    /// [`DeskFailure`].
    pub async fn mark_read(&self, user: &Id, up_to: Place) -> Result<u64, DeskFailure> {
        for _ in 0..MAX_TRIES {
            let position = self.get(keys::position()).await?;
            let position: Option<String> = decode_found(position.as_ref())?;
            let position = position
                .and_then(|text| text.parse().ok())
                .unwrap_or(Place::START);
            let (found, mark) = self.mark(user).await?;
            let new = up_to.min(position);
            if new <= mark {
                return Ok(self.unread(&self.index(user).await?, mark).await?);
            }
            let key = keys::of(tag::READ, user);
            let change = (key.clone(), Some(encode(&new.to_string())));
            if self
                .commit(Batch::of(vec![change]).expecting(key, found))
                .await?
            {
                return Ok(self.unread(&self.index(user).await?, new).await?);
            }
        }
        Err(overtaken())
    }

    /// Says whose a target is, what it is called and where it is seen. What another owner was told
    /// about it goes.
    ///
    /// # Errors
    /// [`DeskFailure`].
    pub async fn own(&self, target: &Target, ownership: &Ownership) -> Result<(), DeskFailure> {
        ownership.check(target)?;
        self.change_owner(target, |_| ownership.clone()).await
    }

    /// Says whose targets are, as writes do; what they are called stays.
    ///
    /// # Errors
    /// [`DeskFailure`].
    pub async fn claim(&self, claims: &[(&Target, &Id)]) -> Result<(), DeskFailure> {
        let keys = claims.iter().map(|(target, _)| keys::ownership(target));
        let known = self.notes.get(keys.collect()).await?;
        for ((target, owner), found) in claims.iter().zip(&known) {
            let ownership = Ownership::of(Id::clone(owner));
            ownership.check(target)?;
            let known: Option<Ownership> = decode_found(found.as_ref())?;
            if known.is_some_and(|known| known.owner == **owner) {
                continue;
            }
            self.change_owner(target, |known| match known {
                Some(known) => Ownership {
                    owner: ownership.owner.clone(),
                    ..known.clone()
                },
                None => ownership.clone(),
            })
            .await?;
        }
        Ok(())
    }

    async fn change_owner(
        &self,
        target: &Target,
        change: impl Fn(Option<&Ownership>) -> Ownership,
    ) -> Result<(), DeskFailure> {
        let key = keys::ownership(target);
        for _ in 0..MAX_TRIES {
            let found = self.get(key.clone()).await?;
            let known: Option<Ownership> = decode_found(found.as_ref())?;
            let new = change(known.as_ref());
            if known.as_ref() == Some(&new) {
                return Ok(());
            }
            let mut batch = Batch::of(vec![
                (key.clone(), Some(encode(&new))),
                (keys::owned(&new.owner, target), Some(Vec::new())),
            ]);
            batch = batch.expecting(key.clone(), found);
            if let Some(known) = known.filter(|known| known.owner != new.owner) {
                batch
                    .writes
                    .insert(0, (keys::owned(&known.owner, target), None));
                batch = self.leave(batch, &known.owner, target).await?;
            }
            if self.commit(batch).await? {
                return Ok(());
            }
        }
        Err(overtaken())
    }

    /// Adds that an owner's groups about a target go.
    async fn leave(
        &self,
        mut batch: Batch,
        owner: &Id,
        target: &Target,
    ) -> Result<Batch, ReadError> {
        let mut asked: Vec<Key> = Vec::new();
        for (_, kind) in self.engine.kinds().iter() {
            asked.push(keys::group(&GroupKey {
                owner: owner.clone(),
                kind: kind.name.clone(),
                target: target.clone(),
            }));
        }
        asked.push(keys::of(tag::INBOX, owner));
        let (epoch, next) = self.next_epoch().await?;
        let found = self.notes.get(asked.clone()).await?;
        let fetched = Fetched(asked.into_iter().zip(found).collect());
        let gone = erase::groups_of(&fetched, self.engine.kinds(), owner, target)?;
        batch.writes.extend(gone);
        batch.expected.extend(fetched.0);
        batch.writes.push(next);
        Ok(batch.expecting(keys::epoch(), epoch))
    }

    /// The epoch as it is written down, and the change to the next one.
    async fn next_epoch(&self) -> Result<(Option<Vec<u8>>, Change), ReadError> {
        let found = self.get(keys::epoch()).await?;
        let epoch: u64 = decode_found(found.as_ref())?.unwrap_or(0);
        Ok((found, (keys::epoch(), Some(encode(&(epoch + 1))))))
    }

    /// Commits; false where somebody was faster.
    async fn commit(&self, batch: Batch) -> Result<bool, DeskFailure> {
        match self.notes.commit(batch).await {
            Ok(()) => Ok(true),
            // Nothing here is written under a duty.
            Err(CommitError::Conflict | CommitError::Displaced) => Ok(false),
            Err(CommitError::Write(error)) => Err(error.into()),
        }
    }
}

fn overtaken() -> DeskFailure {
    DeskFailure::Write(WriteError::Unavailable {
        reason: "others change the same all the time".to_owned(),
        retry_after: Duration::from_secs(1),
    })
}
