//! Users: their numbers and lists against their edges, which lie together in the base.

use acclaim_core::port::Invariant;
use acclaim_core::{ReadError, Rev};

use super::super::base::Stored;
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

/// The records of users, in their order.
struct Records<I: Iterator<Item = Stored>>(std::iter::Peekable<I>);

impl<I: Iterator<Item = Stored>> Records<I> {
    /// The next record of a user before this one, of any user without one.
    fn next_before(
        &mut self,
        user: Option<&UserRef>,
    ) -> Result<Option<(UserRef, UserRecord)>, ReadError> {
        self.next_if(|other| user.is_none_or(|user| other < user))
    }

    /// The record of the user, if it is the next.
    fn of(&mut self, user: &UserRef) -> Result<UserRecord, ReadError> {
        let found = self.next_if(|other| other == user)?;
        Ok(found.map(|(_, record)| record).unwrap_or_default())
    }

    fn next_if(
        &mut self,
        wanted: impl Fn(&UserRef) -> bool,
    ) -> Result<Option<(UserRef, UserRecord)>, ReadError> {
        let user = match self.0.peek() {
            Some(Ok((key, _))) => UserRef::from_key(key)?,
            Some(Err(error)) => return Err(error.clone()),
            None => return Ok(None),
        };
        if !wanted(&user) {
            return Ok(None);
        }
        match self.0.next() {
            Some(stored) => Ok(Some((user, UserRecord::decode(&stored?.1)?))),
            None => Ok(None),
        }
    }
}

impl Check {
    /// Walks all edges and all users' records once, side by side, since both lie in the order of
    /// users, and holds each record against its edges. Answers how many edges there are.
    pub(super) fn users(&mut self) -> Result<u64, ReadError> {
        let view = std::sync::Arc::clone(&self.view);
        let mut records = Records(view.base.prefix(&self.prefix(tag::USER)).peekable());
        let mut current: Option<(UserRef, Tally)> = None;
        let mut edges = 0;
        for stored in view.base.prefix(&self.prefix(tag::EDGE)) {
            let (key, value) = stored?;
            self.steps.step();
            edges += 1;
            let edge = EdgeRef::from_key(&key)?;
            let state = decode_edge(&value)?;
            if current
                .as_ref()
                .is_none_or(|(user, _)| user.id != edge.user || user.kind != edge.kind)
                && let Some((user, tally)) = current.replace((edge.user_ref(), Tally::default()))
            {
                self.user_with_edges(user, tally, &mut records)?;
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
            self.user_with_edges(user, tally, &mut records)?;
        }
        while let Some((user, record)) = records.next_before(None)? {
            self.user_without_edges(user, record)?;
        }
        Ok(edges)
    }

    fn user_with_edges(
        &mut self,
        user: UserRef,
        tally: Tally,
        records: &mut Records<impl Iterator<Item = Stored>>,
    ) -> Result<(), ReadError> {
        while let Some((other, record)) = records.next_before(Some(&user))? {
            self.user_without_edges(other, record)?;
        }
        let record = records.of(&user)?;
        self.user(user, &record, tally)
    }

    /// A record that may claim edges where there are none.
    fn user_without_edges(&mut self, user: UserRef, record: UserRecord) -> Result<(), ReadError> {
        let claims = record.edges > 0 || record.given() > 0 || record.mutual > 0;
        if claims {
            self.user(user, &record, Tally::default())?;
        }
        Ok(())
    }

    pub(super) fn is_mutual(&self, edge: &EdgeRef) -> Result<bool, ReadError> {
        if !self.dictionary.is_between_users(edge.kind) || edge.user == edge.target {
            return Ok(false);
        }
        let back = EdgeRef {
            kind: edge.kind,
            user: edge.target.clone(),
            target_type: edge.target_type,
            target: edge.user.clone(),
        };
        // As of the snapshot like everything else, not as writes have made it since.
        Ok(self.view.base_edge(&back)?.active)
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
            if edge.kind < other.kind && self.view.base_edge(&other)?.active {
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

    fn user(
        &mut self,
        user: UserRef,
        record: &UserRecord,
        mut tally: Tally,
    ) -> Result<(), ReadError> {
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
