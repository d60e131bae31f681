//! Building, running a test, and what its outcome says of a bug.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::bug::{Bug, Test};
use crate::scratch::Scratch;

/// How often a running test is looked after.
const LOOK: Duration = Duration::from_millis(50);

/// What a run of a test came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// It does not build.
    Unbuilt(String),
    /// No test has such a name.
    NoTest,
    /// All passed.
    Passed,
    /// One failed, or the process died.
    Failed,
    /// It did not end in time.
    Hung,
}

/// What is said of a bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its test fails because of it.
    Caught,
    /// Its test hangs because of it, which nobody overlooks either.
    CaughtByHanging,
    /// Its test passes all the same.
    Missed,
    /// Nothing can be said, and why.
    Unproven(String),
}

impl Verdict {
    /// Whether the bug was caught.
    #[must_use]
    pub fn is_caught(&self) -> bool {
        matches!(self, Self::Caught | Self::CaughtByHanging)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Caught => f.write_str("caught"),
            Self::CaughtByHanging => f.write_str("caught (the test hangs)"),
            Self::Missed => f.write_str("MISSED"),
            Self::Unproven(why) => write!(f, "UNPROVEN: {why}"),
        }
    }
}

/// Runs tests in a scratch copy.
#[derive(Clone, Debug)]
pub struct Judge {
    /// The copy.
    pub scratch: Scratch,
    /// How long a test may take.
    pub limit: Duration,
}

impl Judge {
    /// Judges a bug whose test was run without it before.
    ///
    /// # Errors
    /// When it cannot be planted or cargo cannot be run.
    pub fn judge(&self, bug: &Bug, without: &Run) -> anyhow::Result<Verdict> {
        match without {
            Run::Passed => {}
            Run::NoTest => {
                let why = format!("there is no test `{}`", bug.test);
                return Ok(Verdict::Unproven(why));
            }
            other => {
                let why = format!("its test does not pass without it: {other:?}");
                return Ok(Verdict::Unproven(why));
            }
        }
        let with = self.scratch.with_bug(bug, || self.run(&bug.test))?;
        Ok(match with {
            Run::Failed => Verdict::Caught,
            Run::Hung => Verdict::CaughtByHanging,
            Run::Passed => Verdict::Missed,
            Run::NoTest => Verdict::Unproven("with it, its test is gone".to_owned()),
            Run::Unbuilt(error) => Verdict::Unproven(format!("with it, nothing builds:\n{error}")),
        })
    }

    /// Builds and runs a test on the copy as it is.
    ///
    /// # Errors
    /// When cargo cannot be run.
    pub fn run(&self, test: &Test) -> anyhow::Result<Run> {
        let built = self.cargo(test).args(["--no-run", "-q"]).output();
        let built = built.context("cannot run cargo")?;
        if !built.status.success() {
            let text = String::from_utf8_lossy(&built.stderr);
            let errors = text.lines().filter(|line| line.starts_with("error"));
            return Ok(Run::Unbuilt(errors.collect::<Vec<_>>().join("\n")));
        }
        let mut command = self.cargo(test);
        command
            .args(["--", &test.filter])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A group of its own, so that a hanging test ends with what it started.
            .process_group(0);
        let mut child = command.spawn().context("cannot run cargo")?;
        let output = read_in_background(&mut child);
        let status = wait(&mut child, self.limit)?;
        let text = output.join().unwrap_or_default();
        Ok(match status {
            None => Run::Hung,
            Some(_) if !ran_any(&text) => Run::NoTest,
            Some(status) if status.success() => Run::Passed,
            Some(_) => Run::Failed,
        })
    }

    fn cargo(&self, test: &Test) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(test.arguments())
            .arg("--locked")
            .current_dir(&self.scratch.sources)
            .env("CARGO_TARGET_DIR", &self.scratch.target)
            .env("CARGO_TERM_COLOR", "never");
        command
    }
}

fn read_in_background(child: &mut Child) -> std::thread::JoinHandle<String> {
    let stdout = child.stdout.take();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stdout) = stdout {
            // What was read until then is what there is.
            let _ = stdout.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for the child; `None` when it took too long and was ended.
fn wait(child: &mut Child, limit: Duration) -> anyhow::Result<Option<std::process::ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            let group = format!("-{}", child.id());
            Command::new("kill").args(["-9", "--", &group]).status()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether the harness says that it runs one test or more.
fn ran_any(output: &str) -> bool {
    output.lines().any(|line| {
        let number = line
            .strip_prefix("running ")
            .and_then(|rest| rest.split(' ').next());
        number.is_some_and(|number| number != "0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_tests_is_none() {
        assert!(ran_any("\nrunning 3 tests\ntest a ... ok\n"));
        assert!(ran_any("running 1 test\n"));
        assert!(!ran_any("running 0 tests\n\ntest result: ok. 0 passed"));
        assert!(!ran_any(""));
    }
}
