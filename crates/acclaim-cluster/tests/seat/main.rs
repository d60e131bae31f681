//! Which server decides a partition, searched exhaustively over an abstract model: a replica that
//! lacks events takes over, a server starts with an older copy, a master that was replaced lives
//! on, and batches that were read before all this are applied after it. What holds here is what
//! `redis/seat.rs` must do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod world;

use std::collections::{HashMap, VecDeque};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use world::{Bounds, Guard, Step, World};

/// Enough for every known bug to show, small enough to visit every state.
const BOUNDS: Bounds = Bounds {
    decisions: 2,
    losses: 1,
    asks: 2,
    leases: 2,
};

#[derive(Debug)]
struct Found {
    states: usize,
    lives: u8,
    violation: Option<(String, Vec<Step>)>,
}

/// Breadth first over all states, so that a violation comes with a shortest story.
fn search(without: Option<Guard>) -> Found {
    let start = World::new(BOUNDS);
    let mut from: HashMap<World, Option<(World, Step)>> = HashMap::new();
    let mut queue = VecDeque::from([start.clone()]);
    from.insert(start, None);
    let mut lives = 0;
    while let Some(world) = queue.pop_front() {
        lives = lives.max(world.life());
        if let Err(reason) = world.check() {
            let (mut steps, mut last) = (Vec::new(), &world);
            while let Some(Some((before, step))) = from.get(last) {
                steps.push(*step);
                last = before;
            }
            steps.reverse();
            return Found {
                states: from.len(),
                lives,
                violation: Some((reason, steps)),
            };
        }
        for step in Step::every() {
            let mut next = world.clone();
            if next.take(step, without) && !from.contains_key(&next) {
                from.insert(next.clone(), Some((world.clone(), step)));
                queue.push_back(next);
            }
        }
    }
    Found {
        states: from.len(),
        lives,
        violation: None,
    }
}

#[test]
fn no_count_is_wrong_and_nothing_in_the_ledger_is_contradicted() {
    let found = search(None);
    assert_eq!(found.violation, None);
    assert!(found.states > 10_000, "only {} states", found.states);
    assert!(found.lives > 0, "partitions begin anew");
}

/// Longer stories than can be searched, drawn by chance.
#[test]
fn long_stories_are_right_too() {
    let seed = acclaim_testkit::settings::seed();
    let steps = Step::every();
    for walk in 0..4_000 {
        let mut chance = StdRng::seed_from_u64(seed.wrapping_add(walk));
        let mut world = World::new(Bounds {
            decisions: 8,
            losses: 4,
            asks: 12,
            leases: 8,
        });
        let mut story = Vec::new();
        for _ in 0..150 {
            let step = steps[chance.random_range(0..steps.len())];
            if world.take(step, None) {
                story.push(step);
                assert_eq!(world.check(), Ok(()), "seed {seed}: {story:?}");
            }
        }
    }
}

/// Each guard is there for a reason: without it the search finds a violation.
#[test]
fn without_a_guard_the_search_finds_a_violation() {
    for guard in Guard::EVERY {
        let found = search(Some(guard));
        assert!(
            found.violation.is_some(),
            "{guard:?} is not needed: {} states are right without it",
            found.states
        );
    }
}
