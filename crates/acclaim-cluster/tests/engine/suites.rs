//! The conformance suite, random histories and concurrent ones.
//!
//! Every case is played on one Redis and MariaDB, and once more elsewhere: half of the cases on a
//! Redis Cluster and MariaDB, half on one Redis and TiDB, by their names. All of them everywhere
//! would take twice as long. Random histories are played on each.

use crate::harness::Clustered;
use crate::servers::{ClusterAndMariaDb, Elsewhere, SentinelAndMariaDb, SingleAndTiDb};

acclaim_testkit::conformance_suite!(Clustered);

mod elsewhere {
    use super::*;

    acclaim_testkit::conformance_suite!(Clustered<Elsewhere>);
}

#[test]
fn random_histories() {
    acclaim_testkit::histories::run::<Clustered>();
}

#[test]
fn random_histories_on_redis_cluster() {
    acclaim_testkit::histories::run::<Clustered<ClusterAndMariaDb>>();
}

#[test]
fn random_histories_on_tidb() {
    acclaim_testkit::histories::run::<Clustered<SingleAndTiDb>>();
}

#[test]
fn concurrent_histories() {
    acclaim_testkit::concurrent::run::<Clustered>();
}

#[test]
fn concurrent_histories_on_redis_cluster() {
    acclaim_testkit::concurrent::run::<Clustered<ClusterAndMariaDb>>();
}

/// Crashes of histories are failovers: the node stays, and the replica takes over.
#[test]
fn random_histories_through_failovers() {
    acclaim_testkit::histories::run::<Clustered<SentinelAndMariaDb>>();
}
