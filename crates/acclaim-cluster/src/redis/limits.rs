//! Every bound on a call to Redis.

use std::time::Duration;

/// How long to wait for what, and how much may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedisLimits {
    /// For a connection, milliseconds.
    pub connect_timeout_millis: u64,
    /// For an answer to what was sent, milliseconds. After it the outcome is unknown.
    pub response_timeout_millis: u64,
    /// For a call with everything that is done for it: connections, redirections, waiting for a
    /// failover, sending again what was certainly not carried out. Milliseconds; never less than
    /// twice the response timeout. Nothing is sent where less than the response timeout is left.
    pub call_timeout_millis: u64,
    /// After so many calls in a row without an answer the connection is made anew: a server that
    /// hung and came back is not noticed otherwise.
    pub max_timeouts_in_row: u32,
    /// How long a server that could not be connected to is not tried again, milliseconds.
    pub reconnect_pause_millis: u64,
    /// How many calls (a pipeline counts as one) one server is sent at once; further ones wait, so
    /// that a slow server holds no more of this process than that.
    pub max_in_flight_calls: u32,
    /// How many calls are sent in one pipeline.
    pub max_pipeline_calls: usize,
    /// How often the nodes of a Cluster or the Sentinels are asked who is master, milliseconds.
    /// They are also asked whenever a call fails.
    pub topology_interval_millis: u64,
}

impl Default for RedisLimits {
    fn default() -> Self {
        Self {
            connect_timeout_millis: 1_000,
            response_timeout_millis: 1_000,
            call_timeout_millis: 3_000,
            max_timeouts_in_row: 3,
            reconnect_pause_millis: 50,
            max_in_flight_calls: 256,
            max_pipeline_calls: 128,
            topology_interval_millis: 1_000,
        }
    }
}

impl RedisLimits {
    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_millis)
    }

    pub(super) fn response_timeout(&self) -> Duration {
        Duration::from_millis(self.response_timeout_millis)
    }

    pub(super) fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_millis).max(2 * self.response_timeout())
    }

    pub(super) fn reconnect_pause(&self) -> Duration {
        Duration::from_millis(self.reconnect_pause_millis)
    }

    pub(super) fn topology_interval(&self) -> Duration {
        Duration::from_millis(self.topology_interval_millis.max(1))
    }
}
