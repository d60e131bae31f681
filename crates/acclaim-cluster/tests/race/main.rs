//! The race of eviction, expiry, load, write, persist and split, searched exhaustively over an
//! abstract model of the keys and the ledger. What holds here is what the scripts must do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod search;
mod world;

use search::{Found, search};
use world::{Bounds, Guard, World};

/// Enough for every known bug to show, small enough to visit every state.
const BOUNDS: Bounds = Bounds {
    writes: 2,
    claims: 3,
    splits: 1,
};

#[test]
fn nothing_is_lost_and_no_stale_load_is_installed() {
    let Found { states, violation } = search(&World::new(BOUNDS), &[]);
    assert_eq!(violation, None);
    assert!(states > 10_000, "only {states} states were visited");
}

/// Each guard is there for a reason: without it the search finds a violation.
#[test]
fn without_a_guard_the_search_finds_a_violation() {
    for guard in Guard::EVERY {
        let found = search(&World::new(BOUNDS), &[guard]);
        assert!(
            found.violation.is_some(),
            "{guard:?} is not needed: {} states are right without it",
            found.states
        );
    }
}

/// What two loaders may do at once includes everything: an empty search would prove nothing.
#[test]
fn loads_are_installed_and_refused() {
    let mut installed = 0;
    let mut refused = 0;
    search::visit(&World::new(BOUNDS), &[], |world| {
        installed += usize::from(world.installs);
        refused += usize::from(world.refusals);
    });
    assert!(installed > 1_000, "{installed}");
    assert!(refused > 1_000, "{refused}");
}
