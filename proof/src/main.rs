//! `cargo run -p acclaim-proof`: plants every bug, one after the other, and says whether it was
//! caught.
#![allow(
    clippy::print_stdout,
    reason = "it is a command, and this is its output"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use acclaim_proof::bug::{self, Bug};
use acclaim_proof::scratch::Scratch;
use acclaim_proof::verdict::{Judge, Run, Verdict};
use clap::Parser;

/// Plants known bugs in a copy of the sources and shows that the tests catch each of them.
#[derive(Parser)]
struct Arguments {
    /// Only the bugs whose names contain one of these.
    names: Vec<String>,
    /// Where the copy and its builds are kept from run to run.
    #[arg(long, default_value = "target/proof")]
    dir: PathBuf,
    /// How long one test may take, in seconds. One that takes longer hangs.
    #[arg(long, default_value_t = 300)]
    test_seconds: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()?;
    let mut bugs = bug::all(&bug::folder())?;
    bugs.retain(|bug| {
        let names = &arguments.names;
        names.is_empty() || names.iter().any(|name| bug.name.contains(name.as_str()))
    });
    std::fs::create_dir_all(&arguments.dir)?;
    let dir = arguments.dir.canonicalize()?;
    let judge = Judge {
        scratch: Scratch::copy(&root, &dir)?,
        limit: Duration::from_secs(arguments.test_seconds),
    };
    let sound = without_bugs(&judge, &bugs)?;
    let mut not_caught = 0;
    for bug in &bugs {
        let started = Instant::now();
        let without = sound.get(&bug.test).cloned().unwrap_or(Run::NoTest);
        let verdict = judge
            .judge(bug, &without)
            .unwrap_or_else(|error| Verdict::Unproven(format!("{error:#}")));
        not_caught += usize::from(!verdict.is_caught());
        let seconds = started.elapsed().as_secs();
        println!(
            "{}: {verdict} ({seconds} s)\n    {}\n    {}",
            bug.name, bug.breaks, bug.test
        );
    }
    println!("{} of {} caught", bugs.len() - not_caught, bugs.len());
    Ok(if not_caught == 0 && !bugs.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Each test once without any bug.
fn without_bugs(
    judge: &Judge,
    bugs: &[Bug],
) -> anyhow::Result<BTreeMap<acclaim_proof::bug::Test, Run>> {
    let mut sound = BTreeMap::new();
    for bug in bugs {
        if !sound.contains_key(&bug.test) {
            let run = judge.run(&bug.test)?;
            println!("without bugs: {run:?}: {}", bug.test);
            sound.insert(bug.test.clone(), run);
        }
    }
    Ok(sound)
}
