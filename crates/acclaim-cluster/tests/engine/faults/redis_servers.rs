//! Redis dies, is emptied, fills up, hangs, and moves.

use std::time::Duration;

use acclaim_servers::{AppendFsync, Redis, RedisOptions, until};

use super::load::{Habits, LIMIT};
use super::stage::{Stage, config, empty};
use crate::servers::{ClusterAndMariaDb, Pair, RedisSide, database};

async fn single(options: RedisOptions) -> RedisSide {
    RedisSide::Single(Box::new(Redis::start_with(options).await))
}

fn server(side: &RedisSide) -> &Redis {
    match side {
        RedisSide::Single(server) => server,
        _ => panic!("it is one server"),
    }
}

async fn number_of(server: &Redis, section: &str, name: &str) -> u64 {
    let info: String = server.query(redis::cmd("INFO").arg(section)).await;
    let mut lines = info.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_comes_back() {
    let options = RedisOptions::default().append_only(AppendFsync::Always);
    let (side, database) = tokio::join!(single(options), database());
    let stage = Stage::begin(config(&side, database.url(), "one"), None).await;
    for _ in 0..3 {
        server(&side).kill();
        server(&side).restart().await;
        stage.progress(100).await;
    }
    stage.finish(&side).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_emptied_after_the_drain() {
    let (side, database) = tokio::join!(RedisSide::single(), database());
    let mut stage = Stage::begin(config(&side, database.url(), "one"), None).await;
    stage.keeps_journal = false;
    for _ in 0..3 {
        stage.rest().await;
        server(&side).flush_all().await;
        stage.go_on();
        stage.progress(100).await;
    }
    stage.finish(&side).await;
}

/// What the ledger has goes, what it does not have stays, and where nothing can go writes are
/// refused before anything is decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_of_redis_is_full() {
    let (side, database) = tokio::join!(RedisSide::single(), database());
    let mut config = config(&side, database.url(), "one");
    if let Some(worker) = &mut config.worker {
        worker.journal_max_events = 0;
    }
    let habits = Habits {
        posts: 4_000,
        ..Habits::default()
    };
    let mut stage = Stage::with(config, None, habits).await;
    stage.keeps_journal = false;
    let server = server(&side);
    let room = number_of(server, "memory", "used_memory").await + 300_000;
    for (name, value) in [
        ("maxmemory-policy", "volatile-lru".to_owned()),
        ("maxmemory", room.to_string()),
    ] {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg(name).arg(value);
        server.query::<()>(&set).await;
    }
    until(LIMIT, "keys to go", || async {
        match number_of(server, "stats", "evicted_keys").await {
            evicted if evicted > 500 => Ok(()),
            evicted => Err(format!("{evicted} went")),
        }
    })
    .await;
    stage.progress(100).await;
    stage.finish(&side).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_hangs_and_goes_on() {
    let (side, database) = tokio::join!(RedisSide::single(), database());
    let stage = Stage::begin(config(&side, database.url(), "one"), None).await;
    for millis in [300, 1_500, 3_000] {
        server(&side).pause().await;
        // How long it hangs is the test's subject: within a call's time, and beyond it.
        tokio::time::sleep(Duration::from_millis(millis)).await;
        server(&side).resume();
        stage.progress(100).await;
    }
    stage.finish(&side).await;
}

/// Every partition moves to another master, under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move() {
    let servers = ClusterAndMariaDb::servers().await;
    let config = config(&servers.redis, servers.database.url(), "one");
    servers.make_store(config.partitions).await;
    let RedisSide::Cluster(cluster) = &servers.redis else {
        panic!("it is a Cluster");
    };
    let stage = Stage::begin(config, None).await;
    let epoch = stage.engine().store().epoch;
    for number in 0..stage.config().partitions {
        let slot = cluster.slot_of(&format!("{{p{epoch}.{number}}}")).await;
        let master = cluster.master_of(slot).await.address();
        let mut elsewhere = slot;
        for other in [0, 8_000, 16_383] {
            if cluster.master_of(other).await.address() != master {
                elsewhere = other;
            }
        }
        cluster.move_slot(slot, elsewhere).await;
        stage.progress(50).await;
    }
    let (_, unknown) = stage.finish(&servers.redis).await;
    assert_eq!(unknown, 0, "a move leaves nothing unknown");
    empty(&servers.redis, epoch).await;
}
