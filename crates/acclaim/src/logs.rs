//! Logs, to standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::LevelFilter;

use crate::config::{LogFormat, Server};

/// Sends the process's logs to standard error in the configured format. Once a process.
pub fn start(server: &Server) {
    let text = match server.log_format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let logs = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(server.log_level))
        .with_writer(std::io::stderr);
    // An error means that logs were started before, which only tests could do.
    let _ = if text {
        logs.with_ansi(std::io::stderr().is_terminal()).try_init()
    } else {
        logs.json().flatten_event(true).try_init()
    };
}
