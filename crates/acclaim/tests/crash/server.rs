//! The server as a process: started, waited for, killed, stopped.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const START_LIMIT: Duration = Duration::from_secs(60);
const END_LIMIT: Duration = Duration::from_secs(60);
/// A kind that excludes likes, and limits so small that everything that happens now and then in a
/// large store happens often in these.
pub const ENVIRONMENT: [(&str, &str); 3] = [
    ("ACCLAIM_KINDS__DISLIKES__EXCLUDES", "likes"),
    ("ACCLAIM_ENGINE__DELTA_MAX_EDGES", "1000"),
    ("ACCLAIM_ENGINE__LOG_SEGMENT_BYTES", "1MiB"),
];
const READY_LINE: &str = "acclaim listening on http://";

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// How long it took from its start until it could answer.
    pub started_in: Duration,
    errors: PathBuf,
}

/// A server that ended instead of answering.
#[derive(Debug)]
pub struct Refusal {
    pub status: ExitStatus,
    pub errors: String,
}

pub fn binary() -> PathBuf {
    let other = std::env::var_os("ACCLAIM_BINARY").map(PathBuf::from);
    other.unwrap_or_else(|| env!("CARGO_BIN_EXE_acclaim").into())
}

impl Server {
    /// Starts one on a directory, with the kinds of the crash tests.
    pub fn start(data: &Path) -> Self {
        Self::try_start(data, &[]).unwrap_or_else(|refusal| panic!("no start: {refusal:#?}"))
    }

    /// The same with more environment, and with refusal as an answer.
    pub fn try_start(data: &Path, environment: &[(&str, &str)]) -> Result<Self, Refusal> {
        let begin = Instant::now();
        let errors = data.with_extension(format!("{}.stderr", rand::random::<u32>()));
        let mut child = Command::new(binary())
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .envs(ENVIRONMENT)
            .envs(environment.iter().copied())
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
            // The pipe is read on, so that the server never waits for its reader.
            let _ = output.read_to_end(&mut Vec::new());
        });
        let line = told.recv_timeout(START_LIMIT);
        let address = line.as_deref().unwrap_or_default().trim();
        if let Some(address) = address.strip_prefix(READY_LINE) {
            return Ok(Self {
                child,
                address: address.parse().unwrap(),
                started_in: begin.elapsed(),
                errors,
            });
        }
        if line.is_err() {
            let _ = child.kill();
        }
        let status = wait(&mut child);
        let errors = std::fs::read_to_string(&errors).unwrap();
        assert!(line.is_ok(), "not ready after {START_LIMIT:?}: {errors}");
        Err(Refusal { status, errors })
    }

    /// Kills it as a power cut would, as far as a process can tell.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        wait(&mut self.child);
    }

    /// Asks it to stop and waits until it has: how it ended, and in what time.
    pub fn stop(mut self) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        (wait(&mut self.child), begin.elapsed())
    }

    /// Stops it and expects a clean end.
    pub fn stop_cleanly(self) {
        let errors = self.errors.clone();
        let (status, _) = self.stop();
        assert!(status.success(), "{status}: {}", told(&errors));
    }

    /// Waits until it ends by itself.
    #[cfg(feature = "failpoints")]
    pub fn wait(mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it wrote to standard error so far.
    pub fn errors(&self) -> String {
        told(&self.errors)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn told(errors: &Path) -> String {
    std::fs::read_to_string(errors).unwrap_or_default()
}

fn wait(child: &mut Child) -> ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(begin.elapsed() < END_LIMIT, "no end after {END_LIMIT:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs `acclaim check` on a directory that no server has open.
///
/// # Panics
/// When it finds anything.
pub fn check_is_clean(data: &Path) {
    let check = Command::new(binary())
        .args(["check", "--data"])
        .arg(data)
        .envs(ENVIRONMENT)
        .output()
        .unwrap();
    assert!(check.status.success(), "acclaim check: {check:#?}");
}
