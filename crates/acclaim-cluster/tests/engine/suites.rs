//! The conformance suite, random histories and concurrent ones.

use crate::harness::Clustered;

acclaim_testkit::conformance_suite!(Clustered);

#[test]
fn random_histories() {
    acclaim_testkit::histories::run::<Clustered>();
}

#[test]
fn concurrent_histories() {
    acclaim_testkit::concurrent::run::<Clustered>();
}
