//! Random histories on the model: whatever they find here is wrong in the histories themselves.

mod modelled;

#[test]
fn random_histories() {
    acclaim_testkit::histories::run::<modelled::Modelled>();
}

#[test]
fn random_histories_in_partitions() {
    acclaim_testkit::histories::run::<modelled::Partitioned>();
}

/// Partitions that the harness does not tell of show in revs and places.
#[test]
fn partitions_that_are_not_told_are_found() {
    let found = std::panic::catch_unwind(acclaim_testkit::histories::run::<modelled::Pretending>);
    found.expect_err("the fault is found");
}

/// An engine that is empty after a crash is found out, with the seed to see it again.
#[test]
fn a_forgetful_engine_is_found() {
    let found = std::panic::catch_unwind(acclaim_testkit::histories::run::<modelled::Forgetful>);
    let message = found.expect_err("the fault is found");
    let message = message.downcast_ref::<String>().expect("a message");
    assert!(message.contains("ACCLAIM_SEED="), "{message}");
    assert!(message.contains("minimal failing input"), "{message}");
}
