//! What a decide call costs the server, against a plain toggle of three keys.
//!
//! `cargo run -p acclaim-cluster --example redis_speed -- URL [SECONDS]`
//! The server is emptied first. 64 callers share one connection. The server's own time is read
//! from it, so that a slow client does not blur it.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "its output is what it is for, and without Redis there is nothing to measure"
)]

mod measure;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use acclaim_cluster::redis::connection::{Redis, RedisLimits};
use acclaim_cluster::redis::decide::{DecideOp, Decided};
use acclaim_cluster::redis::keys::{Partition, TargetName};
use acclaim_cluster::redis::load::Cold;
use acclaim_core::{Action, Id};
use futures::StreamExt;
use measure::{Arguments, Failure, Nothing};
use rand::Rng;
use redis::aio::MultiplexedConnection;

const CALLERS: usize = 64;
const TARGETS: u64 = 10_000;
const USERS: u64 = 1_000_000;
const PARTITION: Partition = Partition {
    epoch: 1,
    life: 0,
    number: 0,
};
const TOGGLE: &str = "if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then \
     redis.call('SREM', KEYS[1], ARGV[1]) redis.call('SREM', KEYS[2], ARGV[2]) \
     return redis.call('DECR', KEYS[3]) else \
     redis.call('SADD', KEYS[1], ARGV[1]) redis.call('SADD', KEYS[2], ARGV[2]) \
     return redis.call('INCR', KEYS[3]) end";

fn random_op() -> DecideOp {
    let target = TargetName {
        kind: 0,
        target_type: 0,
        id: Id::Number(rand::rng().random_range(0..TARGETS)),
    };
    DecideOp::new(
        Action::Toggle,
        target,
        Id::Number(rand::rng().random_range(0..USERS)),
    )
}

async fn warm(redis: &Redis) {
    let keep = Duration::from_secs(3_600);
    let load = |cold| redis.load(&Nothing, PARTITION, cold, keep);
    load(Cold::Partition).await.expect("loads");
    let record = |id| {
        Cold::Record(TargetName {
            kind: 0,
            target_type: 0,
            id: Id::Number(id),
        })
    };
    let loads = futures::stream::iter(0..TARGETS).map(|id| load(record(id)));
    let loads = loads.buffer_unordered(CALLERS);
    loads
        .for_each(|loaded| async {
            loaded.expect("loads");
        })
        .await;
}

async fn decide(redis: &Redis, ops: usize) {
    let ops: Vec<DecideOp> = (0..ops).map(|_| random_op()).collect();
    let decided = redis
        .decide(PARTITION, None, &ops)
        .await
        .expect("redis answers");
    assert!(
        decided.iter().all(|d| matches!(d, Decided::Done { .. })),
        "all is warm"
    );
}

async fn toggle(mut raw: MultiplexedConnection, sha: &str) {
    let op = random_op();
    let mut call = redis::cmd("EVALSHA");
    call.arg(sha).arg(3).arg(format!("{{t}}:l:{}", op.target));
    call.arg(format!("{{t}}:u:{}", op.user))
        .arg(format!("{{t}}:c:{}", op.target));
    call.arg(op.user.to_string()).arg(op.target.to_string());
    let _: i64 = call.query_async(&mut raw).await.expect("redis answers");
}

/// Microseconds of the server's time a script call.
async fn server_micros(raw: &mut MultiplexedConnection) -> String {
    let info: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(raw)
        .await
        .expect("info");
    let line = info
        .lines()
        .find(|line| line.starts_with("cmdstat_evalsha:"));
    let field = line.and_then(|l| l.split(',').find_map(|f| f.strip_prefix("usec_per_call=")));
    field.unwrap_or("?").to_owned()
}

/// Microseconds of processor time that the server has used for commands, reading and writing
/// included. Other processes do not blur it, as they do the times of the command statistics.
async fn server_cpu_micros(raw: &mut MultiplexedConnection) -> f64 {
    let info: String = redis::cmd("INFO")
        .arg("cpu")
        .query_async(raw)
        .await
        .expect("info");
    let seconds = |name: &str| {
        let text = info.lines().find_map(|line| line.strip_prefix(name));
        text.and_then(|text| text.trim().parse::<f64>().ok())
            .unwrap_or(f64::NAN)
    };
    1e6 * (seconds("used_cpu_user_main_thread:") + seconds("used_cpu_sys_main_thread:"))
}

async fn measure<F, T>(name: &str, ops: u64, seconds: u64, raw: &mut MultiplexedConnection, call: F)
where
    F: Fn() -> T + Clone + Send + 'static,
    T: Future<Output = ()> + Send,
{
    let _: String = redis::cmd("CONFIG")
        .arg("RESETSTAT")
        .query_async(raw)
        .await
        .expect("resets");
    let cpu_before = server_cpu_micros(raw).await;
    let done = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs(seconds);
    let callers = (0..CALLERS).map(|_| {
        let (call, done) = (call.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            while Instant::now() < until {
                call().await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    futures::future::join_all(callers.collect::<Vec<_>>()).await;
    let calls = done.load(Ordering::Relaxed);
    let rate = calls / seconds;
    let cpu = (server_cpu_micros(raw).await - cpu_before) / calls as f64;
    let micros = server_micros(raw).await;
    println!(
        "{name}: {rate} calls/s, {} ops/s, {micros} µs of the server a call by its statistics, \
         {cpu:.1} µs of its processor with reading and writing",
        rate * ops
    );
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::new("redis_speed URL [SECONDS]");
    // A Redis that may be emptied.
    let (url, seconds) = (arguments.required(0)?, arguments.number(1, 5)?);
    let redis = Redis::open(url, RedisLimits::default())
        .await
        .expect("a Redis");
    let redis: &'static Redis = Box::leak(Box::new(redis));
    let client = redis::Client::open(url).expect("a URL");
    let mut raw = client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection");
    let _: String = redis::cmd("FLUSHALL")
        .query_async(&mut raw)
        .await
        .expect("empties");
    warm(redis).await;
    let mut load = redis::cmd("SCRIPT");
    let sha: String = load
        .arg("LOAD")
        .arg(TOGGLE)
        .query_async(&mut raw)
        .await
        .expect("loads");
    let shared = raw.clone();
    let plain = move || {
        let (raw, sha) = (shared.clone(), sha.clone());
        async move { toggle(raw, &sha).await }
    };
    measure("plain toggle of three keys", 1, seconds, &mut raw, plain).await;
    measure("decide, 1 op", 1, seconds, &mut raw, move || {
        decide(redis, 1)
    })
    .await;
    measure("decide, 32 ops", 32, seconds, &mut raw, move || {
        decide(redis, 32)
    })
    .await;
    Ok(())
}
