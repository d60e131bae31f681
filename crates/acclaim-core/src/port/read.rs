//! Reading through the port.

use async_trait::async_trait;

use crate::edge::{EdgeKey, EdgeState};
use crate::error::ReadError;
use crate::id::Id;
use crate::kind::KindId;
use crate::page::{Entry, Page, Start};
use crate::pulse::Window;
use crate::rev::Rev;
use crate::target::{Target, TargetKey, TargetType, UserKey};

/// An edge and the count of its target, read together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The edge.
    pub edge: EdgeState,
    /// Active edges of its target.
    pub count: u64,
}

/// The count of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Active edges.
    pub count: u64,
    /// The journal place of the target's last transition; zero where there was none.
    pub rev: Rev,
}

/// A page of a list with the length of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<K> {
    /// The page.
    pub page: Page<K>,
    /// Entries in the list.
    pub total: u64,
}

/// A user's own numbers under a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserNumbers {
    /// Active edges of the user.
    pub given: u64,
    /// Active edges whose target is the user.
    pub received: u64,
    /// Active edges to users whose edge back is active too. Kept for kinds between users only.
    pub mutual: u64,
}

/// Two users and the edges between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relationship {
    /// The first does it to the second.
    pub following: bool,
    /// The second does it to the first.
    pub followed_by: bool,
}

/// Who among those a user follows did it to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// How many, among those looked at.
    pub count: u64,
    /// The newest of them.
    pub entries: Vec<Entry<Id>>,
    /// Whether the user follows more than were looked at.
    pub partial: bool,
}

/// One line of a ranking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// The target's id.
    pub id: Id,
    /// Sets less unsets inside the window; positive.
    pub score: i64,
    /// The target's count now.
    pub count: u64,
}

/// One day's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Daily {
    /// The UTC day since the epoch.
    pub day: u32,
    /// Transitions to active.
    pub set: u64,
    /// Transitions to inactive.
    pub unset: u64,
    /// Distinct users who made any.
    pub users: u64,
}

/// The reading half of an engine. Lists are newest first; see [`crate::page`].
#[async_trait]
pub trait Reads: Send + Sync + 'static {
    /// The status of each edge, in order.
    async fn statuses(&self, edges: Vec<EdgeKey>) -> Result<Vec<Status>, ReadError>;

    /// The count of each target, in order.
    async fn counts(&self, targets: Vec<TargetKey>) -> Result<Vec<Count>, ReadError>;

    /// Who did it to a target.
    async fn users(
        &self,
        target: TargetKey,
        start: Start<Id>,
        size: usize,
    ) -> Result<Listing<Id>, ReadError>;

    /// What a user did it to, of one type or of all.
    async fn targets(
        &self,
        user: UserKey,
        target_type: Option<TargetType>,
        start: Start<Target>,
        size: usize,
    ) -> Result<Listing<Target>, ReadError>;

    /// A user's own numbers.
    async fn numbers(&self, user: UserKey) -> Result<UserNumbers, ReadError>;

    /// The users to whom `user` does it and who do it back, by when `user` did.
    async fn mutual(
        &self,
        user: UserKey,
        start: Start<Id>,
        size: usize,
    ) -> Result<Page<Id>, ReadError>;

    /// The targets that both `user` and `other` did it to, by when `user` did.
    async fn common(
        &self,
        user: UserKey,
        other: Id,
        start: Start<Target>,
        size: usize,
    ) -> Result<Page<Target>, ReadError>;

    /// The edges between a user and each of the others, in order.
    async fn relationships(
        &self,
        user: UserKey,
        others: Vec<Id>,
    ) -> Result<Vec<Relationship>, ReadError>;

    /// Who among the newest [`crate::limits::MAX_KNOWN_FOLLOWED`] users that `user` has under
    /// `via` did it to the target.
    async fn known(
        &self,
        user: Id,
        via: KindId,
        target: TargetKey,
        size: usize,
    ) -> Result<Known, ReadError>;

    /// The targets with the highest positive scores; equal scores by id.
    async fn ranking(
        &self,
        kind: KindId,
        target_type: TargetType,
        window: Window,
        size: usize,
    ) -> Result<Vec<Ranked>, ReadError>;

    /// The numbers of the last `days` UTC days, newest first, one entry a day.
    async fn daily(
        &self,
        kind: KindId,
        target_type: Option<TargetType>,
        days: u32,
    ) -> Result<Vec<Daily>, ReadError>;
}
