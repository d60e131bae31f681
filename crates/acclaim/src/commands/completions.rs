//! `acclaim completions SHELL`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::output::{Outcome, say};

/// Prints the completion script.
pub fn run(shell: Shell) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "acclaim", &mut script);
    say(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Outcome::Done)
}
