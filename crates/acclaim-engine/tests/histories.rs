//! Random histories, on the embedded engine and the model at once.

mod embedded;

#[test]
fn random_histories() {
    acclaim_testkit::histories::run::<embedded::Embedded>();
}
