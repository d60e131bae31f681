//! Users: their numbers and lists against their edges, which lie together in the base.

use acclaim_core::port::Invariant;
use acclaim_core::{ReadError, Rev};

use super::super::key::{EdgeRef, TypeNo, UserRef, tag};
use super::super::record::{UserRecord, decode_edge};
use super::{Check, Sum};

/// What a user's edges add up to.
#[derive(Default)]
struct Tally {
    edges: u64,
    given: Vec<(TypeNo, u64)>,
    mutual: u64,
    list: Sum,
}

impl Tally {
    fn given_of(&mut self, target_type: TypeNo) -> &mut u64 {
        let place = self
            .given
            .iter()
            .position(|(t, _)| *t == target_type)
            .unwrap_or_else(|| {
                self.given.push((target_type, 0));
                self.given.len() - 1
            });
        &mut self.given[place].1
    }
}

impl Check {
    /// Walks all edges once and holds each user's record against theirs.
    pub(super) fn users(&mut self) -> Result<(), ReadError> {
        let mut current: Option<(UserRef, Tally)> = None;
        let view = std::sync::Arc::clone(&self.view);
        for stored in view.base.prefix(&self.prefix(tag::EDGE)) {
            let (key, value) = stored?;
            let edge = EdgeRef::from_key(&key)?;
            let state = decode_edge(&value)?;
            if current
                .as_ref()
                .is_none_or(|(user, _)| user.id != edge.user || user.kind != edge.kind)
                && let Some((user, tally)) = current.replace((edge.user_ref(), Tally::default()))
            {
                self.user(user, tally)?;
            }
            let Some((_, tally)) = &mut current else {
                continue;
            };
            tally.edges += 1;
            self.report.checked += 1;
            if state.active {
                *tally.given_of(edge.target_type) += 1;
                tally.list.add(state.rev, &(edge.target_type, &edge.target));
                tally.mutual += u64::from(self.is_mutual(&edge)?);
                self.exclusion(&edge)?;
            }
        }
        if let Some((user, tally)) = current {
            self.user(user, tally)?;
        }
        self.users_without_edges()
    }

    pub(super) fn is_mutual(&self, edge: &EdgeRef) -> Result<bool, ReadError> {
        if !self.dictionary.is_between_users(edge.kind) || edge.user == edge.target {
            return Ok(false);
        }
        self.view
            .does(edge.kind, &edge.target, edge.target_type, &edge.user)
    }

    fn exclusion(&mut self, edge: &EdgeRef) -> Result<(), ReadError> {
        let Some(kind) = self.dictionary.kind_id(edge.kind) else {
            return Ok(());
        };
        for other in self.kinds.excluded_by(kind).to_vec() {
            // Each pair once: from the kind with the lower number.
            let other = EdgeRef {
                kind: self.dictionary.kind(other),
                ..edge.clone()
            };
            if edge.kind < other.kind && self.view.edge(&other)?.active {
                let found = format!("{} is active too", self.show_edge(&other));
                let subject = self.show_edge(edge);
                self.find(
                    Invariant::Exclusion,
                    subject,
                    "one of the two".to_owned(),
                    found,
                );
            }
        }
        Ok(())
    }

    fn user(&mut self, user: UserRef, mut tally: Tally) -> Result<(), ReadError> {
        let record = self.view.base_user(&user)?;
        let mut wrong = Vec::new();
        for of_type in &record.types {
            tally.given_of(of_type.target_type);
        }
        for (target_type, given) in &tally.given {
            let stored = record.given_of(*target_type);
            if stored != *given {
                wrong.push((Invariant::UserCount, given.to_string(), stored.to_string()));
            }
        }
        if record.edges != tally.edges {
            let (expected, found) = (tally.edges.to_string(), record.edges.to_string());
            wrong.push((
                Invariant::UserCount,
                format!("{expected} edges"),
                format!("{found} edges"),
            ));
        }
        if record.mutual != tally.mutual {
            let (expected, found) = (tally.mutual.to_string(), record.mutual.to_string());
            wrong.push((Invariant::MutualCount, expected, found));
        }
        if record.indexed {
            let list = self.user_list(&user)?;
            if list != tally.list {
                let entries = |sum: &Sum| format!("{} entries", sum.count);
                wrong.push((Invariant::UserList, entries(&tally.list), entries(&list)));
            }
        }
        self.report.checked += 1;
        for (invariant, expected, found) in wrong {
            let subject = self.show_user(&user);
            self.find(invariant, subject, expected, found);
            self.bad_user(user.clone());
        }
        Ok(())
    }

    fn user_list(&self, user: &UserRef) -> Result<Sum, ReadError> {
        let mut prefix = user.key();
        prefix[0] = tag::USER_LIST;
        let mut sum = Sum::default();
        for stored in self.base().prefix(&prefix) {
            let (edge, rev) = EdgeRef::from_user_list_key(&stored?.0)?;
            sum.add(rev, &(edge.target_type, &edge.target));
        }
        Ok(sum)
    }

    /// Records that claim edges where there are none.
    fn users_without_edges(&mut self) -> Result<(), ReadError> {
        let view = std::sync::Arc::clone(&self.view);
        for stored in view.base.prefix(&self.prefix(tag::USER)) {
            let (key, value) = stored?;
            let record = UserRecord::decode(&value)?;
            let claims = record.edges > 0 || record.given() > 0 || record.mutual > 0;
            let user = UserRef::from_key(&key)?;
            if claims && view.base.prefix(&user.edges_prefix()).next().is_none() {
                self.user(user, Tally::default())?;
            }
        }
        Ok(())
    }
}

impl Sum {
    /// Adds an entry of a list.
    pub(super) fn add(&mut self, rev: Rev, entry: &impl std::hash::Hash) {
        use std::hash::BuildHasher;
        self.count += 1;
        self.hashes = self
            .hashes
            .wrapping_add(super::HASH.hash_one((rev.0, entry)));
    }
}
