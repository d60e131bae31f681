//! A master behind Sentinels that is replaced while callers toggle.

use acclaim_cluster::redis::connection::Redis;
use acclaim_servers::{RedisOptions, RedisSentinel};

use crate::callers::{Callers, limits, partition, toggle, warm};
use crate::servers::hosts;

fn url(servers: &RedisSentinel) -> String {
    let hosts = hosts(servers.sentinels());
    format!("redis+sentinel://{hosts}/{}", RedisSentinel::MASTER_NAME)
}

#[tokio::test(flavor = "multi_thread")]
async fn toggles_under_a_failover_are_decided_once() {
    let servers = RedisSentinel::start_with(RedisOptions::default()).await;
    let callers = Callers::start(&url(&servers), true).await;
    let first = servers.master().await;
    first.kill();
    servers.await_master_other_than(first.address()).await;
    // There is no second replica any more, so nothing counts as decided until it is back.
    first.restart().await;
    servers.await_health().await;
    callers.await_progress(|_| true).await;
    callers.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_master_is_left() {
    let servers = RedisSentinel::start().await;
    let redis = Redis::open(&url(&servers), limits()).await.unwrap();
    warm(&redis, partition(0)).await;
    let hung = servers.master().await;
    hung.pause().await;
    servers.await_master_other_than(hung.address()).await;
    let decided = acclaim_servers::until(
        std::time::Duration::from_secs(30),
        "an answer of the new master",
        || async {
            let decided = redis.decide(partition(0), None, &[toggle(1)]).await;
            decided.map_err(|error| error.to_string())
        },
    )
    .await;
    assert_eq!(decided.len(), 1);
    hung.resume();
}

#[tokio::test]
async fn a_name_that_no_sentinel_knows_is_told() {
    let servers = RedisSentinel::start_with(RedisOptions::default()).await;
    let url = format!("redis+sentinel://{}/other", hosts(servers.sentinels()));
    let redis = Redis::open(&url, limits()).await.unwrap();
    let refused = redis.decide(partition(0), None, &[toggle(1)]).await;
    let refused = refused.unwrap_err();
    assert!(refused.nothing_done());
    assert!(refused.to_string().contains("\"other\""), "{refused}");
}
