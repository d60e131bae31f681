//! The servers that a cluster stands on, and what is in them.

use std::time::Duration;

use acclaim_servers::{AppendFsync, Database, MariaDb, MariaDbOptions, Redis, RedisOptions};
use anyhow::Context as _;
use sqlx::Connection as _;

use crate::process;

/// A Redis and a MariaDB of our own. They end when dropped.
pub(crate) struct Store {
    pub redis: Redis,
    mariadb: MariaDb,
    database: Database,
}

/// Processor time of the servers.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    pub redis: Duration,
    pub mariadb: Duration,
}

impl Store {
    /// Redis with an append-only file written each second, MariaDB flushing each commit.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let redis = RedisOptions::default().append_only(AppendFsync::EverySec);
        let redis = Redis::try_start(redis).await?;
        let mariadb = MariaDbOptions::default().set("innodb-buffer-pool-size", "512M");
        let mariadb = mariadb.set("innodb-log-file-size", "256M");
        let mariadb = MariaDb::try_start(mariadb).await?;
        let database = mariadb.database().await;
        Ok(Self {
            redis,
            mariadb,
            database,
        })
    }

    /// The flags that name them.
    pub(crate) fn flags(&self) -> Vec<String> {
        let flags = [
            "--redis",
            &self.redis.url(),
            "--ledger",
            self.database.url(),
        ];
        flags.map(str::to_owned).to_vec()
    }

    /// The URL of the ledger.
    pub(crate) fn ledger_url(&self) -> &str {
        self.database.url()
    }

    /// What they have used so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Cpu> {
        let of = |pid: Option<u32>| process::cpu(pid.context("a server has ended")?);
        Ok(Cpu {
            redis: of(self.redis.pid())?,
            mariadb: of(self.mariadb.pid())?,
        })
    }

    /// Bytes of memory that Redis has given out.
    pub(crate) async fn redis_bytes(&self) -> anyhow::Result<u64> {
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        let text: String = self.redis.try_query(&info).await?;
        let used = text
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        Ok(used.context("Redis tells of no memory")?.trim().parse()?)
    }

    /// Bytes of the ledger's tables and indexes.
    pub(crate) async fn ledger_bytes(&self) -> anyhow::Result<u64> {
        let mut connection = sqlx::MySqlConnection::connect(self.database.url()).await?;
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
        )
        .fetch_all(&mut connection)
        .await?;
        for table in tables {
            // The sizes are estimates of when a table was last analysed.
            let analyse = sqlx::AssertSqlSafe(format!("ANALYZE TABLE `{table}`"));
            sqlx::query(analyse).execute(&mut connection).await?;
        }
        let sum = "SELECT CAST(SUM(data_length + index_length) AS UNSIGNED) \
                   FROM information_schema.tables WHERE table_schema = DATABASE()";
        Ok(sqlx::query_scalar(sum).fetch_one(&mut connection).await?)
    }

    /// Edges in the ledger, those that were unset too.
    pub(crate) async fn edges(&self) -> anyhow::Result<u64> {
        let mut connection = sqlx::MySqlConnection::connect(self.database.url()).await?;
        let count = "SELECT CAST(COUNT(*) AS UNSIGNED) FROM edges";
        Ok(sqlx::query_scalar(count).fetch_one(&mut connection).await?)
    }
}
