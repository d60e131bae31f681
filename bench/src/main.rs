//! Measures the server against one that does nothing, and what a store costs as it grows.
//!
//! Everything is measured from outside, on the built program: rates and latencies by
//! `acclaim bench`, processor time and memory from what the system says about the process.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

mod bus;
mod cluster;
mod compare;
mod edges;
mod feed;
mod generator;
mod growth;
mod http;
mod null;
mod pages;
mod process;
mod program;
mod statistics;
mod table;
mod turns;

use clap::{Parser, Subcommand};

// As the server's, so that the null server has no other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Acclaim.
#[derive(Debug, Parser)]
#[command(name = "acclaim-bench", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The server against a null server of the same stack, by turns
    Compare(compare::Args),
    /// The cluster engine on Redis and MariaDB of its own, against the null server
    Cluster(turns::Turns),
    /// The cluster engine with a bus beside one without, and while the bus is full or away
    Bus(bus::Args),
    /// Import, disk, memory and cost a request at rising numbers of edges
    Growth(growth::Args),
    /// The processor time of one status among many, inside this process
    Feed(feed::Args),
    /// Run the null server; `compare` starts it by itself
    #[command(hide = true)]
    Null,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Compare(args) => compare::run(&args),
        Command::Cluster(turns) => cluster::run(&turns),
        Command::Bus(args) => bus::run(&args),
        Command::Growth(args) => growth::run(&args),
        Command::Feed(args) => feed::run(&args),
        Command::Null => null::run(),
    }
}
