//! Concurrent histories on the embedded engine, judged by linearizability.

mod embedded;

#[test]
fn concurrent_histories() {
    acclaim_testkit::concurrent::run::<embedded::Embedded>();
}
