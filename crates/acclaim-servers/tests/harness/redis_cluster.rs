use acclaim_servers::{Redis, RedisCluster, SLOTS};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, FromRedisValue, cmd};

async fn connect(cluster: &RedisCluster) -> ClusterConnection {
    let client = ClusterClient::new(cluster.urls()).unwrap();
    client.get_async_connection().await.unwrap()
}

async fn ask<T: FromRedisValue>(connection: &mut ClusterConnection, command: &Cmd) -> T {
    command.query_async(connection).await.unwrap()
}

async fn fill(cluster: &RedisCluster) {
    let mut connection = connect(cluster).await;
    for key in 0..100 {
        ask::<()>(&mut connection, cmd("SET").arg(key).arg(key)).await;
    }
}

async fn assert_filled(cluster: &RedisCluster) {
    let mut connection = connect(cluster).await;
    for key in 0..100 {
        let value: u32 = ask(&mut connection, cmd("GET").arg(key)).await;
        assert_eq!(value, key);
    }
}

async fn master_of_key<'a>(cluster: &'a RedisCluster, key: &str) -> (u16, &'a Redis) {
    let slot = cluster.slot_of(key).await;
    (slot, cluster.master_of(slot).await)
}

#[tokio::test]
async fn three_masters_share_all_slots_and_two_clusters_stay_apart() {
    let (one, other) = tokio::join!(RedisCluster::start(), RedisCluster::start());
    fill(&one).await;
    assert_filled(&one).await;
    let mut masters = Vec::new();
    for slot in [0, SLOTS / 2, SLOTS - 1] {
        let master = one.master_of(slot).await.address();
        assert_ne!(one.replica_of(slot).await.address(), master);
        masters.push(master);
    }
    masters.dedup();
    assert_eq!(masters.len(), 3);
    for node in other.nodes() {
        assert_eq!(node.query::<u32>(&cmd("DBSIZE")).await, 0);
    }
}

#[tokio::test]
async fn a_replica_takes_over_in_order_and_after_a_kill() {
    let cluster = RedisCluster::start().await;
    fill(&cluster).await;

    let (slot, first) = master_of_key(&cluster, "1").await;
    cluster.fail_over(slot).await;
    let second = cluster.master_of(slot).await;
    assert_ne!(first.address(), second.address());
    cluster.await_health().await;

    second.kill();
    let third = cluster
        .await_master_other_than(slot, second.address())
        .await;
    assert_eq!(third.address(), first.address());
    second.restart().await;
    cluster.await_health().await;
    assert_eq!(cluster.replica_of(slot).await.address(), second.address());
    assert_filled(&cluster).await;
}

#[tokio::test]
async fn a_replica_takes_over_from_a_paused_master() {
    let cluster = RedisCluster::start().await;
    let (slot, paused) = master_of_key(&cluster, "1").await;
    paused.pause().await;
    cluster
        .await_master_other_than(slot, paused.address())
        .await;
    paused.resume();
    cluster.await_health().await;
    assert_ne!(cluster.master_of(slot).await.address(), paused.address());
}

#[tokio::test]
async fn a_slot_moves_with_its_keys_and_asks_while_it_does() {
    let cluster = RedisCluster::start().await;
    let (slot, from) = master_of_key(&cluster, "{a}").await;
    let to_slot = (slot + SLOTS / 2) % SLOTS;
    let to = cluster.master_of(to_slot).await.address();
    let mut connection = connect(&cluster).await;
    for key in ["{a}1", "{a}2", "{a}3"] {
        ask::<()>(&mut connection, cmd("SET").arg(key).arg(key)).await;
    }

    let moving = cluster.begin_move(slot, to_slot).await;
    assert_eq!(moving.move_keys(1).await, 1);
    let mut redirected = 0;
    for key in ["{a}1", "{a}2", "{a}3"] {
        let answer = from.try_query::<String>(cmd("GET").arg(key)).await;
        redirected += u32::from(answer.is_err_and(|error| error.code() == Some("ASK")));
        // A client that follows finds it wherever it is.
        assert_eq!(
            ask::<String>(&mut connection, cmd("GET").arg(key)).await,
            key
        );
    }
    assert_eq!(redirected, 1);
    assert_eq!(moving.move_keys(10).await, 2);
    assert_eq!(moving.move_keys(10).await, 0);
    moving.finish().await;

    assert_eq!(cluster.master_of(slot).await.address(), to);
    let answer = from.try_query::<String>(cmd("GET").arg("{a}1")).await;
    assert_eq!(answer.unwrap_err().code(), Some("MOVED"));

    let back = from.address();
    let from_slot = if slot == 0 { 1 } else { slot - 1 };
    assert_eq!(cluster.master_of(from_slot).await.address(), back);
    cluster.move_slot(slot, from_slot).await;
    assert_eq!(cluster.master_of(slot).await.address(), back);
    assert_eq!(from.query::<String>(cmd("GET").arg("{a}3")).await, "{a}3");
}
