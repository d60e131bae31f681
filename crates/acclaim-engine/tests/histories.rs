//! Random histories, on the embedded engine and the model at once.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod embedded;

#[test]
fn random_histories() {
    acclaim_testkit::histories::run::<embedded::Embedded>();
}
