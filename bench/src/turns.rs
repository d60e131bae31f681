//! What all who ask two servers by turns are told: how often, how long, how many, of what.

use std::path::PathBuf;

use crate::program;

/// The flags.
#[derive(Debug, clap::Args)]
pub(crate) struct Turns {
    /// How long each turn takes, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// Turns that count, for each server and scenario
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(crate) rounds: u64,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// Users to choose from
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=4_000_000_000))]
    pub(crate) users: u64,
    /// Targets to choose from
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=4_000_000_000))]
    pub(crate) targets: u64,
    /// Another program than the one built beside this
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

impl Turns {
    /// The program to measure.
    pub(crate) fn program(&self) -> anyhow::Result<PathBuf> {
        program::find(self.binary.as_deref())
    }

    /// What they come to, in words.
    pub(crate) fn words(&self) -> String {
        format!(
            "{} connections, {} users, {} targets, {} turns of {} s, medians",
            self.connections, self.users, self.targets, self.rounds, self.seconds
        )
    }
}
