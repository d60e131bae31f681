//! The connection to one Redis server: every call bounded in time, scripts loaded by themselves.
//!
//! A call is sent again only when the server said that it did nothing with it. One that timed out
//! or lost its connection is not: its outcome is unknown, and a toggle carried out twice would be
//! worse.

use redis::{Client, Cmd, IntoConnectionInfo, Value};

use super::error::RedisError;
use super::keys::Partition;
pub use super::node::RedisLimits;
use super::node::{Node, Refusal, unavailable};
use super::script::{Call, Script};

/// One Redis.
pub struct Redis {
    node: Node,
}

impl Redis {
    /// Connects to the server that a URL names.
    ///
    /// # Errors
    /// [`RedisError::Unavailable`] when the URL is none or nothing answers there.
    pub async fn open(url: &str, limits: RedisLimits) -> Result<Self, RedisError> {
        let info = Client::open(url)
            .and_then(|client| client.get_connection_info().clone().into_connection_info())
            .map_err(|error| unavailable(url, &error))?;
        let redis = Self {
            node: Node::new(info, limits)?,
        };
        Ok(redis)
    }

    /// Calls a script, loading it first where the server does not know it.
    pub(super) async fn call(&self, call: &Call) -> Result<Value, RedisError> {
        match self.node.send(&call.cmd).await {
            Ok(value) => Ok(value),
            Err(Refusal::NoScript) => {
                self.load_script(call.script).await?;
                self.node.send(&call.cmd).await.map_err(Into::into)
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Sends a command about keys of a partition.
    pub(super) async fn command(
        &self,
        _partition: Partition,
        cmd: &Cmd,
    ) -> Result<Value, RedisError> {
        self.node.send(cmd).await.map_err(Into::into)
    }

    async fn load_script(&self, script: &Script) -> Result<(), RedisError> {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(script.source);
        self.node.send(&load).await?;
        Ok(())
    }
}
