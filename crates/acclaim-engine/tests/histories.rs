//! Random and concurrent histories on the embedded engine.

mod embedded;

use embedded::Embedded;

#[test]
fn random_histories() {
    acclaim_testkit::histories::run::<Embedded>();
}

#[test]
fn concurrent_histories() {
    acclaim_testkit::concurrent::run::<Embedded>();
}
