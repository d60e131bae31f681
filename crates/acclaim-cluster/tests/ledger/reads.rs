//! Every read against the reference model.

use std::collections::BTreeMap;

use acclaim_cluster::ledger::LedgerError;
use acclaim_cluster::ledger::read::load::MAX_LOAD_ENTRIES;
use acclaim_cluster::ledger::read::{EdgeRef, TargetRef};
use acclaim_core::limits::{MAX_OFFSET_ENTRIES, MAX_RANKING_ENTRIES};
use acclaim_core::model::Model;
use acclaim_core::port::{Listing, Place};
use acclaim_core::pulse::Window;
use acclaim_core::{
    Action, EdgeKey, Id, Kinds, Op, Page, Rev, Start, Target, TargetKey, TargetType, UserKey,
};

use crate::sql::{Sql, on_each_server};
use crate::stage::{BASE, Stage, edge, kind, kinds, target};

const DAY: u64 = 86_400_000_000;
/// Types get their numbers in another order than that of their names.
const TARGETS: [&str; 9] = [
    "ZOO:1", "POST:1", "POST:2", "POST:x", "A:7", "USER:1", "USER:2", "USER:3", "USER:u",
];
const USERS: [&str; 6] = ["1", "2", "3", "u", "01", "400"];

struct Told {
    stage: Stage,
    model: Model,
    now: Rev,
}

/// A busy model and the ledger that was told of it.
async fn told(sql: Sql) -> Told {
    let stage = Stage::new(sql).await;
    let mut model = Model::new(kinds());
    let mut dice = 7u64;
    let mut roll = |sides: usize| {
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % sides
    };
    let mut now = BASE;
    for _ in 0..400 {
        now += 1 + roll(3) as u64 * DAY / 20;
        let edge = edge(roll(3) as u8, USERS[roll(6)], TARGETS[roll(9)]);
        let action = [Action::Set, Action::Set, Action::Unset, Action::Toggle][roll(4)];
        // Imports that share one time, so that lists have ties.
        let at = (action == Action::Set && roll(2) == 0).then_some(Rev(BASE - DAY));
        model.apply(
            &Op {
                at,
                ..Op::new(action, edge)
            },
            Rev(now),
        );
    }
    let mut entries: BTreeMap<u16, Vec<_>> = BTreeMap::new();
    for event in model.journal_after(Place::START) {
        let entry = stage.entry(&event).await;
        entries
            .entry(stage.partition(&event.edge.target))
            .or_default()
            .push(entry);
    }
    for (partition, entries) in entries {
        stage
            .ledger
            .apply(&stage.batch(partition, entries))
            .await
            .unwrap();
    }
    Told {
        stage,
        model,
        now: Rev(now),
    }
}

impl Told {
    fn kinds(&self) -> &Kinds {
        &self.stage.kinds
    }

    async fn to(&self, key: &TargetKey) -> TargetRef {
        let ledger = &self.stage.ledger;
        TargetRef {
            kind: ledger
                .kind_no(&self.kinds().get(key.kind).name)
                .await
                .unwrap(),
            target_type: ledger.type_no(&key.target.target_type).await.unwrap(),
            target: key.target.id.clone(),
        }
    }

    async fn edge(&self, edge: &EdgeKey) -> EdgeRef {
        EdgeRef {
            to: self.to(&edge.target_key()).await,
            user: edge.user.clone(),
        }
    }
}

fn keys() -> impl Iterator<Item = (TargetKey, UserKey)> {
    (0..3).flat_map(|n| {
        TARGETS.iter().flat_map(move |to| {
            USERS.iter().map(move |user| {
                let user = Id::parse(user).unwrap();
                (
                    TargetKey {
                        kind: kind(n),
                        target: target(to),
                    },
                    UserKey {
                        kind: kind(n),
                        user,
                    },
                )
            })
        })
    })
}

async fn states_counts_and_loads_are_those_of_the_model(sql: Sql) {
    let told = told(sql).await;
    let ledger = &told.stage.ledger;
    let mut edges = Vec::new();
    let mut expected = Vec::new();
    for (to, user) in keys() {
        let edge = EdgeKey {
            kind: to.kind,
            user: user.user,
            target: to.target,
        };
        edges.push(told.edge(&edge).await);
        expected.push(told.model.edge(&edge));
    }
    assert_eq!(ledger.edge_states(&edges).await.unwrap(), expected);
    for n in 0..3 {
        for to in TARGETS {
            let key = TargetKey {
                kind: kind(n),
                target: target(to),
            };
            let at = told.to(&key).await;
            let count = told.model.count(&key);
            assert_eq!(
                ledger
                    .target_counts(std::slice::from_ref(&at))
                    .await
                    .unwrap(),
                [count]
            );
            let loaded = ledger.load_target(&at, 100).await.unwrap();
            assert_eq!((loaded.count, loaded.seq), (count.count, count.rev));
            let entries = loaded.entries.unwrap_or_default();
            assert_eq!(entries.len() as u64, loaded.edges);
            for entry in &entries {
                let edge = EdgeKey {
                    kind: kind(n),
                    user: entry.user.clone(),
                    target: target(to),
                };
                assert_eq!(entry.state, told.model.edge(&edge));
            }
            // Two buckets are the whole.
            let mut halves = ledger
                .load_bucket(&at, 0..=u32::MAX / 2)
                .await
                .unwrap()
                .entries
                .unwrap();
            halves.extend(
                ledger
                    .load_bucket(&at, u32::MAX / 2 + 1..=u32::MAX)
                    .await
                    .unwrap()
                    .entries
                    .unwrap(),
            );
            assert_eq!(halves, entries);
            if loaded.edges > 1 {
                let most = loaded.edges as usize;
                assert!(
                    ledger
                        .load_target(&at, most)
                        .await
                        .unwrap()
                        .entries
                        .is_some()
                );
                assert!(
                    ledger
                        .load_target(&at, most - 1)
                        .await
                        .unwrap()
                        .entries
                        .is_none()
                );
            }
        }
    }
    let key = TargetKey {
        kind: kind(0),
        target: target("POST:unknown"),
    };
    let nothing = ledger.load_target(&told.to(&key).await, 100).await.unwrap();
    assert_eq!(
        (nothing.count, nothing.seq, nothing.edges),
        (0, Rev::ZERO, 0)
    );
    assert_eq!(nothing.entries, Some(Vec::new()));
    let over = ledger
        .load_target(&told.to(&key).await, MAX_LOAD_ENTRIES + 1)
        .await;
    assert!(matches!(over, Err(LedgerError::TooMany { .. })));
}

fn same<K: PartialEq + std::fmt::Debug + Clone>(
    one: &Listing<K>,
    other: &Listing<K>,
) -> Option<Start<K>> {
    assert_eq!(one, other);
    one.page.next.clone().map(Start::After)
}

async fn lists_are_those_of_the_model_page_by_page(sql: Sql) {
    let told = told(sql).await;
    let (ledger, model) = (&told.stage.ledger, &told.model);
    let types = [None, Some("POST"), Some("USER"), Some("NONE")];
    for (key, user) in keys() {
        let to = told.to(&key).await;
        for size in [1, 2, 100] {
            let mut start = Some(Start::top());
            while let Some(at) = start {
                let listed = ledger.users_of(&to, &at, size).await.unwrap();
                start = same(&listed, &model.users(&key, &at, size));
            }
        }
        for only in types.map(|name| name.map(|name| TargetType::parse(name).unwrap())) {
            let mut start = Some(Start::top());
            while let Some(at) = start {
                let listed = ledger
                    .targets_of(to.kind, &user.user, only.as_ref(), &at, 2)
                    .await
                    .unwrap();
                start = same(&listed, &model.targets(&user, only.as_ref(), &at, 2));
            }
            for offset in [1, 3, MAX_OFFSET_ENTRIES] {
                let at = Start::Offset(offset);
                let listed = ledger
                    .targets_of(to.kind, &user.user, only.as_ref(), &at, 3)
                    .await
                    .unwrap();
                same(&listed, &model.targets(&user, only.as_ref(), &at, 3));
            }
        }
        for offset in [1, 2, MAX_OFFSET_ENTRIES] {
            let at = Start::Offset(offset);
            same(
                &ledger.users_of(&to, &at, 2).await.unwrap(),
                &model.users(&key, &at, 2),
            );
        }
        let deep = ledger
            .users_of(&to, &Start::Offset(MAX_OFFSET_ENTRIES + 1), 2)
            .await;
        assert!(matches!(deep, Err(LedgerError::TooMany { .. })));
    }
}

async fn people_are_those_of_the_model(sql: Sql) {
    let told = told(sql).await;
    let (ledger, model) = (&told.stage.ledger, &told.model);
    let everybody: Vec<Id> = USERS.iter().map(|user| Id::parse(user).unwrap()).collect();
    for (key, user) in keys() {
        let to = told.to(&key).await;
        let numbers = ledger.user_numbers(to.kind, &user.user).await.unwrap();
        let expected = model.numbers(&user);
        assert_eq!(
            (numbers.given, numbers.received),
            (expected.given, expected.received)
        );
        let mutual = model.mutual(&user, &Start::top(), usize::MAX).entries;
        assert_eq!(numbers.mutual, mutual.len() as u64);
        let mut start = Some(Start::top());
        let mut found = Vec::new();
        while let Some(at) = start {
            let page = ledger.mutual_of(to.kind, &user.user, &at, 1).await.unwrap();
            found.extend(
                page.entries
                    .into_iter()
                    .map(|entry| (entry.key.id, entry.at)),
            );
            start = page.next.map(Start::After);
        }
        assert_eq!(
            found,
            mutual
                .into_iter()
                .map(|entry| (entry.key, entry.at))
                .collect::<Vec<_>>()
        );
        for other in &everybody {
            let top = Start::top();
            let all = model.common(&user, other, &top, usize::MAX).entries;
            let Page { entries, .. } = ledger
                .common_of(to.kind, &user.user, other, &top, 100)
                .await
                .unwrap();
            assert_eq!(entries, all);
        }
        let between = ledger
            .relationships_of(to.kind, &user.user, &everybody)
            .await
            .unwrap();
        let expected: Vec<_> = everybody
            .iter()
            .map(|other| model.relationship(&user, other))
            .collect();
        assert_eq!(between, expected);
        for size in [1, 100] {
            let via = UserKey {
                kind: kind(1),
                user: user.user.clone(),
            };
            let via_no = ledger.kind_no("follows").await.unwrap();
            let known = ledger.known_of(&via.user, via_no, &to, size).await.unwrap();
            assert_eq!(known, model.known(&via.user, kind(1), &key, size));
        }
    }
}

async fn boards_and_exports_are_those_of_the_model(sql: Sql) {
    let told = told(sql).await;
    let (ledger, model, now) = (&told.stage.ledger, &told.model, told.now);
    for (kind_id, kind) in told.kinds().iter() {
        let kind_no = ledger.kind_no(&kind.name).await.unwrap();
        for name in ["POST", "USER", "A", "ZOO"] {
            let target_type = TargetType::parse(name).unwrap();
            let type_no = ledger.type_no(&target_type).await.unwrap();
            let all = ledger
                .highest_counts(kind_no, type_no, MAX_RANKING_ENTRIES)
                .await
                .unwrap();
            assert_eq!(
                all,
                model.ranking(kind_id, &target_type, Window::All, MAX_RANKING_ENTRIES, now)
            );
            // The windows, from the pages of what was touched since.
            for window in [Window::Hour, Window::Day, Window::Week, Window::Month] {
                let first_day = window.first_minute(now) / 1440;
                let mut scores = Vec::new();
                let mut after: Option<(u32, Id)> = None;
                loop {
                    let from = after.as_ref().map(|(day, id)| (*day, id));
                    let page = ledger
                        .recent_targets(kind_no, type_no, first_day, from, 2)
                        .await
                        .unwrap();
                    let Some(last) = page.last() else { break };
                    after = Some((last.last_day, last.id.clone()));
                    for recent in page {
                        let score = recent.pulse.score(window, now);
                        scores.extend((score > 0).then_some((-score, recent.id, recent.count)));
                    }
                }
                scores.sort();
                let expected = model.ranking(kind_id, &target_type, window, 100, now);
                let expected: Vec<_> = expected
                    .into_iter()
                    .map(|r| (-r.score, r.id, r.count))
                    .collect();
                assert_eq!(scores, expected, "{window:?}");
            }
            for days in [1, 30, 366] {
                let report = ledger
                    .daily_numbers(kind_no, Some(type_no), days, now)
                    .await
                    .unwrap();
                assert_eq!(report, model.daily(kind_id, Some(&target_type), days, now));
            }
        }
        let report = ledger.daily_numbers(kind_no, None, 366, now).await.unwrap();
        assert_eq!(report, model.daily(kind_id, None, 366, now));

        for size in [1, 3, 1_000] {
            let mut exported = Vec::new();
            let mut after: Option<EdgeRef> = None;
            loop {
                let page = ledger
                    .export_edges(kind_no, after.as_ref(), size)
                    .await
                    .unwrap();
                let Some(last) = page.last() else { break };
                let key = TargetKey {
                    kind: kind_id,
                    target: last.target.clone(),
                };
                after = Some(EdgeRef {
                    to: told.to(&key).await,
                    user: last.user.clone(),
                });
                exported.extend(
                    page.into_iter()
                        .map(|edge| (edge.user, edge.target, edge.at)),
                );
            }
            exported.sort();
            let mut expected: Vec<(Id, Target, Rev)> = model
                .export(kind_id)
                .into_iter()
                .map(|e| (e.edge.user, e.edge.target, e.at))
                .collect();
            expected.sort();
            assert_eq!(exported, expected, "{size}");
        }
    }
}

on_each_server!(
    states_counts_and_loads_are_those_of_the_model,
    lists_are_those_of_the_model_page_by_page,
    people_are_those_of_the_model,
    boards_and_exports_are_those_of_the_model,
);
