//! Statuses, counts and a user's own numbers.

use acclaim_core::port::{Count, Relationship, Status, UserNumbers};
use acclaim_core::{EdgeKey, EdgeState, Id, ReadError, Target, TargetKey, TargetType, UserKey};

use super::super::key::{EdgeRef, TargetRef, TypeNo, UserRef};
use super::super::record::decode_edge;
use super::super::view::View;
use super::Reading;

/// Statuses of one call from which on it is cheaper to read a user's edges than to look each up.
const MIN_READ_IN_ONE_GO: usize = 8;

/// What the base knows of one user's edges, in its order, up to a bound.
struct UserEdges {
    user: UserRef,
    known: Vec<(TypeNo, Id, EdgeState)>,
    /// Whether there are no more than these.
    whole: bool,
}

impl UserEdges {
    /// Reads at most `max_edges`.
    fn read(view: &View, user: UserRef, max_edges: usize) -> Result<Self, ReadError> {
        let mut known = Vec::new();
        let mut whole = true;
        for stored in view.base.prefix(&user.edges_prefix()) {
            if known.len() == max_edges {
                whole = false;
                break;
            }
            let (key, value) = stored?;
            let edge = EdgeRef::from_key(&key)?;
            known.push((edge.target_type, edge.target, decode_edge(&value)?));
        }
        Ok(Self { user, known, whole })
    }

    /// The edge's state in the base; `None` where it was not read.
    fn edge(&self, edge: &EdgeRef) -> Option<EdgeState> {
        if edge.kind != self.user.kind || edge.user != self.user.id {
            return None;
        }
        let wanted = (edge.target_type, &edge.target);
        let found = self
            .known
            .binary_search_by(|(target_type, target, _)| (*target_type, target).cmp(&wanted));
        match found {
            Ok(place) => Some(self.known[place].2),
            // What sorts before the last that was read would have been read.
            Err(place) if self.whole || place < self.known.len() => Some(EdgeState::default()),
            Err(_) => None,
        }
    }
}

impl Reading {
    /// An edge and its target's count.
    pub fn status(&self, edge: &EdgeKey) -> Result<Status, ReadError> {
        let Some(edge) = self.dictionary.edge(edge) else {
            return Ok(Status::default());
        };
        let (edge, count) = self.view.status(&edge)?;
        Ok(Status { edge, count })
    }

    /// The status of each edge, in order. Where several are of one user, as in a feed, that user's
    /// edges in the base are read in one go.
    pub fn statuses(&self, edges: &[EdgeKey]) -> Result<Vec<Status>, ReadError> {
        let of_user = match edges.first() {
            Some(first) if edges.len() >= MIN_READ_IN_ONE_GO => Some(UserEdges::read(
                &self.view,
                self.user_of(first),
                edges.len(),
            )?),
            _ => None,
        };
        let Some(of_user) = of_user else {
            return edges.iter().map(|edge| self.status(edge)).collect();
        };
        let status = |edge: &EdgeKey| {
            let Some(edge) = self.dictionary.edge(edge) else {
                return Ok(Status::default());
            };
            let (edge, count) = self
                .view
                .status_over(&edge, |edge| match of_user.edge(edge) {
                    Some(state) => Ok(state),
                    None => self.view.base_edge(edge),
                })?;
            Ok(Status { edge, count })
        };
        edges.iter().map(status).collect()
    }

    fn user_of(&self, edge: &EdgeKey) -> UserRef {
        UserRef {
            kind: self.dictionary.kind(edge.kind),
            id: edge.user.clone(),
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use acclaim_core::port::{Reads, Write, Writes};
    use acclaim_core::{Action, KindId, Kinds, Op};
    use prometheus_client::registry::Registry;
    use tempfile::TempDir;

    use super::*;
    use crate::SystemClock;
    use crate::embedded::base::looks;
    use crate::embedded::{EmbeddedEngine, Options};

    fn edge(user: u64, target_type: &str, target: u64) -> EdgeKey {
        EdgeKey {
            kind: KindId(0),
            user: Id::Number(user),
            target: Target {
                target_type: TargetType::parse(target_type).unwrap(),
                id: Id::Number(target),
            },
        }
    }

    async fn store() -> (TempDir, Arc<EmbeddedEngine>) {
        let dir = TempDir::new().unwrap();
        let (kinds, clock) = (Kinds::default(), Arc::new(SystemClock));
        let registry = &mut Registry::default();
        let options = Options::default();
        let engine = EmbeddedEngine::open(dir.path(), kinds, options, clock, registry).unwrap();
        // User 1 has few edges, user 2 more than any call reads in one go.
        for (user, edges) in [(1, 20), (2, 3_000)] {
            let types = ["POST", "TRACK"].into_iter();
            let all = types.flat_map(|t| (0..edges / 2).map(move |n| edge(user, t, n * 3)));
            let ops: Vec<_> = all.map(|edge| Op::new(Action::Set, edge)).collect();
            engine.apply(Write::plain(ops)).await.unwrap();
        }
        let unset = [1, 2].map(|user| Op::new(Action::Unset, edge(user, "POST", 3)));
        engine.apply(Write::plain(unset.to_vec())).await.unwrap();
        engine.checkpoint().await.unwrap();
        (dir, engine)
    }

    #[tokio::test]
    async fn many_statuses_are_those_of_one_by_one() {
        let (_dir, engine) = store().await;
        // In memory and in the tables both, and of two users and types that nobody knows.
        let set = [1, 2].map(|user| Op::new(Action::Set, edge(user, "POST", 4)));
        engine.apply(Write::plain(set.to_vec())).await.unwrap();
        for (asked, step) in [(7, 1), (8, 1), (30, 1), (500, 1), (500, 9), (400, 2)] {
            for users in [[1, 1], [2, 2], [1, 2], [3, 1]] {
                let edges: Vec<_> = (0..asked)
                    .map(|n| {
                        let target_type = ["POST", "TRACK", "NONE"][n as usize % 7 % 3];
                        edge(users[n as usize % 2], target_type, n / 2 * step)
                    })
                    .collect();
                let mut one_by_one = Vec::new();
                for edge in &edges {
                    one_by_one.extend(engine.statuses(vec![edge.clone()]).await.unwrap());
                }
                assert_eq!(engine.statuses(edges).await.unwrap(), one_by_one);
            }
        }
    }

    #[tokio::test]
    async fn a_feed_costs_a_user_and_not_an_edge() {
        let (_dir, engine) = store().await;
        let feed: Vec<_> = (0..60).map(|n| edge(1, "POST", n * 3)).collect();
        // The counts come into memory with the first call.
        engine.statuses(feed.clone()).await.unwrap();
        let reading = Reading::begin(&engine.shared);
        let (statuses, looks) = looks::of(|| reading.statuses(&feed).unwrap());
        assert_eq!(
            statuses.iter().filter(|status| status.edge.active).count(),
            9
        );
        // One target was liked by both and then by none.
        assert_eq!(
            statuses.iter().filter(|status| status.count > 0).count(),
            59
        );
        assert_eq!(looks, 20, "the user's edges, and no count");
    }
    #[tokio::test]
    async fn a_count_in_memory_follows_the_tables() {
        let (_dir, engine) = store().await;
        let key = edge(1, "POST", 6).target_key();
        for likes in 2..6 {
            for _again in 0..2 {
                let count = engine.counts(vec![key.clone()]).await.unwrap()[0].count;
                assert_eq!(count, likes);
            }
            let like = Op::new(Action::Set, edge(100 + likes, "POST", 6));
            engine.apply(Write::plain(vec![like])).await.unwrap();
            engine.checkpoint().await.unwrap();
        }
    }
}
