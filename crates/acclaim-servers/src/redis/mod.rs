//! Redis: one server, and what the topologies of several are made of.
//!
//! A node of a cluster, a replica and a Sentinel are the same program with another configuration,
//! so each is a [`Redis`] with all its verbs.

mod cluster;
mod options;
mod sentinel;

use std::process::Command;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, TlsCertificates};

pub use cluster::{RedisCluster, SLOTS, SlotMove};
pub use options::{AppendFsync, RedisOptions};
pub use sentinel::RedisSentinel;

use crate::certificate::Certificates;
use crate::place::Place;
use crate::server::{Program, Server, clean_command, find_program};
use crate::start::Configured;
use options::Credentials;

/// How long the harness itself waits for an answer to one command.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long one attempt at a start may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(1);
const CONFIGURATION_FILE: &str = "redis.conf";

/// A Redis server, by itself or as a part of a [`RedisCluster`] or a [`RedisSentinel`].
pub type Redis = Server<RedisProgram>;

/// What is particular to Redis.
#[derive(Debug)]
pub struct RedisProgram {
    options: RedisOptions,
    role: Role,
    certificates: Option<Certificates>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Data,
    /// A node of a cluster; its bus has the second port.
    Node,
    Sentinel,
}

impl RedisProgram {
    fn new(options: RedisOptions, role: Role) -> Self {
        Self {
            certificates: Certificates::wanted(options.tls),
            options,
            role,
        }
    }

    fn url(&self, port: u16) -> String {
        let scheme = if self.options.tls { "rediss" } else { "redis" };
        let user = match &self.options.credentials {
            Credentials::Anybody => String::new(),
            Credentials::Password(password) => format!(":{password}@"),
            Credentials::User { name, password } => format!("{name}:{password}@"),
        };
        format!("{scheme}://{user}127.0.0.1:{port}")
    }

    fn client(&self, port: u16) -> redis::RedisResult<Client> {
        match &self.certificates {
            None => Client::open(self.url(port)),
            Some(certificates) => Client::build_with_tls(
                self.url(port),
                TlsCertificates {
                    client_tls: None,
                    root_cert: Some(certificates.authority_pem().into()),
                },
            ),
        }
    }

    async fn connect(
        &self,
        port: u16,
        limit: Duration,
    ) -> redis::RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit));
        self.client(port)?
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
}

impl Program for RedisProgram {
    const NAME: &'static str = "redis";
    const PORTS: usize = 2;

    async fn prepare(&self, place: &Place) -> Result<(), String> {
        let mut configuration = self.options.configuration(place.port());
        if self.role == Role::Node {
            configuration.push_str(&format!("cluster-port {}\n", place.further_port(1)));
        }
        let written = || {
            if let Some(certificates) = &self.certificates {
                certificates.write_to(place.directory())?;
            }
            std::fs::write(place.directory().join(CONFIGURATION_FILE), configuration)
        };
        written().map_err(|error| error.to_string())
    }

    fn command(&self, place: &Place) -> Result<Command, String> {
        let mut command = clean_command(find_program("redis-server")?);
        command.arg(place.directory().join(CONFIGURATION_FILE));
        if self.role == Role::Sentinel {
            command.arg("--sentinel");
        }
        Ok(command)
    }

    async fn ask(&self, place: &Place) -> Result<(), String> {
        let ping = async {
            let mut connection = self.connect(place.port(), ATTEMPT_LIMIT).await?;
            let pong: String = redis::cmd("PING").query_async(&mut connection).await?;
            Ok(pong)
        };
        match ping.await {
            Ok(pong) if pong == "PONG" => Ok(()),
            Ok(other) => Err(format!("PING was answered with {other:?}")),
            Err(error) => {
                let error: redis::RedisError = error;
                Err(format!("PING: {error}"))
            }
        }
    }
}

impl Configured for RedisProgram {
    type Options = RedisOptions;

    fn with(options: RedisOptions) -> Self {
        Self::new(options, Role::Data)
    }
}

impl Server<RedisProgram> {
    /// Starts several at once.
    async fn start_all(options: Vec<RedisOptions>, role: Role) -> Vec<Self> {
        let tasks: Vec<_> = options
            .into_iter()
            .map(|options| tokio::spawn(Self::launch(RedisProgram::new(options, role))))
            .collect();
        let mut started = Vec::with_capacity(tasks.len());
        for task in tasks {
            match task.await {
                Ok(Ok(redis)) => started.push(redis),
                Ok(Err(failure)) => panic!("{failure}"),
                Err(error) => panic!("a start was given up: {error}"),
            }
        }
        started
    }

    /// `redis://…` or `rediss://…`, with user and password.
    pub fn url(&self) -> String {
        self.program.url(self.place.port())
    }

    /// What a client has to trust, where it speaks TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.program.certificates.as_ref()
    }

    /// A client of it that trusts its certificates.
    pub fn client(&self) -> Client {
        match self.program.client(self.place.port()) {
            Ok(client) => client,
            Err(error) => panic!("no client for {}: {error}", self.url()),
        }
    }

    /// A new connection; its commands fail after 5 s.
    pub async fn try_connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        self.program.connect(self.place.port(), ANSWER_LIMIT).await
    }

    /// One command on a new connection, with failure as an answer.
    pub async fn try_query<T: FromRedisValue>(&self, command: &Cmd) -> redis::RedisResult<T> {
        command.query_async(&mut self.try_connect().await?).await
    }

    /// One command on a new connection.
    ///
    /// # Panics
    /// If it fails.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> T {
        match self.try_query(command).await {
            Ok(answer) => answer,
            Err(error) => {
                let command = String::from_utf8_lossy(&command.get_packed_command()).into_owned();
                panic!("{} to {command:?}: {error}", self.url())
            }
        }
    }

    /// `FLUSHALL`.
    pub async fn flush_all(&self) {
        self.query::<()>(redis::cmd("FLUSHALL").arg("SYNC")).await;
    }

    /// A section of `INFO` as it is written: lines of `name:value`.
    async fn info(&self, section: &str) -> Result<String, String> {
        let answer = self.try_query(redis::cmd("INFO").arg(section)).await;
        answer.map_err(|error| format!("{}: INFO {section}: {error}", self.url()))
    }
}
