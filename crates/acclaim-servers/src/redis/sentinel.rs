//! A master, a replica, and three Sentinels that agree on which is which.

use std::net::SocketAddr;
use std::time::Duration;

use super::{AppendFsync, Redis, RedisOptions, Role};
use crate::wait::until;

/// How long a change of roles may take until everybody knows of it.
const AGREEMENT_LIMIT: Duration = Duration::from_secs(90);
/// After how long without an answer a Sentinel takes a server for gone.
const DOWN_AFTER_MS: u32 = 1_000;
const FAILOVER_LIMIT_MS: u32 = 5_000;
const SENTINELS: usize = 3;
const QUORUM: usize = 2;

/// One master, one replica, three Sentinels.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: Vec<Redis>,
    sentinels: Vec<Redis>,
}

impl RedisSentinel {
    /// What the Sentinels call the master.
    pub const MASTER_NAME: &str = "acclaim";

    /// Starts all five with append-only files, and waits until they agree.
    ///
    /// # Panics
    /// If one does not start, or they do not agree in time.
    pub async fn start() -> Self {
        Self::start_with(RedisOptions::default().append_only(AppendFsync::EverySec)).await
    }

    /// The same, where master and replica have these options. No password and no TLS.
    ///
    /// # Panics
    /// If one does not start, or they do not agree in time.
    pub async fn start_with(options: RedisOptions) -> Self {
        let master = Redis::start_with(options.clone()).await;
        let port = master.address().port();
        let following = options.set("replicaof", &format!("127.0.0.1 {port}"));
        let replica = Redis::start_with(following).await;
        let name = Self::MASTER_NAME;
        let watching = RedisOptions::default()
            .set(
                "sentinel",
                &format!("monitor {name} 127.0.0.1 {port} {QUORUM}"),
            )
            .set(
                "sentinel",
                &format!("down-after-milliseconds {name} {DOWN_AFTER_MS}"),
            )
            .set(
                "sentinel",
                &format!("failover-timeout {name} {FAILOVER_LIMIT_MS}"),
            );
        let sentinels = Redis::start_all(vec![watching; SENTINELS], Role::Sentinel).await;
        let started = Self {
            servers: vec![master, replica],
            sentinels,
        };
        started.await_health().await;
        started
    }

    /// Master and replica, in the order in which they were started.
    pub fn servers(&self) -> &[Redis] {
        &self.servers
    }

    /// The Sentinels.
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// The addresses of the Sentinels, as URLs.
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Redis::url).collect()
    }

    /// The server that all Sentinels that run call the master.
    pub async fn master(&self) -> &Redis {
        until(
            AGREEMENT_LIMIT,
            "a master that all Sentinels agree on",
            || self.agreed_master(),
        )
        .await
    }

    /// The server that is not the master.
    pub async fn replica(&self) -> &Redis {
        let master = self.master().await.address();
        let mut others = self.servers.iter();
        match others.find(|server| server.address() != master) {
            Some(replica) => replica,
            None => panic!("two servers have one address: {master}"),
        }
    }

    async fn agreed_master(&self) -> Result<&Redis, String> {
        let mut named: Vec<SocketAddr> = Vec::new();
        for sentinel in self.sentinels.iter().filter(|one| one.is_running()) {
            let mut question = redis::cmd("SENTINEL");
            question
                .arg("GET-MASTER-ADDR-BY-NAME")
                .arg(Self::MASTER_NAME);
            let answer = sentinel.try_query::<(String, u16)>(&question).await;
            let (host, port) = answer.map_err(|error| error.to_string())?;
            named.push(
                format!("{host}:{port}")
                    .parse()
                    .map_err(|_| format!("a Sentinel names {host}:{port}"))?,
            );
        }
        named.dedup();
        match named[..] {
            [one] => {
                let mut servers = self.servers.iter();
                let found = servers.find(|server| server.address() == one);
                found.ok_or_else(|| format!("the Sentinels name {one}, which is none of ours"))
            }
            _ => Err(format!("the Sentinels name {named:?}")),
        }
    }

    /// Has the Sentinels make the replica the master (`SENTINEL FAILOVER`), and waits until they
    /// agree that it is.
    pub async fn fail_over(&self) {
        let before = self.master().await.address();
        let mut order = redis::cmd("SENTINEL");
        order.arg("FAILOVER").arg(Self::MASTER_NAME);
        until(
            AGREEMENT_LIMIT,
            "a Sentinel that begins a failover",
            || async {
                let answer = self.sentinels[0].try_query::<()>(&order).await;
                answer.map_err(|error| error.to_string())
            },
        )
        .await;
        self.await_master_other_than(before).await;
    }

    /// Waits until the Sentinels agree on another master than this one, and it takes writes: after
    /// the master was killed or paused.
    pub async fn await_master_other_than(&self, before: SocketAddr) -> &Redis {
        until(AGREEMENT_LIMIT, "another master", || async {
            let master = self.agreed_master().await?;
            if master.address() == before {
                return Err(format!("it is still {before}"));
            }
            if !master.info("replication").await?.contains("role:master") {
                return Err(format!("{} is not a master yet", master.url()));
            }
            Ok(master)
        })
        .await
    }

    /// Waits until every Sentinel sees one master with one connected replica and two other
    /// Sentinels.
    pub async fn await_health(&self) {
        until(AGREEMENT_LIMIT, "the Sentinels' agreement", || async {
            let master = self.agreed_master().await?;
            let replication = master.info("replication").await?;
            if !replication.contains("role:master") || !replication.contains(",state=online,") {
                return Err(format!("the master says {replication}"));
            }
            for sentinel in &self.sentinels {
                let told = sentinel.info("sentinel").await?;
                let wanted = format!("slaves=1,sentinels={SENTINELS}");
                if !told.contains("status=ok,") || !told.contains(&wanted) {
                    return Err(format!("{} says {told}", sentinel.url()));
                }
            }
            Ok(())
        })
        .await;
    }
}
