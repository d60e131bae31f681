//! A command that serves, as a process: started, waited for, killed.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const START_LIMIT: Duration = Duration::from_secs(60);
const END_LIMIT: Duration = Duration::from_secs(60);

/// The address of who died before it had one.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The program that is tested.
pub fn binary() -> PathBuf {
    let other = std::env::var_os("ACCLAIM_BINARY").map(PathBuf::from);
    other.unwrap_or_else(|| env!("CARGO_BIN_EXE_acclaim").into())
}

/// A running `acclaim serve` or `acclaim worker`. Dropping it kills it.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    /// How long it took from its start until it could answer.
    pub started_in: Duration,
    errors: PathBuf,
}

impl Process {
    /// Starts a command with a configuration, and waits until it can answer. What it says goes to a
    /// file beside the configuration.
    pub fn start(command: &str, config: &Path) -> Self {
        Self::start_armed(command, config, "")
    }

    /// The same, to die at a place: `name:n` is the n-th time that it comes there. That may be before
    /// it can answer; then its address is nobody's.
    pub fn start_armed(command: &str, config: &Path, failpoint: &str) -> Self {
        let begin = Instant::now();
        let errors = config.with_extension(format!("{command}.{}.stderr", rand::random::<u32>()));
        let mut child = Command::new(binary())
            .args([command, "--listen", "127.0.0.1:0", "--config"])
            .arg(config)
            .env("ACCLAIM_FAILPOINT", failpoint)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let (tell, told) = mpsc::channel();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = output.read_line(&mut line);
            let _ = tell.send(line);
            // The pipe is read on, so that nobody waits for its reader.
            let _ = output.read_to_end(&mut Vec::new());
        });
        let line = told.recv_timeout(START_LIMIT);
        let address = |line: &String| {
            line.trim()
                .rsplit(" listening on http://")
                .next()?
                .parse()
                .ok()
        };
        let address = match line.as_ref().map(address) {
            Ok(Some(address)) => address,
            // It said nothing and never will.
            Ok(None) if !failpoint.is_empty() && killed(&mut child) => NOWHERE,
            _ => {
                let _ = child.kill();
                let told = std::fs::read_to_string(&errors).unwrap_or_default();
                panic!("no start of {command}: {told}");
            }
        };
        Self {
            child,
            address,
            started_in: begin.elapsed(),
            errors,
        }
    }

    /// Kills it as a power cut would, as far as a process can tell.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.wait();
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Expects that it died suddenly.
    pub fn died(mut self) {
        let status = self.wait();
        assert_eq!(status.signal(), Some(9), "{status}");
    }

    /// Asks it to stop, and expects a clean end.
    pub fn stop_cleanly(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.wait();
        let told = std::fs::read_to_string(&self.errors).unwrap_or_default();
        assert!(status.success(), "{status}: {told}");
    }

    fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < END_LIMIT, "no end after {END_LIMIT:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let told = std::fs::read_to_string(&self.errors).unwrap_or_default();
            let end: Vec<&str> = told.lines().rev().take(20).collect();
            #[expect(
                clippy::print_stderr,
                reason = "what it said may tell why a test failed"
            )]
            {
                eprintln!("the end of {}: {end:#?}", self.errors.display());
            }
        }
    }
}

/// Whether a process ended by SIGKILL. One that has closed its output ends.
fn killed(child: &mut Child) -> bool {
    let ended = child.wait().unwrap();
    ended.signal() == Some(Signal::KILL.as_raw())
}
