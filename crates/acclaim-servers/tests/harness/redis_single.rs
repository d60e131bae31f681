use acclaim_servers::{AppendFsync, Redis, RedisOptions};
use redis::cmd;

use crate::SHORT;

async fn set(redis: &Redis, key: &str, value: &str) {
    redis.query::<()>(cmd("SET").arg(key).arg(value)).await;
}

async fn get(redis: &Redis, key: &str) -> Option<String> {
    redis.query(cmd("GET").arg(key)).await
}

async fn setting(redis: &Redis, name: &str) -> String {
    let (_, value): (String, String) = redis.query(cmd("CONFIG").arg("GET").arg(name)).await;
    value
}

#[tokio::test]
async fn starts_and_answers_on_loopback_only() {
    let redis = Redis::start().await;
    set(&redis, "a", "1").await;
    assert_eq!(get(&redis, "a").await.as_deref(), Some("1"));
    assert!(redis.address().ip().is_loopback());
    assert_eq!(setting(&redis, "bind").await, "127.0.0.1");
    assert!(redis.is_running());
}

#[tokio::test]
async fn two_at_once_do_not_disturb_each_other() {
    let (one, other) = tokio::join!(Redis::start(), Redis::start());
    assert_ne!(one.address(), other.address());
    assert_ne!(one.directory(), other.directory());
    set(&one, "a", "one").await;
    assert_eq!(get(&other, "a").await, None);
    one.kill();
    set(&other, "a", "other").await;
    assert_eq!(get(&other, "a").await.as_deref(), Some("other"));
}

#[tokio::test]
async fn comes_back_after_a_kill_with_what_it_had_flushed() {
    let options = RedisOptions::default().append_only(AppendFsync::Always);
    let redis = Redis::start_with(options).await;
    set(&redis, "a", "1").await;
    let (address, pid) = (redis.address(), redis.pid());
    redis.kill();
    assert!(!redis.is_running());
    assert_eq!(redis.pid(), None);
    assert!(redis.try_connect().await.is_err());
    redis.restart().await;
    assert_eq!(redis.address(), address);
    assert_ne!(redis.pid(), pid);
    assert_eq!(get(&redis, "a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn without_a_file_a_restart_is_empty() {
    let redis = Redis::start().await;
    set(&redis, "a", "1").await;
    redis.restart().await;
    assert_eq!(get(&redis, "a").await, None);
}

#[tokio::test]
async fn shuts_down_in_order_also_when_paused() {
    let redis = Redis::start().await;
    redis.pause().await;
    redis.shut_down().await;
    assert!(!redis.is_running());
    let logs = redis.logs();
    assert!(logs.contains("ready to exit, bye bye"), "{logs}");
}

#[tokio::test]
async fn a_paused_one_keeps_its_connections_and_answers_nothing() {
    let redis = Redis::start().await;
    let mut connection = redis.try_connect().await.unwrap();
    redis.pause().await;
    let ping = cmd("PING");
    let answer = ping.query_async::<String>(&mut connection);
    assert!(tokio::time::timeout(SHORT, answer).await.is_err());
    redis.resume();
    let answer: String = ping.query_async(&mut connection).await.unwrap();
    assert_eq!(answer, "PONG");
}

#[tokio::test]
async fn flush_all_empties_it() {
    let redis = Redis::start().await;
    set(&redis, "a", "1").await;
    redis.flush_all().await;
    assert_eq!(redis.query::<u32>(&cmd("DBSIZE")).await, 0);
}

#[tokio::test]
async fn options_are_what_redis_says_they_are() {
    let options = RedisOptions::default()
        .append_only(AppendFsync::EverySec)
        .max_memory(32 << 20, "volatile-lru")
        .set("min-replicas-to-write", "1");
    let redis = Redis::start_with(options).await;
    for (name, value) in [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("maxmemory", "33554432"),
        ("maxmemory-policy", "volatile-lru"),
        ("min-replicas-to-write", "1"),
    ] {
        assert_eq!(setting(&redis, name).await, value, "{name}");
    }
    let refused = redis
        .try_query::<()>(cmd("SET").arg("a").arg("1"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some("NOREPLICAS"));
}

#[tokio::test]
async fn asks_for_its_password() {
    let redis = Redis::start_with(RedisOptions::default().password("secret1")).await;
    set(&redis, "a", "1").await;
    let stranger = redis::Client::open(format!("redis://{}", redis.address())).unwrap();
    let mut connection = stranger.get_multiplexed_async_connection().await.unwrap();
    let refused = cmd("GET")
        .arg("a")
        .query_async::<String>(&mut connection)
        .await;
    assert_eq!(refused.unwrap_err().code(), Some("NOAUTH"));
}

#[tokio::test]
async fn takes_only_its_user() {
    let redis = Redis::start_with(RedisOptions::default().user("acclaim", "secret2")).await;
    let who: String = redis.query(cmd("ACL").arg("WHOAMI")).await;
    assert_eq!(who, "acclaim");
    let wrong = redis.url().replace("secret2", "secret3");
    let stranger = redis::Client::open(wrong).unwrap();
    assert!(stranger.get_multiplexed_async_connection().await.is_err());
}

#[tokio::test]
async fn speaks_tls_with_its_own_authority_only() {
    let options = RedisOptions::default().tls().password("secret4");
    let (redis, other) = tokio::join!(
        Redis::start_with(options.clone()),
        Redis::start_with(options)
    );
    assert!(redis.url().starts_with("rediss://:secret4@127.0.0.1:"));
    set(&redis, "a", "1").await;
    let authority = other.certificates().unwrap().authority_pem();
    let trusts_the_other = redis::TlsCertificates {
        client_tls: None,
        root_cert: Some(authority.into()),
    };
    let client = redis::Client::build_with_tls(redis.url(), trusts_the_other).unwrap();
    assert!(client.get_multiplexed_async_connection().await.is_err());
    let plain = redis.url().replace("rediss", "redis");
    let client = redis::Client::open(plain).unwrap();
    assert!(client.get_multiplexed_async_connection().await.is_err());
}

#[tokio::test]
async fn a_failed_start_says_what_was_tried_and_what_redis_wrote() {
    let options = RedisOptions::default().set("no-such-setting", "1");
    let failure = Redis::try_start(options).await.unwrap_err().to_string();
    for part in [
        "redis did not start: it ended with exit status: 1",
        "redis-server",
        "redis.conf",
        "no-such-setting",
        "Bad directive",
        "logs are kept in",
        ".ci/servers",
    ] {
        assert!(failure.contains(part), "no {part:?} in {failure}");
    }
}
