//! One Redis server: a connection that all calls share, made anew when it breaks or hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, ServerErrorKind, Value,
};

use super::error::RedisError;

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedisLimits {
    /// For a connection, milliseconds.
    pub connect_timeout_millis: u64,
    /// For an answer, milliseconds. After it the outcome is unknown.
    pub response_timeout_millis: u64,
    /// After so many calls in a row without an answer the connection is made anew: a server that
    /// hung and came back is not noticed otherwise.
    pub max_timeouts_in_row: u32,
}

impl Default for RedisLimits {
    fn default() -> Self {
        Self {
            connect_timeout_millis: 1_000,
            response_timeout_millis: 1_000,
            max_timeouts_in_row: 3,
        }
    }
}

/// What a server said instead of an answer.
#[derive(Debug)]
pub enum Refusal {
    /// It does not know the script.
    NoScript,
    /// The call has no answer.
    Failed(RedisError),
}

/// A server.
pub struct Node {
    address: String,
    client: Client,
    limits: RedisLimits,
    link: ArcSwapOption<MultiplexedConnection>,
    connecting: tokio::sync::Mutex<()>,
    timeouts: AtomicU32,
}

impl Node {
    /// A server that is not connected to yet.
    ///
    /// # Errors
    /// [`RedisError::Unavailable`] when the address cannot be used.
    pub fn new(info: ConnectionInfo, limits: RedisLimits) -> Result<Self, RedisError> {
        let address = info.addr().to_string();
        let client = Client::open(info).map_err(|error| unavailable(&address, &error))?;
        Ok(Self {
            address,
            client,
            limits,
            link: ArcSwapOption::empty(),
            connecting: tokio::sync::Mutex::new(()),
            timeouts: AtomicU32::new(0),
        })
    }

    /// Sends a command and waits for its answer, both within the limits.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn send(&self, cmd: &Cmd) -> Result<Value, Refusal> {
        let mut link = self.link().await.map_err(Refusal::Failed)?;
        let answer = cmd.query_async::<Value>(&mut link).await;
        self.judge(answer)
    }

    async fn link(&self) -> Result<MultiplexedConnection, RedisError> {
        if let Some(link) = self.link.load().as_deref() {
            return Ok(link.clone());
        }
        let wait = Duration::from_millis(self.limits.connect_timeout_millis);
        let timeout = || RedisError::Unavailable {
            address: self.address.clone(),
            reason: format!("no connection within {} ms", wait.as_millis()),
        };
        let connect = async {
            let _one = self.connecting.lock().await;
            if let Some(link) = self.link.load().as_deref() {
                return Ok(link.clone());
            }
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(wait))
                .set_response_timeout(Some(self.response_timeout()));
            let link = self
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await
                .map_err(|error| unavailable(&self.address, &error))?;
            self.link.store(Some(Arc::new(link.clone())));
            Ok(link)
        };
        tokio::time::timeout(wait, connect)
            .await
            .unwrap_or_else(|_| Err(timeout()))
    }

    fn response_timeout(&self) -> Duration {
        Duration::from_millis(self.limits.response_timeout_millis)
    }

    fn judge(&self, answer: redis::RedisResult<Value>) -> Result<Value, Refusal> {
        let error = match answer {
            Ok(answer) => {
                self.timeouts.store(0, Ordering::Relaxed);
                return Ok(answer);
            }
            Err(error) => error,
        };
        let address = self.address.clone();
        if error.is_timeout() {
            let in_row = self.timeouts.fetch_add(1, Ordering::Relaxed) + 1;
            if in_row >= self.limits.max_timeouts_in_row {
                self.timeouts.store(0, Ordering::Relaxed);
                self.link.store(None);
            }
            let waited = self.response_timeout();
            return Err(Refusal::Failed(RedisError::Timeout { address, waited }));
        }
        if error.is_io_error() || error.is_connection_dropped() {
            self.link.store(None);
            let reason = error.to_string();
            return Err(Refusal::Failed(RedisError::Lost { address, reason }));
        }
        self.timeouts.store(0, Ordering::Relaxed);
        Err(self.judge_answer(&error))
    }

    /// What the server itself said.
    fn judge_answer(&self, error: &redis::RedisError) -> Refusal {
        let address = self.address.clone();
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoScript) => Refusal::NoScript,
            ErrorKind::Server(
                ServerErrorKind::ReadOnly
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask,
            ) => Refusal::Failed(unavailable(&address, error)),
            _ if error.code() == Some("OOM") => {
                Refusal::Failed(RedisError::OutOfMemory { address })
            }
            _ if error.code() == Some("NOREPLICAS") => {
                Refusal::Failed(unavailable(&address, error))
            }
            _ => Refusal::Failed(RedisError::Server {
                address,
                reason: error.to_string(),
            }),
        }
    }
}

pub(super) fn unavailable(address: &str, error: &redis::RedisError) -> RedisError {
    RedisError::Unavailable {
        address: address.to_owned(),
        reason: error.to_string(),
    }
}

impl From<Refusal> for RedisError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Failed(error) => error,
            Refusal::NoScript => Self::Unavailable {
                address: "redis".to_owned(),
                reason: "it forgets its scripts as soon as they are loaded".to_owned(),
            },
        }
    }
}
