//! On what a store of the suites stands: a Redis of some sort and a database.
//!
//! A single Redis is the test's own, since it starts in no time. A Cluster, Sentinels, MariaDB and
//! TiDB are started once a test process. There each store has a database of its own and an epoch of
//! its own, which is part of every key in Redis: stores never meet, and none empties a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use acclaim_cluster::ledger::{Bounds, Ledger, StoreSpec};
use acclaim_servers::{
    Database, MariaDb, MariaDbOptions, Redis, RedisCluster, RedisSentinel, TiDb,
};
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use tokio::sync::OnceCell;

static MARIADB: OnceCell<MariaDb> = OnceCell::const_new();
static CLUSTER: OnceCell<Arc<RedisCluster>> = OnceCell::const_new();
static NEXT_EPOCH: AtomicU32 = AtomicU32::new(1_000);

/// A fresh database on a MariaDB that does not flush: nothing here cuts its power.
pub async fn database() -> Database {
    let start = || {
        let options = MariaDbOptions::default()
            .set("innodb-flush-log-at-trx-commit", "0")
            .set("innodb-doublewrite", "0");
        MariaDb::start_with(options)
    };
    MARIADB.get_or_init(start).await.database().await
}

/// A Redis of some sort.
pub enum RedisSide {
    /// One server of the test's own.
    Single(Box<Redis>),
    /// Three masters and their replicas, which tests share unless they do them harm.
    Cluster(Arc<RedisCluster>),
    /// A master and its replica, the test's own.
    Sentinel(Box<RedisSentinel>),
}

/// Addresses as they stand in a URL of several.
fn hosts(servers: &[Redis]) -> String {
    let hosts: Vec<_> = servers
        .iter()
        .map(|node| node.address().to_string())
        .collect();
    hosts.join(",")
}

impl RedisSide {
    /// One server.
    pub async fn single() -> Self {
        Self::Single(Box::new(Redis::start().await))
    }

    /// The Cluster that all share.
    pub async fn cluster() -> Self {
        let start = async || Arc::new(RedisCluster::start().await);
        Self::Cluster(Arc::clone(CLUSTER.get_or_init(start).await))
    }

    /// A Cluster of the test's own.
    pub async fn own_cluster() -> Self {
        Self::Cluster(Arc::new(RedisCluster::start().await))
    }

    /// How the engine is told of it.
    pub fn url(&self) -> String {
        match self {
            Self::Single(server) => server.url(),
            Self::Cluster(cluster) => format!("redis+cluster://{}", hosts(cluster.nodes())),
            Self::Sentinel(servers) => {
                let name = RedisSentinel::MASTER_NAME;
                format!("redis+sentinel://{}/{name}", hosts(servers.sentinels()))
            }
        }
    }

    /// The servers that take writes now.
    pub async fn masters(&self) -> Vec<&Redis> {
        let nodes = match self {
            Self::Single(server) => return vec![server],
            Self::Sentinel(servers) => return vec![servers.master().await],
            Self::Cluster(cluster) => cluster.nodes(),
        };
        let mut masters = Vec::new();
        for node in nodes {
            let role: Vec<redis::Value> = node.query(&redis::cmd("ROLE")).await;
            if role.first() == Some(&redis::Value::BulkString(b"master".to_vec())) {
                masters.push(node);
            }
        }
        masters
    }
}

/// What a store stands on.
pub struct Servers {
    pub redis: RedisSide,
    pub database: Database,
    /// Whether others have their stores on the same Redis.
    pub is_shared: bool,
}

impl Servers {
    /// Makes the store, in an epoch that no other store of this process is in.
    pub async fn make_store(&self, partitions: u16) {
        if !self.is_shared {
            return;
        }
        let epoch = NEXT_EPOCH.fetch_add(1, Ordering::Relaxed);
        let ledger = Ledger::new(self.database.url(), Bounds::default()).unwrap();
        ledger.migrate().await.unwrap();
        let spec = StoreSpec { partitions };
        ledger.create_or_open_store(&spec).await.unwrap();
        ledger.close().await;
        let mut conn = MySqlConnection::connect(self.database.url()).await.unwrap();
        for sql in [
            format!("UPDATE meta SET value = '{epoch}' WHERE name = 'epoch'"),
            format!("UPDATE partitions SET epoch = {epoch}"),
        ] {
            let sql = sqlx::query(AssertSqlSafe(sql));
            sql.execute(&mut conn).await.unwrap();
        }
        conn.close().await.unwrap();
    }
}

/// A pair of sorts of servers.
#[async_trait]
pub trait Pair: Send + Sync + 'static {
    /// Servers for one store.
    async fn servers() -> Servers;

    /// What becomes of Redis when a node goes in a crash. `true`: the node did not go, its Redis
    /// did.
    async fn crash(_redis: &RedisSide) -> bool {
        false
    }
}

/// One Redis, MariaDB.
pub struct SingleAndMariaDb;

/// A Redis Cluster, MariaDB.
pub struct ClusterAndMariaDb;

/// One Redis, TiDB.
pub struct SingleAndTiDb;

/// By the name of the test, one half of all on [`ClusterAndMariaDb`], the other on
/// [`SingleAndTiDb`]. Always the same ones, unless tests run in one thread, which has no name of
/// theirs: then they take turns.
pub struct Elsewhere;

/// A master with a replica and Sentinels, MariaDB. Where others crash, the replica takes over.
pub struct SentinelAndMariaDb;

#[async_trait]
impl Pair for SingleAndMariaDb {
    async fn servers() -> Servers {
        let (redis, database) = tokio::join!(RedisSide::single(), database());
        Servers {
            redis,
            database,
            is_shared: false,
        }
    }
}

#[async_trait]
impl Pair for ClusterAndMariaDb {
    async fn servers() -> Servers {
        let (redis, database) = tokio::join!(RedisSide::cluster(), database());
        Servers {
            redis,
            database,
            is_shared: true,
        }
    }
}

#[async_trait]
impl Pair for SingleAndTiDb {
    async fn servers() -> Servers {
        let database = async { TiDb::shared().await.database().await };
        let (redis, database) = tokio::join!(RedisSide::single(), database);
        Servers {
            redis,
            database,
            is_shared: false,
        }
    }
}

#[async_trait]
impl Pair for Elsewhere {
    async fn servers() -> Servers {
        let thread = std::thread::current();
        let number = match thread.name() {
            Some(name) if name != "main" => crc32fast::hash(name.as_bytes()),
            _ => NEXT_EPOCH.fetch_add(1, Ordering::Relaxed),
        };
        if number.is_multiple_of(2) {
            ClusterAndMariaDb::servers().await
        } else {
            SingleAndTiDb::servers().await
        }
    }
}

#[async_trait]
impl Pair for SentinelAndMariaDb {
    async fn servers() -> Servers {
        let (sentinel, database) = tokio::join!(RedisSentinel::start(), database());
        Servers {
            redis: RedisSide::Sentinel(Box::new(sentinel)),
            database,
            is_shared: false,
        }
    }

    async fn crash(redis: &RedisSide) -> bool {
        let RedisSide::Sentinel(servers) = redis else {
            return false;
        };
        servers.await_health().await;
        // An order to fail over waits for nothing. What was acknowledged must be at the replica
        // first; what comes after this is the node's own, which it does again.
        let mut master = servers.master().await.try_connect().await.unwrap();
        let mut probe = redis::pipe();
        probe.cmd("SET").arg("probe").arg(1).ignore();
        probe.cmd("WAIT").arg(1).arg(5_000);
        let (replicas,): (u64,) = probe.query_async(&mut master).await.unwrap();
        assert_eq!(replicas, 1, "the replica has everything");
        servers.fail_over().await;
        true
    }
}
