//! The limits of the server as a machine. Those of the contract are in [`acclaim_core::limits`].

use std::time::Duration;

/// Every limit of the HTTP server, with its unit in its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. One more is answered 503 and closed.
    pub max_connections: usize,
    /// Requests being answered at once. One more is answered 503 before its body is read.
    /// `/health`, `/ready` and `/metrics` are not counted.
    pub max_requests_in_flight: usize,
    /// Bytes of a request's head.
    pub max_head_bytes: usize,
    /// Bytes of a body; `/import` streams and has no such limit.
    pub max_body_bytes: usize,
    /// From the first byte of a request until its head is complete, in milliseconds.
    pub head_timeout_millis: u64,
    /// How long the next part of a body may take, in milliseconds.
    pub body_timeout_millis: u64,
    /// From the head of a request until its answer begins, its body included, in milliseconds.
    /// Imports are exempt.
    pub request_timeout_millis: u64,
    /// How long a connection may be silent between requests, in milliseconds.
    pub idle_timeout_millis: u64,
    /// How long a client may take no byte of an answer that waits for it, in milliseconds.
    pub write_stall_timeout_millis: u64,
    /// How long requests under way may take to end when the server stops, in milliseconds.
    pub stop_timeout_millis: u64,
    /// Subscribers of `/events` at once.
    pub max_event_subscribers: usize,
    /// How long a subscriber may take none of the events that wait for it before it is dropped,
    /// in milliseconds. Shorter than the write stall, so that the stream can end with a reason.
    pub max_event_lag_millis: u64,
    /// A silent event stream gets a comment this often, in milliseconds.
    pub event_keep_alive_millis: u64,
    /// Lines of an import that are written together.
    pub import_batch_ops: usize,
    /// Batches of an import under way at once.
    pub max_import_batches_in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 8_192,
            max_requests_in_flight: 4_096,
            max_head_bytes: 32 * 1024,
            max_body_bytes: 1024 * 1024,
            head_timeout_millis: 10_000,
            body_timeout_millis: 10_000,
            request_timeout_millis: 30_000,
            idle_timeout_millis: 75_000,
            write_stall_timeout_millis: 30_000,
            stop_timeout_millis: 8_000,
            max_event_subscribers: 1_024,
            max_event_lag_millis: 10_000,
            event_keep_alive_millis: 15_000,
            import_batch_ops: 2_000,
            max_import_batches_in_flight: 4,
        }
    }
}

/// A limit that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {given}; it must be at least {least}")]
pub struct BadLimit {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub given: u64,
    /// The least that works.
    pub least: u64,
}

impl Limits {
    /// Checks that every limit is one that a server can work with.
    ///
    /// # Errors
    /// [`BadLimit`] for the first that is too small.
    pub fn check(&self) -> Result<(), BadLimit> {
        let all = [
            ("max_connections", self.max_connections as u64, 1),
            (
                "max_requests_in_flight",
                self.max_requests_in_flight as u64,
                1,
            ),
            // hyper's smallest buffer.
            ("max_head_bytes", self.max_head_bytes as u64, 8_192),
            ("max_body_bytes", self.max_body_bytes as u64, 1),
            ("head_timeout_millis", self.head_timeout_millis, 1),
            ("body_timeout_millis", self.body_timeout_millis, 1),
            ("request_timeout_millis", self.request_timeout_millis, 1),
            ("idle_timeout_millis", self.idle_timeout_millis, 1),
            (
                "write_stall_timeout_millis",
                self.write_stall_timeout_millis,
                1,
            ),
            ("event_keep_alive_millis", self.event_keep_alive_millis, 1),
            ("max_event_lag_millis", self.max_event_lag_millis, 1),
            ("import_batch_ops", self.import_batch_ops as u64, 1),
            (
                "max_import_batches_in_flight",
                self.max_import_batches_in_flight as u64,
                1,
            ),
        ];
        match all.into_iter().find(|(_, given, least)| given < least) {
            Some((name, given, least)) => Err(BadLimit { name, given, least }),
            None => Ok(()),
        }
    }

    pub(crate) fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_millis)
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_and_zero_does_not() {
        assert_eq!(Limits::default().check(), Ok(()));
        let none = Limits {
            max_connections: 0,
            ..Limits::default()
        };
        assert!(
            none.check()
                .unwrap_err()
                .to_string()
                .contains("max_connections is 0")
        );
        let defaults = Limits::default();
        assert!(defaults.max_event_lag_millis < defaults.write_stall_timeout_millis);
    }
}
