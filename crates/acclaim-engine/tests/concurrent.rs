//! Concurrent histories on the embedded engine, judged by linearizability.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod embedded;

#[test]
fn concurrent_histories() {
    acclaim_testkit::concurrent::run::<embedded::Embedded>();
}
