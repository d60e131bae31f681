//! `acclaim bench URL`: load on a running server, measured from outside.
//!
//! The generator shares the machine with the server more often than not, so it is lean: requests
//! are built in buffers that are used again, answers are cut out of the socket's bytes without a
//! client library in between, and everything of one thread is one thread's own. With `--rate` the
//! load is open: requests are due at fixed times whether or not the server keeps up, and latency
//! counts from when a request was due, so that a stalled server cannot hide behind the requests
//! that it kept from being sent.

mod answer;
mod connection;
mod load;
mod pace;
mod report;
mod request;
mod verify;

use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::client::Endpoint;
use crate::output::{Outcome, say};

/// What is asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Toggle likes of random users and targets
    Toggle,
    /// Set likes of random users and targets
    Set,
    /// Whether a random user likes a random target
    Status,
    /// The count of a random target
    Count,
    /// The status of 20 to 50 targets for one user, as a feed asks for it
    Feed,
    /// Toggles of random users on one target
    Hot,
    /// Batches of 500 sets
    Batch,
}

impl Scenario {
    fn writes(self) -> bool {
        matches!(self, Self::Toggle | Self::Set | Self::Hot | Self::Batch)
    }
}

/// Flags of `bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// The server, such as http://127.0.0.1:7700
    #[arg(value_name = "URL")]
    pub url: String,
    /// What to ask
    #[arg(long, value_enum, default_value = "toggle")]
    pub scenario: Scenario,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// How long to go on, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Users to choose from
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub users: u32,
    /// Targets to choose from
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub targets: u32,
    /// How unevenly targets are chosen: the exponent of Zipf's law; 0 is evenly
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true, value_parser = skew)]
    pub skew: f64,
    /// Requests a second in all (open loop); without it, as many as are answered
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: Option<u32>,
    /// Threads of the generator
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// The acknowledgement that writes ask for: redis, replica, ledger or bus
    #[arg(long, value_parser = ack)]
    pub ack: Option<&'static str>,
    /// The type of the targets
    #[arg(long, default_value = "BENCH", value_parser = target_type)]
    pub target_type: String,
    /// Where the choice of users and targets begins; the same seed gives the same requests
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Do not read back after writes
    #[arg(long)]
    pub no_verify: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
}

fn skew(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(skew) if (0.0..=10.0).contains(&skew) => Ok(skew),
        _ => Err("is not a number from 0 to 10".to_owned()),
    }
}

fn target_type(text: &str) -> Result<String, String> {
    let parsed = acclaim_core::TargetType::parse(text).map_err(|e| e.to_string())?;
    Ok(parsed.to_string())
}

fn ack(text: &str) -> Result<&'static str, String> {
    let ack = acclaim_core::port::Ack::of_name(text);
    ack.map(acclaim_core::port::Ack::name)
        .ok_or_else(|| "is none of redis, replica, ledger and bus".to_owned())
}

/// Puts load on a server and tells what came of it.
pub fn run(args: &BenchArgs) -> anyhow::Result<Outcome> {
    let endpoint = Endpoint::of_url(&args.url)?;
    if args.threads > args.connections {
        bail!("{} threads need as many connections at least", args.threads);
    }
    let mut load = load::run(args, &endpoint)?;
    let verified = if args.scenario.writes() && !args.no_verify {
        let writes = std::mem::take(&mut load.writes);
        Some(verify::run(&endpoint, args, writes)?)
    } else {
        None
    };
    let report = report::Report::new(args, &load, verified);
    if args.json {
        say(serde_json::to_string(&report)?)?;
    } else {
        say(&report)?;
    }
    let good = report.is_good();
    Ok(if good {
        Outcome::Done
    } else {
        Outcome::Findings
    })
}

/// How long an answer may take before the request counts as failed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Ops in one batch.
const BATCH_OPS: usize = 500;
