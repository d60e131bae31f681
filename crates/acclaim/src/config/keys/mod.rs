//! The table of keys: the one place that knows a key's name, range, unit, default and meaning.
//!
//! The default is what [`Config::default`] has, so it is written once.

use super::value::{Allowed, Value};
use super::{Config, EngineName, LogFormat};

/// The sections of the table, in the order in which they are shown.
pub(super) const SECTIONS: [(&str, &str); 10] = [
    ("server", "The process as a whole."),
    ("http", "Limits of the HTTP server."),
    ("engine", "Limits of the embedded engine."),
    (
        "notifications",
        "What owners are told, on the embedded engine.",
    ),
    ("webhooks", "Where notifications are delivered, and how."),
    (
        "cluster",
        "The cluster engine: where its servers are, and its limits.",
    ),
    (
        "redis",
        "Limits of each call to Redis, of the cluster engine.",
    ),
    (
        "ledger",
        "Limits of each statement of the ledger, of the cluster engine.",
    ),
    (
        "worker",
        "Limits of the worker, which moves events from Redis into the ledger.",
    ),
    (
        "bus",
        "The message queue that carries events from the workers to the ledger and to others, of the cluster engine.",
    ),
];

/// One key.
pub(super) struct Key {
    /// `section.key`; the unit is the last word.
    pub name: &'static str,
    /// What values it takes.
    pub allowed: Allowed,
    /// What it is for.
    pub meaning: &'static str,
    /// Its value.
    pub get: fn(&Config) -> Value,
    /// Sets an allowed value; false when it is none after all.
    pub set: fn(&mut Config, Value) -> bool,
}

impl Key {
    pub(super) fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    pub(super) fn short_name(&self) -> &'static str {
        self.name
            .split_once('.')
            .map_or(self.name, |(_, name)| name)
    }
}

/// All keys.
pub(super) fn keys() -> impl Iterator<Item = Key> {
    let embedded = server().into_iter().chain(http()).chain(engine());
    let cluster = cluster::keys().chain(bus::keys());
    embedded.chain(notify::keys()).chain(cluster)
}

/// A key that is a whole number in its Rust type, whichever that is.
macro_rules! integer {
    ($section:ident . $field:ident, $allowed:ident($range:expr), $meaning:literal) => {
        integer!($section.$field at $section.$field, $allowed($range), $meaning)
    };
    // A key that lies deeper in the configuration than its name says.
    ($section:ident . $field:ident at $($place:ident).+, $allowed:ident($range:expr), $meaning:literal) => {
        Key {
            name: concat!(stringify!($section), ".", stringify!($field)),
            allowed: Allowed::$allowed($range),
            meaning: $meaning,
            get: |config| {
                // No number of the configuration is wider than 64 bits.
                Value::Integer(config.$($place).+.try_into().unwrap_or(u64::MAX))
            },
            set: |config, value| match value {
                Value::Integer(number) => match number.try_into() {
                    Ok(number) => {
                        config.$($place).+ = number;
                        true
                    }
                    Err(_) => false,
                },
                _ => false,
            },
        }
    };
}

/// A key that is a time-out in milliseconds.
macro_rules! millis {
    ($name:literal at $($place:ident).+, $range:expr, $meaning:literal) => {
        Key {
            name: $name,
            allowed: Allowed::Integer($range),
            meaning: $meaning,
            get: |config| {
                // Set from 64 bits, so it fits them.
                Value::Integer(config.$($place).+.as_millis().try_into().unwrap_or(u64::MAX))
            },
            set: |config, value| match value {
                Value::Integer(number) => {
                    config.$($place).+ = std::time::Duration::from_millis(number);
                    true
                }
                _ => false,
            },
        }
    };
}

/// A key that is a text which reads as its Rust type.
macro_rules! text {
    ($section:ident . $field:ident, $allowed:expr, $meaning:literal, $show:expr, $read:expr) => {
        Key {
            name: concat!(stringify!($section), ".", stringify!($field)),
            allowed: $allowed,
            meaning: $meaning,
            get: |config| Value::Text($show(&config.$section.$field)),
            set: |config, value| match value {
                Value::Text(text) => match $read(&text) {
                    Some(read) => {
                        config.$section.$field = read;
                        true
                    }
                    None => false,
                },
                _ => false,
            },
        }
    };
}

/// A key that is true or false.
macro_rules! switch {
    ($section:ident . $field:ident, $meaning:literal) => {
        Key {
            name: concat!(stringify!($section), ".", stringify!($field)),
            allowed: Allowed::Switch,
            meaning: $meaning,
            get: |config| Value::Switch(config.$section.$field),
            set: |config, value| match value {
                Value::Switch(on) => {
                    config.$section.$field = on;
                    true
                }
                _ => false,
            },
        }
    };
}

// After the macros, which they use.
mod bus;
mod cluster;
mod notify;

pub use cluster::without_password;

fn server() -> Vec<Key> {
    vec![
        text!(
            server.listen,
            Allowed::Text("an address and a port, such as 127.0.0.1:7700"),
            "Where it listens; port 0 takes a free one. Without authentication only loopback addresses. Flag `--listen`.",
            |address: &std::net::SocketAddr| address.to_string(),
            |text: &str| text.parse().ok()
        ),
        text!(
            server.engine,
            Allowed::Word(EngineName::WORDS),
            "Which engine decides: `embedded` alone on this machine, `cluster` on Redis and a ledger. Flag `--engine`.",
            |engine: &EngineName| engine.word().to_owned(),
            EngineName::of_word
        ),
        text!(
            server.data,
            Allowed::Text("a directory"),
            "The directory of the embedded store. Flag `--data`.",
            |path: &std::path::PathBuf| path.display().to_string(),
            |text: &str| (!text.is_empty()).then(|| text.into())
        ),
        integer!(
            server.worker_threads,
            Integer(0..=1024),
            "Threads that answer requests. 0 takes one a processor."
        ),
        text!(
            server.log_format,
            Allowed::Word(LogFormat::WORDS),
            "How logs are written to standard error. `auto` is text on a terminal and JSON otherwise. Flag `--log-format`.",
            |format: &LogFormat| format.word().to_owned(),
            LogFormat::of_word
        ),
        text!(
            server.log_level,
            Allowed::Word(&["error", "warn", "info", "debug", "trace"]),
            "The least level that is logged. Flag `--log-level`.",
            |level: &tracing::Level| level.to_string().to_ascii_lowercase(),
            |text: &str| text.parse().ok()
        ),
    ]
}

/// A week, in milliseconds: no time-out is longer.
const MAX_MILLIS: u64 = 7 * 24 * 3600 * 1000;

fn http() -> Vec<Key> {
    vec![
        integer!(
            http.max_connections,
            Integer(1..=1_000_000),
            "Connections at once. One more is answered 503 and closed."
        ),
        integer!(
            http.max_requests_in_flight,
            Integer(1..=1_000_000),
            "Requests being answered at once. One more is answered 503 before its body is read."
        ),
        integer!(
            http.max_head_bytes,
            Bytes(8_192..=1 << 20),
            "The head of a request."
        ),
        integer!(
            http.max_body_bytes,
            Bytes(1..=1 << 30),
            "The body of a request. `/import` streams and has no such limit."
        ),
        integer!(
            http.head_timeout_millis,
            Integer(1..=MAX_MILLIS),
            "From the first byte of a request until its head is complete."
        ),
        integer!(
            http.body_timeout_millis,
            Integer(1..=MAX_MILLIS),
            "How long the next part of a body may take, and a whole body other than an import's."
        ),
        integer!(
            http.request_timeout_millis,
            Integer(1..=MAX_MILLIS),
            "From the head of a request until its answer begins. Imports are exempt."
        ),
        integer!(
            http.idle_timeout_millis,
            Integer(1..=MAX_MILLIS),
            "How long a connection may be silent between requests."
        ),
        integer!(
            http.write_stall_timeout_millis,
            Integer(1..=MAX_MILLIS),
            "How long a client may take no byte of an answer that waits for it."
        ),
        integer!(
            http.stop_timeout_millis,
            Integer(0..=9_000),
            "How long requests under way may take to end when the server stops."
        ),
        integer!(
            http.max_event_subscribers,
            Integer(0..=1_000_000),
            "Subscribers of `/events` at once."
        ),
        integer!(
            http.max_event_lag_millis,
            Integer(1..=MAX_MILLIS),
            "How long a subscriber may take none of the events that wait for it before it is dropped."
        ),
        integer!(
            http.event_keep_alive_millis,
            Integer(1..=MAX_MILLIS),
            "A silent event stream gets a comment this often."
        ),
        integer!(
            http.import_batch_ops,
            Integer(1..=1_000_000),
            "Lines of an import that are written together."
        ),
        integer!(
            http.max_import_batches_in_flight,
            Integer(1..=1_024),
            "Batches of an import under way at once."
        ),
    ]
}

fn engine() -> Vec<Key> {
    vec![
        integer!(
            engine.cache_bytes,
            Bytes(1 << 20..=1 << 40),
            "Memory for blocks read from disk."
        ),
        integer!(
            engine.delta_max_edges,
            Integer(1_000..=100_000_000),
            "Transitions held in memory before they are moved into sorted tables. Twice as many can be there for a moment, and as many are read back from the log at start."
        ),
        integer!(
            engine.queue_max_ops,
            Integer(1_000..=10_000_000),
            "Operations that may wait for a commit; more are refused as `overloaded`."
        ),
        integer!(
            engine.commit_max_ops,
            Integer(1_000..=1_000_000),
            "Operations in one commit."
        ),
        integer!(
            engine.log_segment_bytes,
            Bytes(1 << 20..=1 << 30),
            "One segment of the log."
        ),
        integer!(
            engine.journal_max_bytes,
            Bytes(0..=1 << 40),
            "Log kept for subscribers who resume, beyond what recovery needs."
        ),
        integer!(
            engine.journal_max_seconds,
            Integer(0..=366 * 24 * 3600),
            "How long log is kept for subscribers who resume."
        ),
        integer!(
            engine.answers_max,
            Integer(1_000..=1_000_000_000),
            "Idempotency answers kept; beyond it the oldest go before their 24 hours are over."
        ),
        integer!(
            engine.jobs_max_queued,
            Integer(1..=100_000),
            "Jobs that may wait or run at once."
        ),
        integer!(
            engine.job_step_edges,
            Integer(1..=100_000),
            "Edges that a job deals with in one commit."
        ),
        integer!(
            engine.spool_max_bytes,
            Bytes(0..=1 << 50),
            "The texts of imports that wait as jobs, all of them together, unpacked. 0 takes none; a streamed import needs none."
        ),
        integer!(
            engine.bulk_memory_bytes,
            Bytes(16 << 20..=1 << 36),
            "Memory in which `acclaim import` sorts what it loads into an empty directory; what does not fit is sorted in files."
        ),
        switch!(
            engine.accept_loss,
            "Open anyway when the log lost commits that were acknowledged, and go on without them. Flag `--accept-loss`."
        ),
    ]
}
