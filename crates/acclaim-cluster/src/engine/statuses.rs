//! Edges and counts: from Redis, one call a partition, all at once; what is cold is loaded and
//! asked for again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use acclaim_core::port::{Count, Relationship, Status};
use acclaim_core::{EdgeKey, Id, ReadError, Target, TargetKey, UserKey};
use futures::future::try_join_all;
use tokio::time::Instant;

use super::errors::read_error;
use super::shared::Shared;
use crate::redis::keys::TargetName;
use crate::redis::read::Found;

/// A target, and a user where the edge is wanted too.
pub type Wanted = (TargetName, Option<Id>);

impl Shared {
    /// See [`acclaim_core::port::Reads::statuses`].
    pub async fn statuses(self: &Arc<Self>, edges: &[EdgeKey]) -> Result<Vec<Status>, ReadError> {
        let mut wanted = Vec::with_capacity(edges.len());
        for edge in edges {
            let target = self.known_target(&edge.target_key()).await?;
            wanted.push(target.map(|target| (target, Some(edge.user.clone()))));
        }
        let found = self.look_up(wanted).await?;
        Ok(found.into_iter().map(|(status, _)| status).collect())
    }

    /// See [`acclaim_core::port::Reads::counts`].
    pub async fn counts(self: &Arc<Self>, targets: &[TargetKey]) -> Result<Vec<Count>, ReadError> {
        let mut wanted = Vec::with_capacity(targets.len());
        for target in targets {
            let target = self.known_target(target).await?;
            wanted.push(target.map(|target| (target, None)));
        }
        let found = self.look_up(wanted).await?;
        Ok(found.into_iter().map(|(_, count)| count).collect())
    }

    /// See [`acclaim_core::port::Reads::relationships`].
    pub async fn relationships(
        self: &Arc<Self>,
        user: &UserKey,
        others: &[Id],
    ) -> Result<Vec<Relationship>, ReadError> {
        let edge = |from: &Id, to: &Id| EdgeKey {
            kind: user.kind,
            user: from.clone(),
            target: Target::user(to.clone()),
        };
        let edges: Vec<EdgeKey> = others
            .iter()
            .flat_map(|other| [edge(&user.user, other), edge(other, &user.user)])
            .collect();
        let statuses = self.statuses(&edges).await?;
        let pair = |pair: &[Status]| Relationship {
            following: pair[0].edge.active,
            followed_by: pair[1].edge.active,
        };
        Ok(statuses.chunks_exact(2).map(pair).collect())
    }

    /// Looks up edges and counts, in order; nothing is known of what has no name.
    pub async fn look_up(
        self: &Arc<Self>,
        wanted: Vec<Option<Wanted>>,
    ) -> Result<Vec<(Status, Count)>, ReadError> {
        let mut found = vec![(Status::default(), Count::default()); wanted.len()];
        let mut left: Vec<(usize, Wanted)> = wanted
            .into_iter()
            .enumerate()
            .filter_map(|(place, wanted)| Some((place, wanted?)))
            .collect();
        let end = Instant::now() + self.limits.load_wait_max();
        while !left.is_empty() {
            let mut cold = HashSet::new();
            let mut again = Vec::new();
            for (partition, part) in self.ask(left).await? {
                for ((place, wanted), answer) in part {
                    match answer {
                        Found::Here { status, count } => found[place] = (status, count),
                        Found::Cold(what) => {
                            cold.insert((partition, what));
                            again.push((place, wanted));
                        }
                    }
                }
            }
            left = again;
            if left.is_empty() {
                break;
            }
            if Instant::now() > end {
                return Err(read_error("what was loaded is cold again and again"));
            }
            Box::pin(self.load_all(cold)).await.map_err(read_error)?;
        }
        Ok(found)
    }

    /// One question a partition.
    #[allow(
        clippy::type_complexity,
        reason = "pairs of what the caller gave and got"
    )]
    async fn ask(
        self: &Arc<Self>,
        wanted: Vec<(usize, Wanted)>,
    ) -> Result<Vec<(u16, Vec<((usize, Wanted), Found)>)>, ReadError> {
        let mut parts: BTreeMap<u16, (Vec<usize>, Vec<Wanted>)> = BTreeMap::new();
        for (place, wanted) in wanted {
            let partition = wanted.0.partition(self.store.partitions);
            let (places, part) = parts.entry(partition).or_default();
            places.push(place);
            part.push(wanted);
        }
        let asked = parts.into_iter().map(|(number, (places, part))| {
            let found = self.find(number, part.clone());
            async move {
                let found = found.await.map_err(read_error)?;
                Ok((number, places.into_iter().zip(part).zip(found).collect()))
            }
        });
        try_join_all(asked).await
    }
}
