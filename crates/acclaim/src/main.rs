//! The Acclaim server and its command line.
//!
//! This crate wires: it reads the configuration, opens the engine, puts the HTTP service in front
//! of it and offers the commands. It decides nothing about likes.
#![forbid(unsafe_code)]

mod cli;
mod client;
mod cluster;
mod commands;
mod config;
mod control;
mod logs;
mod output;
mod stop;
mod store;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::output::Outcome;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = cli.config.as_deref();
    let outcome = match &cli.command {
        Command::Serve(args) => commands::serve::run(args, config),
        Command::Worker(args) => commands::worker::run(args, config),
        Command::Import(args) => commands::import::run(args, config),
        Command::Migrate(args) => commands::migrate::run(args, config),
        Command::Replay(args) => commands::replay::run(args, config),
        Command::Export(args) => commands::export::run(args, config),
        Command::Check(args) => commands::check::run(args, config),
        Command::Backup(args) => commands::backup::backup(args, config),
        Command::Restore(args) => commands::backup::restore(args, config),
        Command::Bench(args) => commands::bench::run(args),
        Command::Config(args) => commands::config::run(args, config),
        Command::Completions { shell } => commands::completions::run(*shell),
    };
    outcome.unwrap_or_else(output::failure).into()
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Findings => Self::from(1),
            Outcome::CouldNotRun => Self::from(2),
        }
    }
}
