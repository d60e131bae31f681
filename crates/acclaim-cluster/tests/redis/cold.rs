//! What is cold, how it comes back, and what a late load may not do.

use std::collections::BTreeSet;
use std::time::Duration;

use acclaim_cluster::redis::decide::Decided;
use acclaim_cluster::redis::keys::TargetName;
use acclaim_cluster::redis::layout::{Bucket, Layout, MAX_INLINE_ENTRIES, user_hash};
use acclaim_cluster::redis::load::{Cold, Loaded};
use acclaim_core::{Action, Id, Op};
use redis::aio::MultiplexedConnection;

use crate::stage::{PARTITION, Stage, edge};

const KEEP: Duration = Duration::from_secs(60);

fn crowd(from: u64, many: u64) -> Vec<Op> {
    let users = from..from + many;
    users
        .map(|user| Op::new(Action::Set, edge(3, &user.to_string(), "POST:1")))
        .collect()
}

fn post() -> TargetName {
    TargetName::parse("3:0:1").unwrap()
}

async fn encoding(raw: &mut MultiplexedConnection, key: &str) -> String {
    let mut object = redis::cmd("OBJECT");
    object
        .arg("ENCODING")
        .arg(key)
        .query_async(raw)
        .await
        .unwrap()
}

async fn layout(stage: &mut Stage) -> String {
    let mut get = redis::cmd("HGET");
    get.arg("{p1.0}:t:3:0:1")
        .arg("#b")
        .query_async(&mut stage.raw)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_target_born_here_needs_the_ledger_once() {
    let mut stage = Stage::open().await;
    stage.apply(crowd(0, 1)).await;
    assert_eq!(stage.ledger.loads(), 1);
    stage.drain().await;
    stage.apply(crowd(1, 2_000)).await;
    stage.compare().await;
    assert_eq!(stage.ledger.loads(), 1);
}

#[tokio::test]
async fn the_record_gives_its_entries_to_buckets_at_its_limit() {
    let mut stage = Stage::open().await;
    stage.apply(crowd(0, MAX_INLINE_ENTRIES)).await;
    assert_eq!(layout(&mut stage).await, "0");
    assert_eq!(encoding(&mut stage.raw, "{p1.0}:t:3:0:1").await, "listpack");
    stage.apply(crowd(MAX_INLINE_ENTRIES, 1)).await;
    assert!(layout(&mut stage).await.starts_with("1.0."));
    stage.compare().await;
}

/// The scripts lay buckets out as `Layout` says, and keep them in the compact encoding.
#[tokio::test]
async fn buckets_lie_where_the_layout_says() {
    let mut stage = Stage::open().await;
    for from in (0..5_000).step_by(250) {
        stage.apply(crowd(from, 250)).await;
    }
    let text = layout(&mut stage).await;
    let fields: Vec<&str> = text.splitn(3, '.').collect();
    let expected = Layout::of(5_000);
    assert_eq!(
        [fields[0], fields[1]],
        [expected.level.to_string(), expected.split.to_string()]
    );
    let mut seen = 0;
    let mut large = 0;
    for bucket in expected.all() {
        let key = format!("{{p1.0}}:b:3:0:1:{}.{bucket}", fields[2]);
        let users: Vec<String> = redis::cmd("HKEYS")
            .arg(&key)
            .query_async(&mut stage.raw)
            .await
            .unwrap();
        assert!(users.contains(&"#r".to_owned()), "{key} is there");
        for user in users.iter().filter(|user| *user != "#r") {
            assert_eq!(expected.bucket_of(user_hash(user)), bucket);
            seen += 1;
        }
        large += usize::from(encoding(&mut stage.raw, &key).await != "listpack");
    }
    assert_eq!((seen, large), (5_000, 0));
    let buckets = stage
        .keys()
        .await
        .iter()
        .filter(|key| key.contains(":b:"))
        .count();
    assert_eq!(
        buckets as u64,
        expected.buckets(),
        "nothing is left of what was split"
    );
}

/// Buckets that no event of their own names get their TTL too.
#[tokio::test]
async fn once_the_ledger_has_everything_everything_may_go() {
    let mut stage = Stage::open().await;
    for from in (0..3_000).step_by(300) {
        stage.apply(crowd(from, 300)).await;
        assert_eq!(stage.with_ttl().await.len(), 0);
    }
    stage.drain().await;
    let all = stage.keys().await;
    let of_targets = all
        .iter()
        .filter(|key| key.contains(":t:") || key.contains(":b:"));
    assert_eq!(stage.with_ttl().await.len(), of_targets.count());
    stage.apply(crowd(10_000, 1)).await;
    let kept: BTreeSet<String> = stage.with_ttl().await.into_iter().collect();
    assert!(
        !kept.contains("{p1.0}:t:3:0:1"),
        "its last transition is not in the ledger"
    );
    stage.evict(100).await;
    stage.compare().await;
}

#[tokio::test]
async fn one_bucket_is_loaded_alone() {
    let mut stage = Stage::open().await;
    stage.apply(crowd(0, 1_000)).await;
    stage.drain().await;
    stage.evict(100).await;
    let before = stage.ledger.loads();
    stage.read(&post(), Some(&Id::Number(7))).await;
    assert_eq!(stage.ledger.loads() - before, 2, "the record and a bucket");
    let buckets = stage
        .keys()
        .await
        .iter()
        .filter(|key| key.contains(":b:"))
        .count();
    assert_eq!(buckets, 1);
}

#[tokio::test]
async fn a_claim_is_refused_while_the_key_is_there_or_another_loads_it() {
    let mut stage = Stage::open().await;
    stage.load(vec![Cold::Partition]).await;
    let record = Cold::Record(post());
    let claim = stage
        .redis
        .claim(PARTITION, record.clone())
        .await
        .unwrap()
        .unwrap();
    let second = stage.redis.claim(PARTITION, record.clone()).await.unwrap();
    assert_eq!(second.unwrap_err(), Loaded::Busy);
    let loaded = stage.redis.fill(&stage.ledger, claim, KEEP).await.unwrap();
    assert_eq!(loaded, Loaded::Here);
    let third = stage.redis.claim(PARTITION, record).await.unwrap();
    assert_eq!(third.unwrap_err(), Loaded::Here);
}

/// The story that the search in `tests/race` finds where tokens are not checked: a slow loader
/// comes back after another has loaded, written, persisted and evicted.
#[tokio::test]
async fn a_late_load_is_not_installed() {
    let mut stage = Stage::open().await;
    stage.load(vec![Cold::Partition]).await;
    let record = Cold::Record(post());
    let slow = stage
        .redis
        .claim(PARTITION, record.clone())
        .await
        .unwrap()
        .unwrap();
    let mut unlink = redis::cmd("DEL");
    let token: i64 = unlink
        .arg("{p1.0}:k:t:3:0:1")
        .query_async(&mut stage.raw)
        .await
        .unwrap();
    assert_eq!(token, 1, "the token is evicted");
    stage.apply(crowd(0, 5)).await;
    stage.drain().await;
    assert!(stage.evict(100).await > 0);
    let quick = stage.redis.claim(PARTITION, record).await.unwrap().unwrap();
    let loaded = stage.redis.fill(&stage.ledger, slow, KEEP).await.unwrap();
    assert_eq!(loaded, Loaded::Busy);
    stage.redis.fill(&stage.ledger, quick, KEEP).await.unwrap();
    stage.compare().await;
}

#[tokio::test]
async fn a_bucket_of_another_layout_is_not_loaded() {
    let mut stage = Stage::open().await;
    stage.apply(crowd(0, 300)).await;
    for (generation, bucket) in [(
        "old",
        Bucket {
            level: 1,
            prefix: 0,
        },
    )] {
        let cold = Cold::Bucket {
            target: post(),
            generation: generation.to_owned(),
            bucket,
        };
        let claim = stage.redis.claim(PARTITION, cold).await.unwrap();
        assert_eq!(claim.unwrap_err(), Loaded::Elsewhere);
    }
}

#[tokio::test]
async fn nothing_is_decided_while_the_partition_is_cold() {
    let stage = Stage::open().await;
    let op = stage.op(&crowd(0, 1)[0]);
    let decided = stage
        .redis
        .decide(PARTITION, None, &[op.clone(), op])
        .await
        .unwrap();
    assert_eq!(decided, vec![Decided::Cold(Cold::Partition); 2]);
}

#[tokio::test]
async fn scripts_come_back_by_themselves() {
    let mut stage = Stage::open().await;
    stage.apply(crowd(0, 1)).await;
    let _: String = redis::cmd("SCRIPT")
        .arg("FLUSH")
        .query_async(&mut stage.raw)
        .await
        .unwrap();
    stage.apply(crowd(1, 1)).await;
    stage.compare().await;
}

#[tokio::test]
async fn a_full_redis_says_so_and_has_done_nothing() {
    let mut stage = Stage::open().await;
    stage.apply(crowd(0, 3)).await;
    let mut config = redis::cmd("CONFIG");
    config
        .arg("SET")
        .arg("maxmemory")
        .arg("1")
        .arg("maxmemory-policy")
        .arg("volatile-lru");
    let _: String = config.query_async(&mut stage.raw).await.unwrap();
    let op = stage.op(&crowd(9, 1)[0]);
    let refused = stage
        .redis
        .decide(PARTITION, Some(stage.now), &[op])
        .await
        .unwrap_err();
    assert!(refused.nothing_done(), "{refused}");
    let mut config = redis::cmd("CONFIG");
    config.arg("SET").arg("maxmemory").arg("0");
    let _: String = config.query_async(&mut stage.raw).await.unwrap();
    stage.compare().await;
}
