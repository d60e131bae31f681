use acclaim_servers::{RedisSentinel, until};
use redis::cmd;
use redis::sentinel::{SentinelClient, SentinelServerType};

use crate::{LIMIT, holds};

#[tokio::test]
async fn a_client_finds_the_master_before_and_after_failovers() {
    let sentinel = RedisSentinel::start().await;
    let mut client = SentinelClient::build(
        sentinel.urls(),
        RedisSentinel::MASTER_NAME,
        None,
        SentinelServerType::Master,
    )
    .unwrap();
    let mut connection = client.get_async_connection().await.unwrap();
    let set = |value: u32| cmd("SET").arg("a").arg(value).to_owned();
    set(1).query_async::<()>(&mut connection).await.unwrap();

    let first = sentinel.master().await;
    let second = sentinel.replica().await;
    assert_ne!(first.address(), second.address());
    sentinel.fail_over().await;
    assert_eq!(sentinel.master().await.address(), second.address());
    sentinel.await_health().await;

    let mut connection = client.get_async_connection().await.unwrap();
    set(2).query_async::<()>(&mut connection).await.unwrap();
    until(LIMIT, "the write on the replica", || async {
        let value: u32 = first.query(cmd("GET").arg("a")).await;
        holds(value == 2, "an older value")
    })
    .await;

    second.kill();
    sentinel.await_master_other_than(second.address()).await;
    assert_eq!(sentinel.master().await.address(), first.address());
    let value: u32 = first.query(cmd("GET").arg("a")).await;
    assert_eq!(value, 2);
    second.restart().await;
    sentinel.await_health().await;
    assert_eq!(sentinel.replica().await.address(), second.address());
}

#[tokio::test]
async fn a_paused_master_is_replaced() {
    let sentinel = RedisSentinel::start().await;
    let paused = sentinel.master().await;
    paused.pause().await;
    sentinel.await_master_other_than(paused.address()).await;
    paused.resume();
    sentinel.await_health().await;
    assert_eq!(sentinel.replica().await.address(), paused.address());
    assert_eq!(sentinel.sentinels().len(), 3);
    assert_eq!(sentinel.servers().len(), 2);
}
