//! The plain way: one script that toggles three keys, over connections of its own, without a server
//! between. What a team writes by hand, with nothing recorded anywhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use redis::Script;

const TOGGLE: &str = "\
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then
  redis.call('SREM', KEYS[1], ARGV[1])
  redis.call('SREM', KEYS[2], ARGV[2])
  return redis.call('DECR', KEYS[3])
end
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('SADD', KEYS[2], ARGV[2])
return redis.call('INCR', KEYS[3])";

/// Toggles a second: so many connections, each with one call at a time.
pub(super) async fn toggles_a_second(
    redis: &acclaim_servers::Redis,
    connections: u32,
    (users, targets): (u64, u64),
    time: Duration,
) -> anyhow::Result<f64> {
    let script = Arc::new(Script::new(TOGGLE));
    let done = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut callers = Vec::new();
    for number in 0..u64::from(connections) {
        let connected = redis.try_connect().await;
        let mut connection = connected.context("cannot connect to Redis")?;
        let (script, done) = (Arc::clone(&script), Arc::clone(&done));
        callers.push(tokio::spawn(async move {
            // Large odd steps visit users and targets that lie far apart.
            let mut at = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            while started.elapsed() < time {
                at = at.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let (user, target) = ((at >> 33) % users, (at >> 17) % targets);
                let mut call = script.key(format!("plain:target:{target}"));
                call.key(format!("plain:user:{user}"));
                call.key(format!("plain:count:{target}"));
                call.arg(user).arg(target);
                call.invoke_async::<i64>(&mut connection).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            redis::RedisResult::Ok(())
        }));
    }
    for caller in callers {
        caller.await?.context("the plain script")?;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64())
}
