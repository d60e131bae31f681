//! What real servers say of their settings.

use acclaim_cluster::redis::connection::Redis;
use acclaim_cluster::redis::durability::{Eviction, Flush, guarantee};
use acclaim_servers::{AppendFsync, Redis as Server, RedisCluster, RedisOptions};

use crate::callers::limits;
use crate::servers::cluster_url;

#[tokio::test]
async fn a_server_tells_its_settings() {
    let options = RedisOptions::default()
        .append_only(AppendFsync::Always)
        .max_memory(64 << 20, "allkeys-lru");
    let server = Server::start_with(options).await;
    let redis = Redis::open(&server.url(), limits()).await.unwrap();
    let (name, settings) = redis.settings().await.unwrap().remove(0);
    assert_eq!(name, server.address().to_string());
    assert_eq!(settings.append_only, Some(true));
    assert_eq!(settings.append_fsync, Some(Flush::Always));
    assert_eq!(settings.max_memory_bytes, Some(64 << 20));
    assert_eq!(settings.eviction, Some(Eviction::AllKeys));
    assert_eq!(settings.replicas, Some(0));
    assert!(settings.version.is_some());
    assert!(settings.check(&name).is_err());
}

#[tokio::test]
async fn what_may_not_be_asked_is_unknown() {
    let options = RedisOptions::default().set("rename-command", "CONFIG \"\"");
    let server = Server::start_with(options).await;
    let redis = Redis::open(&server.url(), limits()).await.unwrap();
    let (name, settings) = redis.settings().await.unwrap().remove(0);
    assert_eq!(settings.append_fsync, None);
    assert_eq!(settings.min_replicas_to_write, None);
    assert_eq!(settings.append_only, Some(false), "INFO tells it");
    assert_eq!(settings.check(&name), Ok(()));
}

#[tokio::test]
async fn every_master_of_a_cluster_is_asked() {
    let cluster = RedisCluster::start().await;
    let redis = Redis::open(&cluster_url(&cluster), limits()).await.unwrap();
    // Nobody has told yet who is master.
    let settings = redis.settings().await.unwrap();
    assert_eq!(settings.len(), 3);
    assert!(settings.iter().all(|(_, one)| one.replicas == Some(1)));
    assert!(guarantee(&settings).contains("up to two seconds"));
}
