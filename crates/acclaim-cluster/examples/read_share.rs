//! How Redis's memory follows what is read, not what is stored:
//! `read_share [TARGETS] [EDGES_EACH] [READ_ONE_IN]`, with a Redis and a MariaDB of its own.
//!
//! So many targets (100,000) with so many edges each (100) lie in the ledger and none in Redis. One
//! in so many of them (100) is read: a status, the count and the list.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

mod measure;

use std::time::Instant;

use acclaim_cluster::engine::{Cluster, ClusterConfig};
use acclaim_cluster::ledger::store::StoreSpec;
use acclaim_cluster::ledger::{Bounds, Ledger};
use acclaim_core::port::Reads;
use acclaim_core::{EdgeKey, Id, Kinds, Start, Target, TargetKey, TargetType};
use acclaim_servers::{MariaDb, MariaDbOptions, Redis};
use futures::{FutureExt, StreamExt, TryStreamExt};
use measure::{Arguments, Failure, fill, redis_info, target_number};
use sqlx::{Connection, Executor, MySqlConnection};

const PARTITIONS: u16 = 64;
const READERS: usize = 16;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::new("read_share [TARGETS] [EDGES_EACH] [READ_ONE_IN]");
    let (targets, each) = (arguments.number(0, 100_000)?, arguments.number(1, 100)?);
    let one_in: usize = arguments.number(2, 100)?;
    let options = MariaDbOptions::default()
        .set("innodb-buffer-pool-size", "2G")
        .set("innodb-log-file-size", "1G");
    let mariadb = MariaDb::start_with(options).boxed().await;
    let redis = Redis::start().boxed().await;
    let database = mariadb.database().boxed().await;
    let ledger = Ledger::new(database.url(), Bounds::default())?;
    ledger.migrate().await?;
    let spec = StoreSpec {
        partitions: PARTITIONS,
    };
    ledger.create_or_open_store(&spec).await?;
    let post = TargetType::parse("POST")?;
    let (kind, post_no) = (ledger.kind_no("likes").await?, ledger.type_no(&post).await?);
    let began = Instant::now();
    fill(database.url(), kind, post_no, targets, each).await?;
    let edges = targets * each;
    println!(
        "{edges} edges of {targets} targets in {:.0} s",
        began.elapsed().as_secs_f64()
    );
    let mut conn = MySqlConnection::connect(database.url()).await?;
    conn.execute("UPDATE partitions SET applied = 1").await?;
    conn.close().await?;

    let kinds = Kinds::new([])?;
    let likes = kinds.find("likes").ok_or("no likes")?;
    let mut config = ClusterConfig::new(&redis.url(), database.url(), "one");
    config.partitions = PARTITIONS;
    let engine = Cluster::open(config, kinds, None).await?;
    let client = redis::Client::open(redis.url())?;
    let mut raw = client.get_multiplexed_async_connection().await?;
    let before: u64 = redis_info(&mut raw, "memory", "used_memory")
        .await?
        .parse()?;
    let began = Instant::now();
    let read = (0..targets).step_by(one_in).map(|n| {
        let target = Target {
            target_type: post.clone(),
            id: Id::Number(target_number(n)),
        };
        let (engine, key) = (
            &engine,
            TargetKey {
                kind: likes,
                target,
            },
        );
        async move {
            let edge = EdgeKey {
                kind: likes,
                user: Id::Number(1),
                target: key.target.clone(),
            };
            engine.statuses(vec![edge]).await?;
            let count = engine.counts(vec![key.clone()]).await?[0].count;
            let listed = engine.users(key, Start::top(), 20).await?;
            if (count, listed.total) != (each, each) {
                return Err(Failure::from(format!(
                    "a target has {count} of {each} edges"
                )));
            }
            Ok(())
        }
    });
    let read: Vec<()> = futures::stream::iter(read)
        .buffer_unordered(READERS)
        .try_collect()
        .await?;
    let rate = read.len() as f64 / began.elapsed().as_secs_f64();
    let after: u64 = redis_info(&mut raw, "memory", "used_memory")
        .await?
        .parse()?;
    let held = read.len() as u64 * each;
    println!(
        "{} targets read at {rate:.0}/s, cold: {} KiB of Redis, {:.1} bytes for each of their {held} \
         edges, {:.3} for each that is stored",
        read.len(),
        (after - before) / 1_024,
        (after - before) as f64 / held as f64,
        (after - before) as f64 / edges as f64
    );
    engine.stop().await;
    Ok(())
}
