//! Logs, to standard error.

use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, Server};

/// Sends the process's logs to standard error in the configured format. Once a process.
pub fn start(server: &Server) {
    let text = match server.log_format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(targets(server.log_level));
    // An error means that logs were started before, which only tests could do.
    let _ = if text {
        let lines = lines.with_ansi(std::io::stderr().is_terminal());
        registry.with(lines).try_init()
    } else {
        registry.with(lines.json().flatten_event(true)).try_init()
    };
}

/// The level holds for Acclaim; what the store's library tells of its files is for debugging.
fn targets(level: Level) -> Targets {
    let of_store = if level < Level::DEBUG {
        level.min(Level::WARN)
    } else {
        level
    };
    Targets::new()
        .with_default(LevelFilter::from_level(level))
        .with_target("fjall", of_store)
        .with_target("lsm_tree", of_store)
}
