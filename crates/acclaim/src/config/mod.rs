//! The configuration: values, where each came from, and the one table that describes them.
//!
//! A flag beats the environment, which beats the file, which beats the default. The table in
//! [`keys`] is the only place that knows a key's name, unit, range, default and meaning; reading
//! the file and the environment, the listing of `acclaim config` and the reference all follow
//! from it. The kinds (`[kinds.NAME]`) are the one section with names of the user's own.

mod keys;
mod kinds;
mod load;
mod reference;
mod value;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use acclaim_bus::url::DEAD_SUFFIX;
use acclaim_bus::{BusUrl, BusUrlError};
use acclaim_cluster::engine::ClusterLimits;
use acclaim_cluster::ledger::Bounds;
use acclaim_cluster::ledger::store::DEFAULT_PARTITIONS;
use acclaim_cluster::redis::connection::RedisLimits;
use acclaim_cluster::worker::{BusConfig, WorkerLimits};
use acclaim_core::notify::{NotificationLimits, Settings, WebhookLimits};
use acclaim_core::{Kind, Kinds};

pub use keys::without_password;
pub use load::{ConfigError, Loaded, Override, load};
pub use reference::reference;

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The words of the formats.
    pub const WORDS: &'static [&'static str] = &["auto", "text", "json"];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    /// The format of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Auto, Self::Text, Self::Json];
        all.into_iter().find(|format| format.word() == word)
    }
}

/// Which engine decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineName {
    /// Alone on this machine.
    Embedded,
    /// On Redis and a ledger.
    Cluster,
}

impl EngineName {
    /// The words of the engines.
    pub const WORDS: &'static [&'static str] = &["embedded", "cluster"];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Cluster => "cluster",
        }
    }

    /// The engine of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Embedded, Self::Cluster];
        all.into_iter().find(|engine| engine.word() == word)
    }
}

/// `[server]`: what concerns the process as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Which engine decides.
    pub engine: EngineName,
    /// The directory of the embedded store.
    pub data: PathBuf,
    /// Threads that answer requests; 0 takes one a processor.
    pub worker_threads: usize,
    /// How logs are written.
    pub log_format: LogFormat,
    /// The least level that is logged.
    pub log_level: tracing::Level,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7700)),
            engine: EngineName::Embedded,
            data: PathBuf::from("./acclaim-data"),
            worker_threads: 0,
            log_format: LogFormat::Auto,
            log_level: tracing::Level::INFO,
        }
    }
}

/// `[cluster]`, `[redis]`, `[ledger]` and `[worker]`: the cluster engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The URL of Redis; empty where none was given.
    pub redis: String,
    /// The URL of the ledger; empty where none was given.
    pub ledger: String,
    /// The URLs of the ledger's replicas.
    pub replicas: Vec<String>,
    /// The name of this node; empty makes one.
    pub node: String,
    /// Partitions of a new store.
    pub partitions: u16,
    /// Whether `serve` runs a worker.
    pub worker: bool,
    /// How long a start waits for servers, in seconds.
    pub start_wait_seconds: u64,
    /// The engine's limits.
    pub limits: ClusterLimits,
    /// Bounds on calls to Redis.
    pub redis_limits: RedisLimits,
    /// Bounds on the ledger's statements.
    pub ledger_bounds: Bounds,
    /// Bounds on the worker.
    pub worker_limits: WorkerLimits,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            redis: String::new(),
            ledger: String::new(),
            replicas: Vec::new(),
            node: String::new(),
            partitions: DEFAULT_PARTITIONS,
            worker: true,
            start_wait_seconds: 30,
            limits: ClusterLimits::default(),
            redis_limits: RedisLimits::default(),
            ledger_bounds: Bounds::default(),
            worker_limits: WorkerLimits::default(),
        }
    }
}

/// `[bus]`: the message queue that carries events from the workers to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bus {
    /// Its URL; empty where there is none.
    pub url: String,
    /// The topic; empty where the URL says it.
    pub topic: String,
    /// The group whose consumers write the ledger.
    pub group: String,
    /// Events of one batch.
    pub batch_max_events: usize,
    /// How long a batch is waited for, in milliseconds.
    pub batch_max_millis: u64,
    /// Consumers in one process with a worker.
    pub recorders: usize,
    /// Bounds of the client.
    pub limits: acclaim_bus::Limits,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            url: String::new(),
            topic: String::new(),
            group: "acclaim-ledger".to_owned(),
            batch_max_events: acclaim_bus::limits::MAX_BATCH_EVENTS,
            batch_max_millis: acclaim_bus::limits::DEFAULT_BATCH_WAIT_MILLIS,
            recorders: 2,
            limits: acclaim_bus::Limits::default(),
        }
    }
}

impl Bus {
    /// How the cluster uses it; nothing where there is none.
    ///
    /// # Errors
    /// The part of the URL that is wrong.
    pub fn config(&self) -> Result<Option<BusConfig>, BusUrlError> {
        if self.url.is_empty() {
            return Ok(None);
        }
        let mut url = BusUrl::parse(&self.url)?;
        if !self.topic.is_empty() {
            // The dead letters go along with their topic, unless they have one of their own.
            if url.dead_topic == format!("{}{DEAD_SUFFIX}", url.topic) {
                url.dead_topic = format!("{}{DEAD_SUFFIX}", self.topic);
            }
            url.topic.clone_from(&self.topic);
        }
        Ok(Some(BusConfig {
            url,
            group: self.group.clone(),
            limits: self.limits.clone(),
            batch_max_events: self.batch_max_events,
            batch_max_millis: self.batch_max_millis,
            recorders: self.recorders,
        }))
    }
}

/// Everything that can be configured.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[http]`.
    pub http: acclaim_http::Limits,
    /// `[engine]`.
    pub engine: acclaim_engine::embedded::Options,
    /// `[notifications]`.
    pub notifications: NotificationLimits,
    /// `[webhooks]`.
    pub webhooks: WebhookLimits,
    /// `[cluster]` and what belongs to it.
    pub cluster: Cluster,
    /// `[bus]`.
    pub bus: Bus,
    /// `[kinds.NAME]`, in the order of their names.
    pub kinds: Vec<Kind>,
}

impl Config {
    /// What concerns notifications and webhooks.
    pub fn notify(&self) -> Settings {
        Settings {
            notifications: self.notifications.clone(),
            webhooks: self.webhooks.clone(),
        }
    }

    /// The kinds of this server, the built-in ones among them.
    ///
    /// # Errors
    /// When they contradict each other or are too many.
    pub fn kinds(&self) -> Result<Kinds, ConfigError> {
        Kinds::new(self.kinds.iter().cloned()).map_err(|e| ConfigError::Kinds(e.to_string()))
    }
}
