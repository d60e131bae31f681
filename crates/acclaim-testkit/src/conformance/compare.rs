//! Compares what an engine answers with what the model answers.
//!
//! What there is to ask about follows from the model's journal: every edge it names, with the
//! users, targets and types of those edges.

use std::collections::BTreeSet;

use acclaim_core::model::Model;
use acclaim_core::page::{Entry, Page, Position};
use acclaim_core::port::{Event, ExportedEdge, Listing, Place};
use acclaim_core::pulse::Window;
use acclaim_core::{
    EdgeKey, Engine, Id, JournalError, KindId, Rev, Start, Target, TargetKey, TargetType, UserKey,
    limits,
};

/// Subjects (targets, users, pairs) that are looked at closely; the rest by counts and statuses.
const CLOSE_LOOKS: usize = 24;
/// Pages walked by one list before the walk is taken for endless.
const MAX_PAGES: usize = 100_000;

/// How to compare.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compare {
    /// Something was erased, so revs of edges and targets that are no more may be gone with them.
    pub forgets: bool,
}

struct Named {
    edges: BTreeSet<EdgeKey>,
    targets: BTreeSet<TargetKey>,
    users: BTreeSet<UserKey>,
    types: BTreeSet<(KindId, TargetType)>,
}

impl Named {
    fn in_journal(model: &Model) -> Self {
        let events = model.journal_after(Place::START);
        let edges: BTreeSet<_> = events.into_iter().map(|event| event.edge).collect();
        Self {
            targets: edges.iter().map(EdgeKey::target_key).collect(),
            users: edges.iter().map(EdgeKey::user_key).collect(),
            types: edges
                .iter()
                .map(|edge| (edge.kind, edge.target.target_type.clone()))
                .collect(),
            edges,
        }
    }
}

/// A few of many, spread evenly.
fn some<T>(all: &BTreeSet<T>) -> impl Iterator<Item = &T> {
    all.iter().step_by(all.len().div_ceil(CLOSE_LOOKS).max(1))
}

impl Compare {
    /// Everything that can be read, of an engine that has nothing to settle. Reading the journal
    /// seals it, in the model too.
    ///
    /// # Panics
    /// At the first difference.
    pub async fn everything(&self, engine: &dyn Engine, model: &mut Model, now: Rev) {
        self.decided(engine, model).await;
        projected(engine, model, now).await;
        journal(engine, model).await;
    }

    /// What a caller reads as soon as their own writes are answered: states, counts, lists and
    /// users' numbers.
    ///
    /// # Panics
    /// At the first difference.
    pub async fn decided(&self, engine: &dyn Engine, model: &Model) {
        let named = Named::in_journal(model);
        self.statuses(engine, model, &named).await;
        self.counts(engine, model, &named).await;
        for key in some(&named.targets) {
            who(engine, model, key, 100).await;
        }
        for key in some(&named.users) {
            what(engine, model, key, None, 100).await;
            numbers(engine, model, key).await;
        }
        between_users(engine, model, &named).await;
    }

    async fn statuses(&self, engine: &dyn Engine, model: &Model, named: &Named) {
        let edges: Vec<_> = named.edges.iter().cloned().collect();
        for part in edges.chunks(limits::MAX_BATCH_READS) {
            let statuses = engine.statuses(part.to_vec()).await.unwrap();
            assert_eq!(statuses.len(), part.len(), "one status an edge");
            for (edge, mut status) in part.iter().zip(statuses) {
                let expected = model.status(edge);
                if self.forgets && !status.edge.active {
                    status.edge.rev = expected.edge.rev;
                }
                assert_eq!(status, expected, "the status of {edge:?}");
            }
        }
    }

    async fn counts(&self, engine: &dyn Engine, model: &Model, named: &Named) {
        let targets: Vec<_> = named.targets.iter().cloned().collect();
        for part in targets.chunks(limits::MAX_BATCH_READS) {
            let counts = engine.counts(part.to_vec()).await.unwrap();
            assert_eq!(counts.len(), part.len(), "one count a target");
            for (target, mut count) in part.iter().zip(counts) {
                let expected = model.count(target);
                if self.forgets && count.count == 0 {
                    count.rev = expected.rev;
                }
                assert_eq!(count, expected, "the count of {target:?}");
            }
        }
    }
}

/// What an engine may know a while after its writes were answered: rankings, days and exports.
///
/// # Panics
/// At the first difference.
pub async fn projected(engine: &dyn Engine, model: &Model, now: Rev) {
    rankings(engine, model, now).await;
    dailies(engine, model, now, 40).await;
    for (kind, _) in model.kinds().iter() {
        exports(engine, model, kind, 333).await;
    }
}

/// Who did it to a target, page by page and by offset.
///
/// # Panics
/// At the first difference.
pub async fn who(engine: &dyn Engine, model: &Model, key: &TargetKey, size: usize) {
    let whole = model.users(key, &Start::top(), usize::MAX);
    let pages = walk_users(engine, key, size).await;
    assert_eq!(pages, whole.page.entries, "who did it to {key:?}");
    let top = engine.users(key.clone(), Start::top(), size).await.unwrap();
    assert_eq!(top, model.users(key, &Start::top(), size));
}

/// What a user did, page by page and by offset.
///
/// # Panics
/// At the first difference.
pub async fn what(
    engine: &dyn Engine,
    model: &Model,
    key: &UserKey,
    of_type: Option<&TargetType>,
    size: usize,
) {
    let whole = model.targets(key, of_type, &Start::top(), usize::MAX);
    let pages = walk_targets(engine, key, of_type, size).await;
    assert_eq!(pages, whole.page.entries, "what {key:?} did, {of_type:?}");
    let top = engine
        .targets(key.clone(), of_type.cloned(), Start::top(), size)
        .await
        .unwrap();
    assert_eq!(top, model.targets(key, of_type, &Start::top(), size));
}

/// All who did it to a target, walked in pages.
///
/// # Panics
/// When a page is too long, or says that it is the last where it is not.
pub async fn walk_users(engine: &dyn Engine, key: &TargetKey, size: usize) -> Vec<Entry<Id>> {
    let mut walk = Walk::new(size);
    while let Some(start) = walk.next() {
        let listing = engine.users(key.clone(), start, size).await.unwrap();
        walk.take_exact(listing);
    }
    walk.seen
}

/// All that a user did, walked in pages.
///
/// # Panics
/// When a page is too long, or says that it is the last where it is not.
pub async fn walk_targets(
    engine: &dyn Engine,
    key: &UserKey,
    of_type: Option<&TargetType>,
    size: usize,
) -> Vec<Entry<Target>> {
    let mut walk = Walk::new(size);
    while let Some(start) = walk.next() {
        let listing = engine.targets(key.clone(), of_type.cloned(), start, size);
        walk.take_exact(listing.await.unwrap());
    }
    walk.seen
}

/// All who do it back, walked in pages.
///
/// # Panics
/// When a page is too long.
pub async fn walk_mutual(engine: &dyn Engine, key: &UserKey, size: usize) -> Vec<Entry<Id>> {
    let mut walk = Walk::new(size);
    while let Some(start) = walk.next() {
        walk.take(engine.mutual(key.clone(), start, size).await.unwrap());
    }
    walk.seen
}

/// All that two users both did, walked in pages.
///
/// # Panics
/// When a page is too long.
pub async fn walk_common(
    engine: &dyn Engine,
    key: &UserKey,
    other: &Id,
    size: usize,
) -> Vec<Entry<Target>> {
    let mut walk = Walk::new(size);
    while let Some(start) = walk.next() {
        let page = engine.common(key.clone(), other.clone(), start, size);
        walk.take(page.await.unwrap());
    }
    walk.seen
}

/// A walk through the pages of a list.
struct Walk<K> {
    seen: Vec<Entry<K>>,
    start: Option<Start<K>>,
    size: usize,
    pages: usize,
}

impl<K: Clone + PartialEq + std::fmt::Debug> Walk<K> {
    fn new(size: usize) -> Self {
        Self {
            seen: Vec::new(),
            start: Some(Start::top()),
            size,
            pages: 0,
        }
    }

    fn next(&mut self) -> Option<Start<K>> {
        self.pages += 1;
        assert!(self.pages < MAX_PAGES, "a list has an end");
        self.start.take()
    }

    /// A page of a filtered list, which may be short or empty and not the last.
    fn take(&mut self, page: Page<K>) {
        let Page { entries, next } = page;
        assert!(
            entries.len() <= self.size,
            "a page of at most {}",
            self.size
        );
        self.seen.extend(entries);
        self.start = next.map(Start::After);
    }

    /// A page of a whole list, which is full unless it is the last.
    fn take_exact(&mut self, listing: Listing<K>) {
        let Listing { page, total } = listing;
        if let Some(next) = &page.next {
            assert_eq!(page.entries.len(), self.size, "a page before the last");
            let last: Option<Position<K>> = page.entries.last().map(Entry::position);
            assert_eq!(Some(next), last.as_ref(), "going on after the last entry");
        }
        self.take(page);
        if self.start.is_none() {
            assert_eq!(self.seen.len() as u64, total, "the total of a walked list");
        }
    }
}

async fn numbers(engine: &dyn Engine, model: &Model, key: &UserKey) {
    let numbers = engine.numbers(key.clone()).await.unwrap();
    assert_eq!(numbers, model.numbers(key), "the numbers of {key:?}");
}

async fn between_users(engine: &dyn Engine, model: &Model, named: &Named) {
    let mut others: BTreeSet<Id> = named.users.iter().map(|key| key.user.clone()).collect();
    let as_targets = named.targets.iter().map(|key| &key.target);
    let as_targets = as_targets.filter(|target| target.target_type == TargetType::USER);
    others.extend(as_targets.map(|target| target.id.clone()));
    let others: Vec<Id> = some(&others).cloned().collect();
    let close: Vec<UserKey> = some(&named.users).cloned().collect();
    for key in &close {
        let expected = model.mutual(key, &Start::top(), usize::MAX).entries;
        assert_eq!(
            walk_mutual(engine, key, 50).await,
            expected,
            "mutual {key:?}"
        );
        let relationships = engine.relationships(key.clone(), others.clone()).await;
        let expected: Vec<_> = others.iter().map(|o| model.relationship(key, o)).collect();
        assert_eq!(relationships.unwrap(), expected, "{key:?} and others");
        for other in others.iter().take(6) {
            let expected = model.common(key, other, &Start::top(), usize::MAX).entries;
            let walked = walk_common(engine, key, other, 50).await;
            assert_eq!(walked, expected, "common of {key:?} and {other:?}");
        }
    }
    known(engine, model, named).await;
}

async fn known(engine: &dyn Engine, model: &Model, named: &Named) {
    let between: Vec<KindId> = model.kinds().iter().map(|(id, _)| id).collect();
    let between = between
        .into_iter()
        .filter(|id| model.kinds().get(*id).is_between_users());
    for via in between {
        let users: BTreeSet<&Id> = named.users.iter().map(|key| &key.user).collect();
        for user in users.into_iter().take(6) {
            for target in some(&named.targets) {
                let known = engine.known(user.clone(), via, target.clone(), 10).await;
                let expected = model.known(user, via, target, 10);
                assert_eq!(known.unwrap(), expected, "known to {user:?}, {target:?}");
            }
        }
    }
}

/// Every ranking.
///
/// # Panics
/// At the first difference.
pub async fn rankings(engine: &dyn Engine, model: &Model, now: Rev) {
    for (kind, target_type) in &Named::in_journal(model).types {
        for window in Window::EVERY {
            for size in [3, limits::MAX_RANKING_ENTRIES] {
                let ranked = engine.ranking(*kind, target_type.clone(), window, size);
                let expected = model.ranking(*kind, target_type, window, size, now);
                let of = format!("{kind:?} {target_type} {window:?} at {}", now.time());
                assert_eq!(ranked.await.unwrap(), expected, "the ranking of {of}");
            }
        }
    }
}

/// Every daily report of the last `days`.
///
/// # Panics
/// At the first difference.
pub async fn dailies(engine: &dyn Engine, model: &Model, now: Rev, days: u32) {
    let types = Named::in_journal(model).types;
    let kinds: BTreeSet<KindId> = types.iter().map(|(kind, _)| *kind).collect();
    let whole = kinds.into_iter().map(|kind| (kind, None));
    let by_type = types.into_iter().map(|(kind, of)| (kind, Some(of)));
    for (kind, of_type) in whole.chain(by_type) {
        let daily = engine.daily(kind, of_type.clone(), days).await.unwrap();
        let expected = model.daily(kind, of_type.as_ref(), days, now);
        assert_eq!(daily.len(), expected.len(), "one entry a day");
        for (day, expected) in daily.iter().zip(&expected) {
            assert_eq!(day, expected, "{kind:?} {of_type:?} at {}", now.time());
        }
    }
}

/// The journal, read in parts. Where its beginning is no longer kept, what is kept.
///
/// # Panics
/// At the first difference.
pub async fn journal(engine: &dyn Engine, model: &mut Model) {
    let end = engine.journal_end().await;
    assert_eq!(end, Ok(model.seal()), "the journal's end");
    let oldest = match engine.journal_after(Place::START, 1).await {
        Ok(_) => Place::START,
        Err(JournalError::Trimmed { oldest, .. }) => oldest,
        Err(error) => panic!("the journal: {error}"),
    };
    let events = journal_from(engine, oldest).await;
    assert_eq!(events, model.journal_after(oldest), "the journal's events");
}

/// All events after a place, read in parts.
///
/// # Panics
/// When the journal cannot be read, or gives more than was asked for.
pub async fn journal_from(engine: &dyn Engine, after: Place) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let last = events.last().map_or(after, |event| event.place);
        let part = engine.journal_after(last, 400).await.unwrap();
        assert!(part.len() <= 400, "at most as many events as asked for");
        if part.is_empty() {
            return events;
        }
        events.extend(part);
    }
}

/// Every active edge of a kind, read in parts of `size`, in the engine's own order.
///
/// # Panics
/// When the export cannot be read, or does not end.
pub async fn walk_export(engine: &dyn Engine, kind: KindId, size: usize) -> Vec<ExportedEdge> {
    let mut edges: Vec<ExportedEdge> = Vec::new();
    for _ in 0..MAX_PAGES {
        let after = edges.last().map(|exported| exported.edge.clone());
        let part = engine.export(kind, after, size).await.unwrap();
        assert!(part.len() <= size, "at most as many edges as asked for");
        if part.is_empty() {
            return edges;
        }
        edges.extend(part);
    }
    panic!("an export has an end");
}

async fn exports(engine: &dyn Engine, model: &Model, kind: KindId, size: usize) {
    let mut edges = walk_export(engine, kind, size).await;
    edges.sort_by(|a, b| a.edge.cmp(&b.edge));
    assert_eq!(edges, model.export(kind), "the export of {kind:?}");
}

/// The engine finds nothing wrong in itself.
///
/// # Panics
/// When it does.
pub async fn check_is_clean(engine: &dyn Engine) {
    let report = engine.check(false).await.unwrap();
    assert_eq!(report.mismatches, 0, "{:#?}", report.findings);
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}
