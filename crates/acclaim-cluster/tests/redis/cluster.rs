//! A Cluster that fails over, moves slots and hangs while callers toggle.

use std::time::Duration;

use acclaim_cluster::redis::connection::Redis;
use acclaim_cluster::redis::keys::Partition;
use acclaim_cluster::redis::read::Found;
use acclaim_core::Id;
use acclaim_servers::{RedisCluster, until};

use crate::callers::{Callers, journal, limits, partition, partitions, target, toggle, warm};
use crate::servers::cluster_url;

const LIMIT: Duration = Duration::from_secs(60);

async fn slot_of(cluster: &RedisCluster, partition: Partition) -> u16 {
    cluster.slot_of(&partition.to_string()).await
}

/// A slot whose master is not that of this slot.
async fn slot_elsewhere(cluster: &RedisCluster, slot: u16) -> u16 {
    let master = cluster.master_of(slot).await.address();
    for other in [0, 8_000, 16_383] {
        if cluster.master_of(other).await.address() != master {
            return other;
        }
    }
    panic!("one master has everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn toggles_under_failovers_are_decided_once() {
    let cluster = RedisCluster::start().await;
    let callers = Callers::start(&cluster_url(&cluster), false).await;
    let slot = slot_of(&cluster, partition(0)).await;
    for _ in 0..2 {
        // The new master knows no scripts.
        cluster.fail_over(slot).await;
        callers.await_progress(|_| true).await;
        cluster.await_health().await;
    }
    let (_, _, slowest) = callers.finish().await;
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn toggles_while_a_slot_moves_are_decided_once() {
    let cluster = RedisCluster::start().await;
    let callers = Callers::start(&cluster_url(&cluster), false).await;
    let slot = slot_of(&cluster, partition(0)).await;
    let elsewhere = slot_elsewhere(&cluster, slot).await;
    cluster.move_slot(slot, elsewhere).await;
    callers.await_progress(|_| true).await;
    let (unknown, ..) = callers.finish().await;
    assert_eq!(unknown, 0, "a move leaves nothing unknown");
}

/// While its keys lie in two places, a partition is neither decided on nor loaded: what is not here
/// is not cold.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_moved_partition_waits() {
    let cluster = RedisCluster::start().await;
    let redis = Redis::open(&cluster_url(&cluster), limits()).await.unwrap();
    let place = partition(0);
    warm(&redis, place).await;
    redis.decide(place, None, &[toggle(1)]).await.unwrap();
    let slot = slot_of(&cluster, place).await;
    let elsewhere = slot_elsewhere(&cluster, slot).await;
    let moving = cluster.begin_move(slot, elsewhere).await;
    loop {
        let refused = redis.decide(place, None, &[toggle(2)]).await.unwrap_err();
        assert!(refused.nothing_done(), "{refused}");
        let edge = [(target(), Some(Id::Number(1)))];
        let refused = redis.read(place, &edge).await.unwrap_err();
        assert!(refused.nothing_done(), "{refused}");
        if moving.move_keys(1).await == 0 {
            break;
        }
    }
    moving.finish().await;
    redis.decide(place, None, &[toggle(2)]).await.unwrap();
    assert_eq!(journal(&redis, place).await.len(), 2);
}

/// What a replica has acknowledged survives a master that hangs, loses its office, and comes back;
/// the other masters' partitions do not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hung_master_is_given_up_and_the_others_go_on() {
    let cluster = RedisCluster::start().await;
    let callers = Callers::start(&cluster_url(&cluster), true).await;
    let slot = slot_of(&cluster, partition(0)).await;
    let hung = cluster.master_of(slot).await;
    let mut elsewhere = Vec::new();
    for place in partitions() {
        let master = cluster.master_of(slot_of(&cluster, place).await).await;
        if master.address() != hung.address() {
            elsewhere.push(place);
        }
    }
    hung.pause().await;
    callers
        .await_progress(|place| elsewhere.contains(&place))
        .await;
    cluster.await_master_other_than(slot, hung.address()).await;
    // The new master has no replica yet, so nothing counts for the callers, but it answers.
    let redis = Redis::open(&cluster_url(&cluster), limits()).await.unwrap();
    let ops = [toggle(9)];
    until(LIMIT, "an answer of the new master", || async {
        let decided = redis.decide(partition(0), None, &ops).await;
        decided.map_err(|error| error.to_string())
    })
    .await;
    hung.resume();
    cluster.await_health().await;
    callers.await_progress(|_| true).await;
    callers.finish().await;
}

/// A pipeline over all servers answers what those that work know.
#[tokio::test(flavor = "multi_thread")]
async fn a_hung_shard_fails_only_its_own_reads() {
    let cluster = RedisCluster::start().await;
    let redis = Redis::open(&cluster_url(&cluster), limits()).await.unwrap();
    let mut asked = Vec::new();
    for place in partitions() {
        warm(&redis, place).await;
        redis.decide(place, None, &[toggle(7)]).await.unwrap();
        asked.push((
            place,
            vec![(target(), Some(Id::Number(7))), (target(), None)],
        ));
    }
    for answer in redis.read_many(&asked).await {
        for found in answer.unwrap() {
            assert!(matches!(found, Found::Here { count, .. } if count.count == 1));
        }
    }
    assert_eq!(
        redis
            .times(&partitions().collect::<Vec<_>>())
            .await
            .unwrap()
            .len(),
        3
    );
    let hung = cluster
        .master_of(slot_of(&cluster, partition(0)).await)
        .await;
    let mut of_others = Vec::new();
    for (place, _) in &asked {
        let master = cluster.master_of(slot_of(&cluster, *place).await).await;
        of_others.push(master.address() != hung.address());
    }
    hung.pause().await;
    let answers = redis.read_many(&asked).await;
    for ((place, answer), of_other) in partitions().zip(answers).zip(of_others) {
        assert!(answer.is_ok() || !of_other, "{place}: {answer:?}");
    }
    hung.resume();
}
