//! A server as a process: started, waited for, killed, stopped, continued, started again.
//!
//! What differs between one kind of server and another is a [`Program`]: what to prepare, what to run and
//! how to ask whether it answers. Everything else is here, once.
//!
//! Invariants: a server that was handed out has answered, and its own process owned the port when
//! it did. Dropping a server kills its process and removes its data.

use std::ffi::OsStr;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::place::Place;
use crate::port::is_owned_by;
use crate::wait::{try_until, until};

/// How long a server may take until it answers. Far more than it needs, since tests share a machine.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(90);
/// How long a server may take to end when it is asked to.
const END_LIMIT: Duration = Duration::from_secs(60);

/// What is particular to one kind of server.
pub trait Program: Send + Sync {
    /// The name in messages and of directories.
    const NAME: &'static str;
    /// How many ports it wants; clients come to the first.
    const PORTS: usize;
    /// How far below its port it takes others that nobody can tell it.
    const PORTS_BELOW: &'static [u16] = &[];

    /// Writes what the first start needs: a configuration, a data directory.
    fn prepare(&self, place: &Place) -> impl Future<Output = Result<(), String>> + Send;

    /// The command that runs it in the foreground.
    fn command(&self, place: &Place) -> Result<Command, String>;

    /// One attempt to be answered as a client is.
    fn ask(&self, place: &Place) -> impl Future<Output = Result<(), String>> + Send;

    /// Puts right what a killed process left behind, where its next start cannot.
    fn mend(&self, _place: &Place) -> impl Future<Output = Result<(), String>> + Send {
        async { Ok(()) }
    }
}

/// A server on 127.0.0.1 that belongs to this test process.
#[derive(Debug)]
pub struct Server<P: Program> {
    pub(crate) program: P,
    pub(crate) place: Place,
    child: Mutex<Option<Child>>,
    was_killed: AtomicBool,
}

/// A server that did not start: what was tried, why it counts as failed, and what it wrote.
#[derive(Clone, Debug)]
pub struct StartFailure {
    server: &'static str,
    tried: String,
    why: String,
    logs: String,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            server,
            tried,
            why,
            logs,
        } = self;
        write!(
            f,
            "{server} did not start: {why}\ntried: {tried}\n{logs}\
             (the programs come from `bash .ci/servers`)"
        )
    }
}

impl std::error::Error for StartFailure {}

impl<P: Program> Server<P> {
    pub(crate) async fn launch(program: P) -> Result<Self, StartFailure> {
        let place = Place::new(P::NAME, P::PORTS, P::PORTS_BELOW).map_err(|why| StartFailure {
            server: P::NAME,
            tried: "to make a directory and reserve ports".to_owned(),
            why,
            logs: String::new(),
        })?;
        let server = Self {
            program,
            place,
            child: Mutex::new(None),
            was_killed: AtomicBool::new(false),
        };
        if let Err(why) = server.program.prepare(&server.place).await {
            return Err(server.failure("to prepare its directory".to_owned(), why));
        }
        server.run().await?;
        Ok(server)
    }

    /// Runs the process and waits until it answers.
    async fn run(&self) -> Result<(), StartFailure> {
        let mut command = match self.program.command(&self.place) {
            Ok(command) => command,
            Err(why) => return Err(self.failure("to find its program".to_owned(), why)),
        };
        let tried = format!("{command:?}");
        match self.spawn(&mut command) {
            Ok(child) => *self.child() = Some(child),
            Err(error) => return Err(self.failure(tried, error.to_string())),
        }
        let mut ended = None;
        let answered = try_until(START_LIMIT, || {
            let status = self.has_ended();
            ended = ended.or(status);
            // An end is an answer too: there is nothing left to wait for.
            async move {
                match status {
                    Some(_) => Ok(()),
                    None => self.answers().await,
                }
            }
        })
        .await;
        match (ended, answered) {
            (None, Ok(())) => Ok(()),
            (Some(status), _) => Err(self.failure(tried, format!("it ended with {status}"))),
            (None, Err(why)) => Err(self.failure(tried, why)),
        }
    }

    fn spawn(&self, command: &mut Command) -> std::io::Result<Child> {
        let output = self.place.output()?;
        command
            .current_dir(self.place.directory())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
    }

    /// One attempt to be answered by this very process.
    async fn answers(&self) -> Result<(), String> {
        let port = self.place.port();
        let pid = self.pid().ok_or("there is no process")?;
        match is_owned_by(port, pid) {
            Ok(true) => self.program.ask(&self.place).await,
            Ok(false) => Err(format!("process {pid} does not listen on port {port}")),
            Err(error) => Err(format!("cannot see who listens on port {port}: {error}")),
        }
    }

    fn failure(&self, tried: String, why: String) -> StartFailure {
        let kept = match self.place.keep_logs() {
            Ok(kept) => format!("--- logs are kept in {}\n", kept.display()),
            Err(error) => format!("--- logs could not be kept: {error}\n"),
        };
        StartFailure {
            server: P::NAME,
            tried,
            why,
            logs: self.place.log_tails() + &kept,
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        // A child is whole at every moment, also where a test panicked with the lock.
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) -> Option<ExitStatus> {
        let mut child = self.child();
        let status = child.as_mut()?.try_wait().ok()??;
        *child = None;
        if status.signal() == Some(Signal::KILL.as_raw()) {
            self.was_killed.store(true, Ordering::Relaxed);
        }
        Some(status)
    }

    /// Where it listens; the same after a restart.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.place.port()).into()
    }

    /// The directory with its configuration, data and logs.
    pub fn directory(&self) -> &Path {
        self.place.directory()
    }

    /// The number of its process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// Whether there is a process; a stopped one counts.
    pub fn is_running(&self) -> bool {
        self.has_ended();
        self.child().is_some()
    }

    /// What it wrote: the ends of its logs.
    pub fn logs(&self) -> String {
        self.place.log_tails()
    }

    /// `kill -9`. The process is gone when this returns. One that is gone already stays so.
    pub fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            // Fails only where it ended by itself, which comes to the same.
            let _ = child.kill();
            let _ = child.wait();
            self.was_killed.store(true, Ordering::Relaxed);
        }
    }

    /// SIGSTOP: connections stay, nothing is answered any more, until [`Server::resume`]. Every
    /// thread stands still when this returns; the signal alone comes back earlier.
    ///
    /// # Panics
    /// If there is no process.
    pub async fn pause(&self) {
        self.signal(Signal::STOP);
        until(
            END_LIMIT,
            &format!("{} to stand still", P::NAME),
            || async {
                let pid = self.pid().ok_or("there is no process")?;
                match is_stopped(pid) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(format!("a thread of {pid} still runs")),
                    Err(error) => Err(format!("cannot see the threads of {pid}: {error}")),
                }
            },
        )
        .await;
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// If there is no process.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and waits for the end: the orderly stop that writes out what is to be written.
    /// A paused server is resumed for it.
    ///
    /// # Panics
    /// If there is no process, or it does not end.
    pub async fn shut_down(&self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
        until(END_LIMIT, &format!("the end of {}", P::NAME), || async {
            if self.is_running() {
                return Err(format!("it still runs\n{}", self.logs()));
            }
            Ok(())
        })
        .await;
    }

    /// Starts it again on the same port and data, and waits until it answers. One that still runs
    /// is shut down before.
    ///
    /// # Panics
    /// If it does not come back, with what was tried and its logs.
    pub async fn restart(&self) {
        if self.is_running() {
            self.shut_down().await;
        }
        if self.was_killed.swap(false, Ordering::Relaxed)
            && let Err(why) = self.program.mend(&self.place).await
        {
            panic!("{}", self.failure("to mend its data".to_owned(), why));
        }
        if let Err(failure) = self.run().await {
            panic!("{failure}");
        }
    }

    fn signal(&self, signal: Signal) {
        let Some(child) = &*self.child() else {
            panic!("{} has no process to send {signal:?} to", P::NAME);
        };
        if let Err(error) = kill_process(Pid::from_child(child), signal) {
            panic!("{} cannot be sent {signal:?}: {error}", P::NAME);
        }
    }
}

impl<P: Program> Drop for Server<P> {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            // The test failed; what its servers wrote may tell why.
            if let Ok(kept) = self.place.keep_logs() {
                #[expect(clippy::print_stderr, reason = "the test's own output is for this")]
                {
                    eprintln!("logs of {} are kept in {}", P::NAME, kept.display());
                }
            }
        }
    }
}

/// Whether every thread of a process is stopped.
fn is_stopped(pid: u32) -> std::io::Result<bool> {
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
        // The name is in parentheses and may hold anything; the state comes behind it.
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        if state != Some('T') {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Finds a program in the `PATH` and in the directories of system programs, which a user's `PATH`
/// often lacks.
pub(crate) fn find_program(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut directories = std::env::split_paths(&path).chain(system);
    directories
        .find_map(|directory| {
            let program = directory.join(name);
            program.is_file().then_some(program)
        })
        .ok_or_else(|| format!("{name} is not in the PATH"))
}

/// A command without what the environment might tell the server.
pub(crate) fn clean_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for kept in ["PATH", "HOME", "TZ"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command.env("LC_ALL", "C");
    command
}
