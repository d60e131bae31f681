//! Lists: who did it to a target, what a user did.
//!
//! A page is merged from up to three sources: the active delta, the sealed one, the base. What a
//! newer source knows about an edge overrides the older ones. Each source yields at most as many
//! entries as the page needs, so a page costs the same however long the list is.

use acclaim_core::page::{Entry, Page, Position, Start};
use acclaim_core::port::Listing;
use acclaim_core::{Id, ReadError, Rev, Target, TargetKey, TargetType, UserKey};

use super::super::codec::{put_id, put_newest_first};
use super::super::delta::{Delta, TypedId};
use super::super::key::{EdgeRef, Key, TargetRef, TypeNo, UserRef};
use super::super::record::decode_edge;
use super::Reading;

/// An entry on its way into a page.
type Row<K> = (Rev, K);

/// How much of a list is wanted.
struct Wanted<K> {
    after: Option<Position<K>>,
    skip: usize,
    size: usize,
}

impl<K: Ord + Clone> Wanted<K> {
    fn new(start: Start<K>, size: usize) -> Self {
        match start {
            Start::Offset(skip) => Self {
                after: None,
                skip,
                size,
            },
            Start::After(position) => Self {
                after: Some(position),
                skip: 0,
                size,
            },
        }
    }

    /// Entries that each source must yield: those skipped, the page, and one to see that more
    /// follow.
    fn rows(&self) -> usize {
        self.skip.saturating_add(self.size).saturating_add(1)
    }

    fn includes(&self, rev: Rev, key: &K) -> bool {
        self.after
            .as_ref()
            .is_none_or(|position| position.is_before(rev, key))
    }

    /// The page out of all sources' rows.
    fn page(self, mut rows: Vec<Row<K>>) -> Page<K> {
        rows.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let mut rest = rows
            .into_iter()
            .skip(self.skip)
            .map(|(at, key)| Entry { key, at });
        let entries: Vec<_> = rest.by_ref().take(self.size).collect();
        let next = rest
            .next()
            .and_then(|_| entries.last().map(Entry::position));
        Page { entries, next }
    }
}

impl Reading {
    /// Who did it to a target.
    pub fn users(
        &self,
        target: &TargetKey,
        start: Start<Id>,
        size: usize,
    ) -> Result<Listing<Id>, ReadError> {
        let wanted = Wanted::new(start, size);
        let Some(target) = self.dictionary.target(target) else {
            return Ok(Listing {
                page: wanted.page(Vec::new()),
                total: 0,
            });
        };
        let total = self.view.count(&target)?.0;
        let mut rows = Vec::new();
        for (delta, newer) in self.sources() {
            target_rows(delta, newer, &target, &wanted, &mut rows);
        }
        self.base_users(&target, &wanted, &mut rows)?;
        Ok(Listing {
            page: wanted.page(rows),
            total,
        })
    }

    /// Each delta with the ones that override it.
    fn sources(&self) -> impl Iterator<Item = (&Delta, Option<&Delta>)> {
        let active = &*self.view.active;
        let sealed = self
            .view
            .sealed
            .as_deref()
            .map(|sealed| (sealed, Some(active)));
        std::iter::once((active, None)).chain(sealed)
    }

    fn base_users(
        &self,
        target: &TargetRef,
        wanted: &Wanted<Id>,
        rows: &mut Vec<Row<Id>>,
    ) -> Result<(), ReadError> {
        let prefix = target.list_prefix();
        let after = place_in(&prefix, wanted.after.as_ref(), put_id);
        let mut found = 0;
        for record in self.view.base.prefix_after(&prefix, &after) {
            let (edge, rev) = EdgeRef::from_target_list_key(&record?.0)?;
            if self.view.overrides_base(&edge) {
                continue;
            }
            rows.push((rev, edge.user));
            found += 1;
            if found == wanted.rows() {
                break;
            }
        }
        Ok(())
    }

    /// What a user did, of one type or of all.
    pub fn targets(
        &self,
        user: &UserKey,
        of: Option<&TargetType>,
        start: Start<Target>,
        size: usize,
    ) -> Result<Listing<Target>, ReadError> {
        let total = self.given(user, of)?;
        let page = self.targets_page(user, of, start, size)?;
        Ok(Listing { page, total })
    }

    pub(super) fn targets_page(
        &self,
        user: &UserKey,
        of: Option<&TargetType>,
        start: Start<Target>,
        size: usize,
    ) -> Result<Page<Target>, ReadError> {
        let wanted = Wanted::new(start, size);
        let user = self.dictionary.user(user);
        let record = self.view.user(&user)?;
        let types: Vec<(TypeNo, TargetType)> = record
            .types
            .iter()
            .filter_map(|t| {
                Some((
                    t.target_type,
                    self.dictionary.type_name(t.target_type)?.clone(),
                ))
            })
            .filter(|(_, name)| of.is_none_or(|of| of == name))
            .collect();
        let mut rows = Vec::new();
        for (delta, newer) in self.sources() {
            self.user_rows(delta, newer, &user, &types, &wanted, &mut rows);
        }
        if self.view.base_user(&user)?.indexed {
            for (number, name) in &types {
                self.base_targets_of_type(&user, *number, name, &wanted, &mut rows)?;
            }
        } else {
            self.base_targets(&user, &types, &wanted, &mut rows)?;
        }
        Ok(wanted.page(rows))
    }

    fn user_rows(
        &self,
        delta: &Delta,
        newer: Option<&Delta>,
        user: &UserRef,
        types: &[(TypeNo, TargetType)],
        wanted: &Wanted<Target>,
        rows: &mut Vec<Row<Target>>,
    ) {
        // Positions compare by names, the delta by numbers; among entries of one rev the order may
        // differ, so the rev alone bounds where to begin and whole revs are taken.
        let bound = wanted
            .after
            .as_ref()
            .map(|position| before_all(position.rev));
        let found = delta.with_user(user, |known| {
            let entries = known
                .list
                .after(bound.as_ref())
                .filter_map(|(rev, (number, id))| {
                    let (_, name) = types.iter().find(|(n, _)| n == number)?;
                    let target = Target {
                        target_type: name.clone(),
                        id: id.clone(),
                    };
                    let edge = edge_of(user, *number, id);
                    let stands = newer.is_none_or(|newer| newer.edge(&edge).is_none());
                    (stands && wanted.includes(rev, &target)).then_some((rev, target))
                });
            take_with_ties(entries, wanted.rows())
        });
        rows.extend(found.unwrap_or_default());
    }

    /// The list of an indexed user, from its own records.
    fn base_targets_of_type(
        &self,
        user: &UserRef,
        number: TypeNo,
        name: &TargetType,
        wanted: &Wanted<Target>,
        rows: &mut Vec<Row<Target>>,
    ) -> Result<(), ReadError> {
        let prefix = user.list_prefix(number);
        let mut after = prefix.clone();
        if let Some(position) = &wanted.after {
            put_newest_first(&mut after, position.rev);
        }
        let mut found = 0;
        for record in self.view.base.prefix_after(&prefix, &after) {
            let (edge, rev) = EdgeRef::from_user_list_key(&record?.0)?;
            let target = Target {
                target_type: name.clone(),
                id: edge.target.clone(),
            };
            if !wanted.includes(rev, &target) || self.view.overrides_base(&edge) {
                continue;
            }
            rows.push((rev, target));
            found += 1;
            if found == wanted.rows() {
                break;
            }
        }
        Ok(())
    }

    /// The list of a user with few edges: all of them, sorted here.
    fn base_targets(
        &self,
        user: &UserRef,
        types: &[(TypeNo, TargetType)],
        wanted: &Wanted<Target>,
        rows: &mut Vec<Row<Target>>,
    ) -> Result<(), ReadError> {
        for record in self.view.base.prefix(&user.edges_prefix()) {
            let (key, value) = record?;
            let state = decode_edge(&value)?;
            if !state.active {
                continue;
            }
            let edge = EdgeRef::from_key(&key)?;
            let Some((_, name)) = types.iter().find(|(n, _)| *n == edge.target_type) else {
                continue;
            };
            let target = Target {
                target_type: name.clone(),
                id: edge.target.clone(),
            };
            if wanted.includes(state.rev, &target) && !self.view.overrides_base(&edge) {
                rows.push((state.rev, target));
            }
        }
        Ok(())
    }
}

fn edge_of(user: &UserRef, target_type: TypeNo, target: &Id) -> EdgeRef {
    EdgeRef {
        kind: user.kind,
        user: user.id.clone(),
        target_type,
        target: target.clone(),
    }
}

/// The position before all entries of a rev.
fn before_all(rev: Rev) -> Position<TypedId> {
    Position {
        rev: Rev(rev.0 + 1),
        key: (TypeNo::MAX, Id::Text("~".repeat(65).into())),
    }
}

/// The first `rows` entries and those that share the rev of the last.
fn take_with_ties<K>(entries: impl Iterator<Item = (Rev, K)>, rows: usize) -> Vec<(Rev, K)> {
    let mut taken: Vec<(Rev, K)> = Vec::new();
    for entry in entries {
        if taken.len() >= rows && taken.last().is_some_and(|(rev, _)| *rev != entry.0) {
            break;
        }
        taken.push(entry);
    }
    taken
}

fn target_rows(
    delta: &Delta,
    newer: Option<&Delta>,
    target: &TargetRef,
    wanted: &Wanted<Id>,
    rows: &mut Vec<Row<Id>>,
) {
    let shard = delta.target_shard(target);
    let Some(known) = shard.target(target) else {
        return;
    };
    let overridden = |user: &Id| {
        newer.is_some_and(|newer| newer.target_shard(target).edge(target, user).is_some())
    };
    let entries = known.list.after(wanted.after.as_ref());
    let standing = entries.filter(|(_, user)| !overridden(user));
    rows.extend(
        standing
            .take(wanted.rows())
            .map(|(rev, user)| (rev, user.clone())),
    );
}

/// The key in a list after which a position lies.
fn place_in<K>(prefix: &[u8], after: Option<&Position<K>>, put_key: impl Fn(&mut Key, &K)) -> Key {
    let mut place = prefix.to_vec();
    if let Some(position) = after {
        put_newest_first(&mut place, position.rev);
        put_key(&mut place, &position.key);
    }
    place
}
