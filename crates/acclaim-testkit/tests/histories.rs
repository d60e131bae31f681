//! Random histories on the model: whatever they find here is wrong in the histories themselves.

mod modelled;

use std::time::Duration;

use acclaim_testkit::histories::{run, run_for};

/// What is known to be wrong is looked for until it is found; how many histories that takes is
/// chance, and how long they take is the machine's.
const SEARCH: Duration = Duration::from_secs(120);

#[test]
fn random_histories() {
    run::<modelled::Modelled>();
}

#[test]
fn random_histories_in_partitions() {
    run::<modelled::Partitioned>();
}

/// Partitions that the harness does not tell of show in revs and places.
#[test]
fn partitions_that_are_not_told_are_found() {
    let found = std::panic::catch_unwind(|| run_for::<modelled::Pretending>(SEARCH));
    found.expect_err("the fault is found");
}

/// An engine that is empty after a crash is found out, with the seed to see it again.
#[test]
fn a_forgetful_engine_is_found() {
    let found = std::panic::catch_unwind(|| run_for::<modelled::Forgetful>(SEARCH));
    let message = found.expect_err("the fault is found");
    let message = message.downcast_ref::<String>().expect("a message");
    assert!(message.contains("ACCLAIM_SEED="), "{message}");
    assert!(message.contains("minimal failing input"), "{message}");
}
