//! Pages of lists, by page or by cursor.
//!
//! A cursor is bound to its list: the name it is signed with holds the kind, the route and every
//! parameter that decides what is in the list, but not the size, which may change from page to
//! page.

use super::{OutOfRange, PageTooDeep, ReadFailure, Service};
use crate::cursor::CursorItem;
use crate::id::Id;
use crate::kind::KindId;
use crate::limits;
use crate::page::{Entry, Page, Start};
use crate::target::{Target, TargetType, UserKey};

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Entries a page; none means [`limits::DEFAULT_PAGE_ENTRIES`].
    pub size: Option<u64>,
    /// The page, from 0.
    pub page: Option<u64>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A page with the way on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<K> {
    /// Its entries.
    pub entries: Vec<Entry<K>>,
    /// The length of the whole list, where the list has one.
    pub total: Option<u64>,
    /// The cursor of the next page, or `None` at the end.
    pub next_cursor: Option<String>,
}

/// What two users both did: users for kinds between users, else targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Common {
    /// Of a kind between users.
    Users(Listed<Id>),
    /// Of any other kind.
    Targets(Listed<Target>),
}

impl Service {
    /// Who did it to a target.
    ///
    /// # Errors
    /// [`ReadFailure`].
    pub async fn users(
        &self,
        kind: KindId,
        target: Target,
        asked: &Asked,
    ) -> Result<Listed<Id>, ReadFailure> {
        let key = self.readable(kind, target)?;
        let list = format!("{}/users?{}", self.kind_name(kind), key.target);
        let (start, size) = self.start(&list, asked)?;
        let listing = self.engine.users(key, start, size).await?;
        Ok(self.listed(&list, listing.page, Some(listing.total)))
    }

    /// What a user did it to, of one type or of all.
    ///
    /// # Errors
    /// [`ReadFailure`].
    pub async fn targets(
        &self,
        kind: KindId,
        user: Id,
        target_type: Option<TargetType>,
        asked: &Asked,
    ) -> Result<Listed<Target>, ReadFailure> {
        let type_name = target_type.as_ref().map_or("", TargetType::as_str);
        let list = format!("{}/targets?{user}&{type_name}", self.kind_name(kind));
        let (start, size) = self.start(&list, asked)?;
        let key = UserKey { kind, user };
        let listing = self.engine.targets(key, target_type, start, size).await?;
        Ok(self.listed(&list, listing.page, Some(listing.total)))
    }

    /// To whom a user does it and who do it back.
    ///
    /// # Errors
    /// [`ReadFailure`]; a kind that takes no users has no such list.
    pub async fn mutual(
        &self,
        kind: KindId,
        user: Id,
        asked: &Asked,
    ) -> Result<Listed<Id>, ReadFailure> {
        self.takes_users(kind, &user)?;
        let list = format!("{}/mutual?{user}", self.kind_name(kind));
        let (start, size) = self.start(&list, asked)?;
        let page = self
            .engine
            .mutual(UserKey { kind, user }, start, size)
            .await?;
        Ok(self.listed(&list, page, None))
    }

    /// What two users both did.
    ///
    /// # Errors
    /// [`ReadFailure`].
    pub async fn common(
        &self,
        kind: KindId,
        user: Id,
        other: Id,
        asked: &Asked,
    ) -> Result<Common, ReadFailure> {
        let list = format!("{}/common?{user}&{other}", self.kind_name(kind));
        let (start, size) = self.start(&list, asked)?;
        let key = UserKey { kind, user };
        let page = self.engine.common(key, other, start, size).await?;
        let listed = self.listed(&list, page, None);
        if !self.engine.kinds().get(kind).is_between_users() {
            return Ok(Common::Targets(listed));
        }
        let entries = listed.entries.into_iter().map(|entry| Entry {
            key: entry.key.id,
            at: entry.at,
        });
        Ok(Common::Users(Listed {
            entries: entries.collect(),
            total: listed.total,
            next_cursor: listed.next_cursor,
        }))
    }

    /// That the kind takes users as targets; `user` stands in the message.
    pub(super) fn takes_users(&self, kind: KindId, user: &Id) -> Result<(), ReadFailure> {
        let target = Target::user(user.clone());
        Ok(self.engine.kinds().check_type(kind, &target)?)
    }

    fn start<K: CursorItem>(
        &self,
        list: &str,
        asked: &Asked,
    ) -> Result<(Start<K>, usize), ReadFailure> {
        let size = page_size(asked.size)?;
        let start = match (asked.page, &asked.cursor) {
            (Some(_), Some(_)) => return Err(ReadFailure::PageAndCursor),
            (None, Some(cursor)) => Start::After(self.engine.cursor_key().read(list, cursor)?),
            (page, None) => Start::Offset(offset(page.unwrap_or(0), size)?),
        };
        Ok((start, size))
    }

    fn listed<K: CursorItem>(&self, list: &str, page: Page<K>, total: Option<u64>) -> Listed<K> {
        let sign = |position| self.engine.cursor_key().sign(list, &position);
        Listed {
            entries: page.entries,
            total,
            next_cursor: page.next.map(sign),
        }
    }
}

/// The size of a page, with its default and limit.
pub(super) fn page_size(asked: Option<u64>) -> Result<usize, OutOfRange> {
    let size = asked.unwrap_or(limits::DEFAULT_PAGE_ENTRIES as u64);
    let size = OutOfRange::check("size", size, 1, limits::MAX_PAGE_ENTRIES as u64)?;
    // At most MAX_PAGE_ENTRIES.
    Ok(size as usize)
}

fn offset(page: u64, size: usize) -> Result<usize, PageTooDeep> {
    let size = size as u64;
    match page.checked_mul(size) {
        // Below MAX_OFFSET_ENTRIES.
        Some(offset) if offset < limits::MAX_OFFSET_ENTRIES as u64 => Ok(offset as usize),
        _ => Err(PageTooDeep { page, size }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_reach_the_first_thousand() {
        assert_eq!(offset(0, 100), Ok(0));
        assert_eq!(offset(9, 100), Ok(900));
        assert_eq!(offset(999, 1), Ok(999));
        assert_eq!(
            offset(10, 100),
            Err(PageTooDeep {
                page: 10,
                size: 100
            })
        );
        assert!(offset(u64::MAX, 2).is_err());
    }

    #[test]
    fn sizes_have_edges() {
        assert_eq!(page_size(None), Ok(20));
        assert_eq!(page_size(Some(1)), Ok(1));
        assert_eq!(page_size(Some(100)), Ok(100));
        for size in [0, 101, u64::MAX] {
            assert!(matches!(
                page_size(Some(size)),
                Err(OutOfRange { name: "size", .. })
            ));
        }
    }
}
