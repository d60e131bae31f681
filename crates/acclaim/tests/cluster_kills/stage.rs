//! A cluster of processes: two that serve, one that works, a Redis that flushes before it answers,
//! a MariaDB that flushes before it commits, and a Kafka between the two where it is asked for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use acclaim_servers::{AppendFsync, Database, Kafka, MariaDb, Redis, RedisOptions, until};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::{Process, binary};

/// Long enough for anything that must happen, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Processes and servers.
pub struct Stage {
    /// Takes the load.
    pub serve: Option<Process>,
    /// Serves beside it, and is never killed: what one node acknowledged is looked at on the other.
    pub other: Option<Process>,
    pub worker: Option<Process>,
    pub redis: Redis,
    pub mariadb: MariaDb,
    /// The bus that carries the events into the ledger.
    pub kafka: Option<Kafka>,
    database: Database,
    home: tempfile::TempDir,
}

impl Stage {
    /// All of them but a bus, ready.
    pub async fn begin() -> Self {
        Self::with(None).await
    }

    /// All of them, ready.
    pub async fn with_bus() -> Self {
        Self::with(Some(Kafka::start().await)).await
    }

    async fn with(kafka: Option<Kafka>) -> Self {
        let options = RedisOptions::default().append_only(AppendFsync::Always);
        let (redis, mariadb) = tokio::join!(Redis::start_with(options), MariaDb::start());
        let database = mariadb.database().await;
        let mut stage = Self {
            serve: None,
            other: None,
            worker: None,
            redis,
            mariadb,
            kafka,
            database,
            home: tempfile::tempdir().unwrap(),
        };
        stage.write_configuration();
        stage.start_worker();
        stage.start_serve();
        stage.other = Some(Process::start("serve", &stage.config()));
        stage
    }

    /// Few partitions, leases that nobody who was killed leaves for long, and reads that wait
    /// rather than answer with what is old. Who is killed says so by ending its connections; a busy
    /// machine that is slow to flush has time.
    fn write_configuration(&self) {
        let text = format!(
            r#"[server]
engine = "cluster"
[kinds.dislikes]
excludes = ["likes"]
[cluster]
redis = "{}"
ledger = "{}"
partitions = 4
worker = false
start_wait_seconds = 30
read_wait_max_millis = 25000
job_lease_millis = 2000
job_step_edges = 3
notifications_lease_millis = 1000
[redis]
response_timeout_millis = 10000
call_timeout_millis = 20000
[worker]
lease_millis = 1000
lease_renew_millis = 200
lease_retry_millis = 50
retry_longest_pause_millis = 200
[notifications]
max_told_per_hour = 1000000
[webhooks]
allow_private_addresses = true
queue_max_deliveries = 1000000
retry_first_millis = 50
"#,
            self.redis.url(),
            self.database.url()
        );
        std::fs::write(self.config(), text + &self.bus_section()).unwrap();
    }

    /// A bus whose dead members are missed as soon as a broker allows.
    fn bus_section(&self) -> String {
        let Some(kafka) = &self.kafka else {
            return String::new();
        };
        format!(
            r#"[bus]
url = "{}?topic={}&partitions=3"
session_timeout_millis = 6000
publish_timeout_millis = 5000
"#,
            kafka.url(),
            kafka.topic()
        )
    }

    pub fn config(&self) -> PathBuf {
        self.home.path().join("acclaim.toml")
    }

    pub fn start_serve(&mut self) {
        self.serve = Some(Process::start("serve", &self.config()));
    }

    pub fn start_worker(&mut self) {
        self.worker = Some(Process::start("worker", &self.config()));
    }

    /// Waits until every node has its servers, and the ledger has everything.
    pub async fn rest(&self) {
        let servers = 2 + usize::from(self.kafka.is_some());
        for process in [&self.serve, &self.other].into_iter().flatten() {
            let address = process.address;
            until(SOON, "a node to be ready", || async move {
                let ready = ready(address).await.map_err(|error| error.to_string())?;
                let (_, body) = ready.split_once("\r\n\r\n").unwrap_or_default();
                let json: Value = serde_json::from_str(body).unwrap_or_default();
                let states: Vec<_> = json["dependencies"]
                    .as_array()
                    .map(|all| all.iter().map(|one| one["state"].clone()).collect())
                    .unwrap_or_default();
                if states.len() >= servers && states.iter().all(|state| state == "up") {
                    Ok(())
                } else {
                    Err(ready)
                }
            })
            .await;
        }
    }

    /// Runs `acclaim check`.
    ///
    /// # Panics
    /// When it finds anything.
    pub fn check_is_clean(&self) {
        let check = Command::new(binary())
            .args(["check", "--config"])
            .arg(self.config())
            .output()
            .unwrap();
        assert!(check.status.success(), "acclaim check: {check:#?}");
        let told = String::from_utf8_lossy(&check.stderr);
        assert!(told.contains("mismatches 0"), "{told}");
    }
}

/// Whether a node is the one that folds notifications and delivers them.
pub async fn is_on_duty(address: SocketAddr) -> bool {
    let metrics = told(address, "/metrics").await.unwrap();
    metrics.contains("acclaim_notifications_on_duty 1\n")
}

/// What a node says of itself.
async fn ready(address: SocketAddr) -> std::io::Result<String> {
    told(address, "/ready").await
}

async fn told(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
