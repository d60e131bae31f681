//! A user among others: numbers, mutual, common, relationships, known.
//!
//! The filtered lists look at a bounded number of edges a page and say where to go on, so a page
//! may hold few entries, or none, while there is more.

use acclaim_core::limits::{MAX_FILTERED_EDGES, MAX_KNOWN_FOLLOWED};
use acclaim_core::page::Entry;
use acclaim_core::port::{Known, Relationship, UserNumbers};
use acclaim_core::{Id, Page, Start, Target, TargetType};

use super::{EdgeRef, TargetRef};
use crate::ledger::dictionary::KindNo;
use crate::ledger::error::LedgerError;
use crate::ledger::pools::Ledger;

impl Ledger {
    /// A user's own numbers. `mutual` counts users only, whatever the kind.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn user_numbers(&self, kind: KindNo, user: &Id) -> Result<UserNumbers, LedgerError> {
        let sums = self.user_sums(kind, user).await?;
        let received = match self.as_target(kind, user).await? {
            Some(target) => self.target_counts(&[target]).await?[0].count,
            None => 0,
        };
        Ok(UserNumbers {
            given: sums.given,
            received,
            mutual: sums.mutual,
        })
    }

    /// The users to whom `user` does it and who do it back, by when `user` did.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn mutual_of(
        &self,
        kind: KindNo,
        user: &Id,
        start: &Start<Target>,
        size: usize,
    ) -> Result<Page<Target>, LedgerError> {
        let Some(me) = self.as_target(kind, user).await? else {
            return Ok(nothing());
        };
        let back = |entry: &Entry<Target>| EdgeRef {
            to: me.clone(),
            user: entry.key.id.clone(),
        };
        self.filtered(kind, user, Some(&TargetType::USER), start, size, |entry| {
            (entry.key.id != *user).then(|| back(entry))
        })
        .await
    }

    /// The targets that both `user` and `other` did it to, by when `user` did.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn common_of(
        &self,
        kind: KindNo,
        user: &Id,
        other: &Id,
        start: &Start<Target>,
        size: usize,
    ) -> Result<Page<Target>, LedgerError> {
        let mut types = std::collections::HashMap::new();
        for of_type in self.user_sums(kind, user).await?.types {
            types.insert(self.type_of_row(of_type.type_no).await?, of_type.type_no);
        }
        self.filtered(kind, user, None, start, size, |entry| {
            // A type that came since belongs to an edge that is newer than this read.
            let target_type = *types.get(&entry.key.target_type)?;
            let to = TargetRef {
                kind,
                target_type,
                target: entry.key.id.clone(),
            };
            Some(EdgeRef {
                to,
                user: other.clone(),
            })
        })
        .await
    }

    /// The edges between a user and each of the others, in order.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn relationships_of(
        &self,
        kind: KindNo,
        user: &Id,
        others: &[Id],
    ) -> Result<Vec<Relationship>, LedgerError> {
        let Some(me) = self.as_target(kind, user).await? else {
            return Ok(vec![Relationship::default(); others.len()]);
        };
        let edges = others.iter().flat_map(|other| {
            let them = TargetRef {
                target: other.clone(),
                ..me.clone()
            };
            [
                EdgeRef {
                    to: them,
                    user: user.clone(),
                },
                EdgeRef {
                    to: me.clone(),
                    user: other.clone(),
                },
            ]
        });
        let states = self.edge_states(&edges.collect::<Vec<_>>()).await?;
        let pair = |pair: &[acclaim_core::EdgeState]| Relationship {
            following: pair[0].active,
            followed_by: pair[1].active,
        };
        Ok(states.chunks_exact(2).map(pair).collect())
    }

    /// Who among the newest [`MAX_KNOWN_FOLLOWED`] users that `user` has under `via` did it.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn known_of(
        &self,
        user: &Id,
        via: KindNo,
        target: &TargetRef,
        size: usize,
    ) -> Result<Known, LedgerError> {
        let users = Some(&TargetType::USER);
        let followed = self
            .targets_of(via, user, users, &Start::top(), MAX_KNOWN_FOLLOWED)
            .await?;
        let edges: Vec<EdgeRef> = followed
            .page
            .entries
            .into_iter()
            .map(|entry| EdgeRef {
                to: target.clone(),
                user: entry.key.id,
            })
            .collect();
        let states = self.edge_states(&edges).await?;
        let mut entries: Vec<Entry<Id>> = edges
            .into_iter()
            .zip(states)
            .filter(|(_, state)| state.active)
            .map(|(edge, state)| Entry {
                key: edge.user,
                at: state.rev,
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

    /// The target that a user is, if anybody ever was one.
    async fn as_target(&self, kind: KindNo, user: &Id) -> Result<Option<TargetRef>, LedgerError> {
        let user_type = self.known_type_no(&TargetType::USER).await?;
        Ok(user_type.map(|target_type| TargetRef {
            kind,
            target_type,
            target: user.clone(),
        }))
    }

    /// Those of a user's edges whose counterpart is active, out of the next
    /// [`MAX_FILTERED_EDGES`].
    async fn filtered(
        &self,
        kind: KindNo,
        user: &Id,
        only: Option<&TargetType>,
        start: &Start<Target>,
        size: usize,
        counterpart: impl Fn(&Entry<Target>) -> Option<EdgeRef>,
    ) -> Result<Page<Target>, LedgerError> {
        let (mut skip, start) = match start {
            Start::Offset(skip) => (*skip, Start::top()),
            Start::After(position) => (0, Start::After(position.clone())),
        };
        let looked = self
            .targets_of(kind, user, only, &start, MAX_FILTERED_EDGES)
            .await?
            .page;
        let with: Vec<_> = looked
            .entries
            .iter()
            .filter_map(|entry| counterpart(entry).map(|edge| (entry, edge)))
            .collect();
        let edges: Vec<EdgeRef> = with.iter().map(|(_, edge)| edge.clone()).collect();
        let states = self.edge_states(&edges).await?;
        let mut page = Page {
            entries: Vec::new(),
            next: looked.next,
        };
        for ((entry, _), _) in with
            .into_iter()
            .zip(states)
            .filter(|(_, state)| state.active)
        {
            if skip > 0 {
                skip -= 1;
            } else if page.entries.len() < size {
                page.entries.push(entry.clone());
            } else {
                page.next = page.entries.last().map(Entry::position);
                break;
            }
        }
        Ok(page)
    }
}

fn nothing() -> Page<Target> {
    Page {
        entries: Vec::new(),
        next: None,
    }
}
