//! Servers as child processes, and what the system says about them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// A running server. Ended when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it answers.
    pub url: String,
    /// From its start until it said that it can answer.
    pub ready_after: Duration,
    /// Kept open: a server may print more.
    _out: BufReader<ChildStdout>,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub resident: u64,
    pub peak: u64,
}

impl Server {
    /// The server of a program on a data directory.
    pub(crate) fn acclaim(program: &Path, data: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-level", "warn"]);
        command.arg("--data").arg(data);
        Self::start(command)
    }

    /// The null server: this program again.
    pub(crate) fn null() -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("this program does not know where it is")?;
        let mut command = Command::new(own);
        command.arg("null");
        Self::start(command)
    }

    fn start(mut command: Command) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let out = child.stdout.take().context("a child without an output")?;
        let mut out = BufReader::new(out);
        let mut line = String::new();
        out.read_line(&mut line)?;
        let Some((_, url)) = line.trim_end().rsplit_once(' ') else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{command:?} ended before it could answer");
        };
        Ok(Self {
            url: url.to_owned(),
            ready_after: started.elapsed(),
            child,
            _out: out,
        })
    }

    /// The server of a program on other servers, as these flags say.
    pub(crate) fn cluster(program: &Path, flags: &[String]) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-level", "error"]);
        command.args(["--engine", "cluster"]).args(flags);
        Self::start(command)
    }

    /// A worker without a server.
    pub(crate) fn worker(program: &Path, flags: &[String]) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(["worker", "--listen", "127.0.0.1:0", "--log-level", "error"]);
        command.args(flags);
        Self::start(command)
    }

    /// Processor time that it has used so far, all threads.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu(self.child.id())
    }

    /// Its memory.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        Ok(Memory {
            resident: bytes_of(&status, "VmRSS:")?,
            peak: bytes_of(&status, "VmHWM:")?,
        })
    }
}

/// Processor time that a process has used so far, all threads.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    cpu_of(&stat, rustix::param::clock_ticks_per_second())
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whatever failed before failed because of this.
        if let Ok(Some(status)) = self.child.try_wait() {
            eprintln!("the server at {} had ended by itself: {status}", self.url);
        }
        // Nothing that it holds is wanted any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of a line of `/proc/PID/stat`.
fn cpu_of(stat: &str, ticks_a_second: u64) -> anyhow::Result<Duration> {
    // The second field is a name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("another /proc/PID/stat")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || -> anyhow::Result<u64> {
        let field = fields.next().context("another /proc/PID/stat")?;
        Ok(field.parse()?)
    };
    let sum = ticks()? + ticks()?;
    Ok(Duration::from_secs_f64(sum as f64 / ticks_a_second as f64))
}

fn bytes_of(status: &str, name: &str) -> anyhow::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib.context("another /proc/PID/status")?.parse()?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_read_from_what_the_system_writes() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 9 0 1 1 1";
        assert_eq!(cpu_of(stat, 100).unwrap(), Duration::from_secs(2));
        assert!(cpu_of("7 (a) S", 100).is_err());
        let status = "Name:\tacclaim\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(bytes_of(status, "VmRSS:").unwrap(), 1 << 20);
        assert!(bytes_of(status, "VmSwap:").is_err());
    }
}
