//! Batches of events against the reference model: however often, late and shuffled they come, the
//! tables are what the model says.

use std::collections::{BTreeMap, HashMap};

use acclaim_core::model::Model;
use acclaim_core::port::{Event, Place};
use acclaim_core::{Action, EdgeKey, Op, Rev};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::compare::{USERS, compare};
use crate::sql::{Sql, on_each_server};
use crate::stage::{BASE, PARTITIONS, Stage, edge, kinds};

pub const MINUTE: u64 = 60_000_000;
pub const TARGETS: [&str; 8] = [
    "POST:1", "POST:x", "TRACK:1", "USER:1", "USER:2", "USER:300", "USER:01", "USER:u",
];

#[derive(Clone, Debug)]
struct History {
    ops: Vec<(u8, usize, usize, u8, u64)>,
    /// Where batches begin and how long they are, how the journal is mixed.
    cuts: Vec<usize>,
    seed: u64,
    /// Whether the order inside an edge is lost too.
    lose_order: bool,
}

fn history() -> impl Strategy<Value = History> {
    let passes = prop_oneof![6 => 0..MINUTE, 2 => 0..120 * MINUTE, 1 => 0..30 * 1440 * MINUTE];
    let op = (0u8..3, 0..USERS.len(), 0..TARGETS.len(), 0u8..8, passes);
    let ops = prop::collection::vec(op, 1..90);
    let cuts = prop::collection::vec(1usize..30, 1..6);
    (ops, cuts, any::<u64>(), any::<bool>()).prop_map(|(ops, cuts, seed, lose_order)| History {
        ops,
        cuts,
        seed,
        lose_order,
    })
}

fn play(history: &History) -> (Model, Rev) {
    let mut model = Model::new(kinds());
    let mut now = BASE;
    for (kind, user, target, what, passes) in &history.ops {
        now += passes;
        let edge = edge(*kind, USERS[*user], TARGETS[*target]);
        let action = match what {
            0..3 => Action::Set,
            3..5 => Action::Unset,
            5..7 => Action::Toggle,
            _ => Action::Set,
        };
        let at = (*what == 7).then(|| Rev(now - 3 * 1440 * MINUTE - passes % 1000));
        model.apply(
            &Op {
                at,
                ..Op::new(action, edge)
            },
            Rev(now),
        );
    }
    (model, Rev(now + 1_000_000))
}

/// A small generator of numbers: the test must be the same for a seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// Mixes events: across edges always, inside an edge only where the order may be lost.
fn mix(events: &[Event], dice: &mut Dice, lose_order: bool) -> Vec<Event> {
    if lose_order {
        let mut mixed = events.to_vec();
        for n in (1..mixed.len()).rev() {
            mixed.swap(n, dice.roll(n + 1));
        }
        return mixed;
    }
    let mut edges: BTreeMap<&EdgeKey, Vec<&Event>> = BTreeMap::new();
    for event in events.iter().rev() {
        edges.entry(&event.edge).or_default().push(event);
    }
    let mut queues: Vec<Vec<&Event>> = edges.into_values().collect();
    let mut mixed = Vec::new();
    while !queues.is_empty() {
        let n = dice.roll(queues.len());
        mixed.extend(queues[n].pop().cloned());
        queues.retain(|queue| !queue.is_empty());
    }
    mixed
}

async fn apply_all(stage: &Stage, model: &Model, history: &History) {
    let mut by_partition: HashMap<u16, Vec<Event>> = HashMap::new();
    for event in model.journal_after(Place::START) {
        by_partition
            .entry(stage.partition(&event.edge.target))
            .or_default()
            .push(event);
    }
    let mut dice = Dice(history.seed);
    // Twice: overlapping and mixed, then once more as it was.
    for partition in 0..PARTITIONS {
        let events = by_partition.remove(&partition).unwrap_or_default();
        let mixed = mix(&events, &mut dice, history.lose_order);
        let mut from = 0;
        for cut in history.cuts.iter().cycle() {
            let to = (from + cut).min(mixed.len());
            let back = from.saturating_sub(dice.roll(4));
            apply(stage, partition, &mixed[back..to]).await;
            from = to;
            if from == mixed.len() {
                break;
            }
        }
        apply(stage, partition, &events).await;
    }
}

async fn apply(stage: &Stage, partition: u16, events: &[Event]) {
    let mut entries = Vec::new();
    for event in events {
        entries.push(stage.entry(event).await);
    }
    stage
        .ledger
        .apply(&stage.batch(partition, entries))
        .await
        .unwrap();
}

async fn any_history_comes_out_as_the_model_says(sql: Sql) {
    let cases = std::env::var("ACCLAIM_LEDGER_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(25);
    let mut runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let runtime = tokio::runtime::Handle::current();
    let all = || {
        runner.run(&history(), |history| {
            let (model, now) = play(&history);
            let compared = std::panic::AssertUnwindSafe(|| {
                runtime.block_on(async {
                    let stage = Stage::new(sql).await;
                    apply_all(&stage, &model, &history).await;
                    compare(&stage, &model, now, !history.lose_order).await;
                    stage.ledger.close().await;
                })
            });
            std::panic::catch_unwind(compared).map_err(|_| TestCaseError::fail("the tables differ"))
        })
    };
    let outcome = tokio::task::block_in_place(all);
    assert!(outcome.is_ok(), "{outcome:?}");
}

on_each_server!(any_history_comes_out_as_the_model_says);
