//! Redis comes back with less than the ledger has: a replica that was cut off takes over, or a
//! server starts with an older copy of its data.
//!
//! Callers ask for the acknowledgement that survives this. Others write to the same targets and ask
//! for none: what they were told may be lost, and must leave no count wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use acclaim_core::port::{Ack, Journal, Place, Write, Writes};
use acclaim_core::{Id, JournalError};
use acclaim_servers::{AppendFsync, Redis, RedisOptions, RedisSentinel, until};
use acclaim_testkit::conformance::{CLAPS, LIKES, edge, set, toggle};
use redis::Cmd;
use tokio::task::JoinHandle;

use super::load::{Habits, LIMIT, Seats};
use super::stage::{Stage, config};
use crate::servers::{RedisSide, database};

const DURABLE: Habits = Habits {
    posts: 10,
    ack: Ack::Ledger,
    keyed: false,
};

/// Users who toggle the callers' targets, and do not care what they are told.
struct Noise {
    stop: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Noise {
    fn start(seats: &Seats) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (seats, ended) = (Arc::clone(seats), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut told = 0;
            for n in 0u64.. {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                let (user, post) = (50 + n % 7, n % DURABLE.posts);
                let kind = if n % 3 == 0 { CLAPS } else { LIKES };
                let edge = edge(kind, &user.to_string(), &format!("POST:{post}"));
                let node = Arc::clone(&seats.lock()[0]);
                let told_now = node.engine.apply(Write::plain(vec![toggle(edge)])).await;
                told += u64::from(told_now.is_ok());
                tokio::task::yield_now().await;
            }
            told
        });
        Self { stop, task }
    }

    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}

/// How many partitions have begun anew so far, as the node knows.
fn lives(stage: &Stage) -> u32 {
    let partitions = stage.engine().partitions();
    partitions.iter().map(|partition| partition.life).sum()
}

/// What a subscriber is told from a place on, until there is no more. After a gap it goes on from
/// where there is something again.
async fn follow(stage: &Stage, mut after: Place) -> Vec<Place> {
    let engine = stage.engine();
    let mut told = Vec::new();
    loop {
        match engine.journal_after(after, 500).await {
            Ok(events) if events.is_empty() => return told,
            Ok(events) => {
                for event in events {
                    assert!(event.place > after, "{:?} after {after:?}", event.place);
                    after = event.place;
                    told.push(after);
                }
            }
            Err(JournalError::Trimmed { oldest, .. }) => after = oldest,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A write after the fact is told to a subscriber who has seen everything before.
async fn is_told_later(stage: &Stage, seen: Place) {
    let engine = stage.engine();
    let user = Id::Number(rand::random_range(1_000..1_000_000_000)).to_string();
    let write = Write {
        ack: Ack::Ledger,
        ..Write::plain(vec![set(edge(LIKES, &user, "POST:1"))])
    };
    engine.apply(write).await.unwrap();
    let told = follow(stage, seen).await;
    assert!(!told.is_empty(), "what comes later is told later");
}

async fn order(server: &Redis, parts: &[&str]) {
    let mut cmd: Cmd = redis::cmd(parts[0]);
    for part in &parts[1..] {
        cmd.arg(part);
    }
    server.query::<()>(&cmd).await;
}

/// Has writes done that the replica does not get, and leaves it cut off.
///
/// Sentinels promote no replica that was without its master for ten times as long as makes a master
/// be down, a second here, and mend one that follows a wrong master after eight. So where the writes
/// took too long the replica is given back what it missed, and fewer are tried.
pub async fn progress_without(stage: &Stage, servers: &RedisSentinel) {
    const CUT_MAX_SECONDS: u64 = 4;
    let (master, replica) = (servers.master().await, servers.replica().await);
    let (host, port) = (
        master.address().ip().to_string(),
        master.address().port().to_string(),
    );
    let replication = || async {
        let info: String = replica.query(redis::cmd("INFO").arg("replication")).await;
        info
    };
    let mut writes = 100;
    loop {
        let began = Instant::now();
        order(replica, &["REPLICAOF", "127.0.0.1", "1"]).await;
        stage.progress(writes).await;
        let is_cut = replication().await.contains("master_port:1\r");
        if is_cut && began.elapsed().as_secs() < CUT_MAX_SECONDS {
            return;
        }
        writes = (writes / 2).max(10);
        order(replica, &["REPLICAOF", &host, &port]).await;
        until(LIMIT, "the replica follows again", || async {
            let info = replication().await;
            let follows = info.contains("master_link_status:up");
            follows.then_some(()).ok_or(info)
        })
        .await;
    }
}

/// A replica that was cut off takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_over_that_lacks_what_the_ledger_has() {
    let (sentinel, database) = tokio::join!(RedisSentinel::start(), database());
    let side = RedisSide::Sentinel(Box::new(sentinel));
    let RedisSide::Sentinel(servers) = &side else {
        panic!("they are Sentinels");
    };
    let mut config = config(&side, database.url(), "one");
    config.redis.call_timeout_millis = 4_000;
    let mut stage = Stage::with(config, None, DURABLE).await;
    stage.keeps_journal = false;
    for round in 1..=2 {
        servers.await_health().await;
        let noise = Noise::start(&stage.seats);
        let master = servers.master().await;
        stage.progress(50).await;
        // All of these are in the ledger, and not with the replica.
        progress_without(&stage, servers).await;
        let seen = follow(&stage, Place::START).await;
        let before = lives(&stage);
        let address = master.address();
        master.kill();
        servers.await_master_other_than(address).await;
        stage.progress(50).await;
        assert!(lives(&stage) > before, "round {round} lost nothing");
        is_told_later(&stage, *seen.last().unwrap()).await;
        assert!(noise.stop().await > 0);
        master.restart().await;
        stage.progress(50).await;
    }
    stage.finish(&side).await;
}

/// The same with the masters of a Cluster, of which each has some of the partitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_a_cluster_takes_over_that_lacks_what_the_ledger_has() {
    let (side, database) = tokio::join!(RedisSide::own_cluster(), database());
    let RedisSide::Cluster(cluster) = &side else {
        panic!("it is a Cluster");
    };
    let mut config = config(&side, database.url(), "one");
    config.redis.call_timeout_millis = 4_000;
    let mut stage = Stage::with(config, None, DURABLE).await;
    stage.keeps_journal = false;
    let epoch = stage.engine().store().epoch;
    for number in 0..2 {
        cluster.await_health().await;
        let noise = Noise::start(&stage.seats);
        let slot = cluster.slot_of(&format!("{{p{epoch}.{number}}}")).await;
        let (master, replica) = (
            cluster.master_of(slot).await,
            cluster.replica_of(slot).await,
        );
        stage.progress(50).await;
        // A master without a password refuses whoever names one: it cannot come back to follow.
        order(replica, &["CONFIG", "SET", "masterauth", "nobody's"]).await;
        order(master, &["CLIENT", "KILL", "TYPE", "replica"]).await;
        until(LIMIT, "a replica that is cut off", || async {
            let info: String = replica.query(redis::cmd("INFO").arg("replication")).await;
            let is_cut = info.contains("master_link_status:down");
            is_cut.then_some(()).ok_or(info)
        })
        .await;
        // Those of this master's partitions are in the ledger, and not with the replica.
        stage.progress(100).await;
        let seen = follow(&stage, Place::START).await;
        let before = lives(&stage);
        let address = master.address();
        master.kill();
        cluster.await_master_other_than(slot, address).await;
        stage.progress(50).await;
        assert!(lives(&stage) > before, "partition {number} lost nothing");
        is_told_later(&stage, *seen.last().unwrap()).await;
        assert!(noise.stop().await > 0);
        order(replica, &["CONFIG", "SET", "masterauth", ""]).await;
        master.restart().await;
        stage.progress(50).await;
    }
    stage.finish(&side).await;
}

/// The only server starts with an older copy of its data, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_starts_with_an_older_copy() {
    let (redis, database) = tokio::join!(Redis::start(), database());
    let side = RedisSide::Single(Box::new(redis));
    let RedisSide::Single(server) = &side else {
        panic!("it is one server");
    };
    let mut stage = Stage::with(config(&side, database.url(), "one"), None, DURABLE).await;
    stage.keeps_journal = false;
    for round in 1..=4 {
        let noise = Noise::start(&stage.seats);
        stage.progress(30).await;
        order(server, &["SAVE"]).await;
        let (copy, data) = (
            server.directory().join("older"),
            server.directory().join("dump.rdb"),
        );
        std::fs::copy(&data, &copy).unwrap();
        stage.progress(100).await;
        let seen = follow(&stage, Place::START).await;
        let before = lives(&stage);
        server.kill();
        std::fs::copy(&copy, &data).unwrap();
        server.restart().await;
        stage.progress(50).await;
        assert!(lives(&stage) > before, "round {round} lost nothing");
        is_told_later(&stage, *seen.last().unwrap()).await;
        assert!(noise.stop().await > 0);
    }
    stage.finish(&side).await;
}

/// A server that comes back with everything goes on as it was: nothing is loaded again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_has_everything_goes_on() {
    let options = RedisOptions::default().append_only(AppendFsync::Always);
    let (redis, database) = tokio::join!(Redis::start_with(options), database());
    let side = RedisSide::Single(Box::new(redis));
    let RedisSide::Single(server) = &side else {
        panic!("it is one server");
    };
    let stage = Stage::begin(config(&side, database.url(), "one"), None).await;
    for _ in 0..3 {
        server.kill();
        server.restart().await;
        stage.progress(50).await;
    }
    assert_eq!(lives(&stage), 0);
    stage.finish(&side).await;
}

/// Lost events that the ledger never had are lost, and leave nothing wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_nobody_has_are_lost_without_a_trace() {
    let (redis, database) = tokio::join!(Redis::start(), database());
    let side = RedisSide::Single(Box::new(redis));
    let RedisSide::Single(server) = &side else {
        panic!("it is one server");
    };
    let mut stage = Stage::with(config(&side, database.url(), "one"), None, DURABLE).await;
    stage.keeps_journal = false;
    stage.rest().await;
    order(server, &["SAVE"]).await;
    server.kill();
    server.restart().await;
    let engine = stage.engine();
    until(LIMIT, "Redis to be there", || async {
        let write = Write::plain(vec![set(edge(LIKES, "99", "POST:1"))]);
        let applied = engine.apply(write).await;
        applied.map_err(|error| error.to_string())
    })
    .await;
    server.kill();
    server.restart().await;
    stage.go_on();
    stage.progress(50).await;
    stage.finish(&side).await;
}

/// A master that hangs is replaced. Whoever asked for a replica is answered in a bounded time, and
/// what was acknowledged is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_hangs_under_replicated_writes() {
    let (sentinel, database) = tokio::join!(RedisSentinel::start(), database());
    let side = RedisSide::Sentinel(Box::new(sentinel));
    let RedisSide::Sentinel(servers) = &side else {
        panic!("they are Sentinels");
    };
    let habits = Habits {
        posts: 10,
        ack: Ack::Replica,
        keyed: false,
    };
    let mut config = config(&side, database.url(), "one");
    config.limits.write_max_millis = 3_000;
    let longest = Duration::from_millis(3_000 + 2_000);
    let mut stage = Stage::with(config, None, habits).await;
    stage.keeps_journal = false;
    for _ in 0..2 {
        servers.await_health().await;
        stage.progress(50).await;
        let master = servers.master().await;
        let address = master.address();
        master.pause().await;
        let engine = stage.engine();
        let began = tokio::time::Instant::now();
        let write = Write {
            ack: Ack::Replica,
            ..Write::plain(vec![set(edge(LIKES, "77", "POST:1"))])
        };
        // Either may be the outcome; what counts is that there is one.
        let _ = engine.apply(write).await;
        assert!(began.elapsed() < longest, "{:?}", began.elapsed());
        servers.await_master_other_than(address).await;
        // The new master has no replica until the old one is back and follows it.
        master.resume();
        servers.await_health().await;
        stage.progress(50).await;
    }
    stage.finish(&side).await;
}
