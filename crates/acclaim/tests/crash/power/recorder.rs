//! Runs the server under `ptrace` and notes every call that changes its files.
//!
//! One thread starts the server, waits for each call of each of its threads, and lets it go on only
//! when the call is noted. So whoever was answered was answered after everything that the answer
//! rests on was noted, and the clock that counts the notes is a clock for the callers too.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::calls::{Begun, Descriptors, Entry, returned};
use super::disk::{Call, Event};
use crate::server;

const START_LIMIT: Duration = Duration::from_secs(60);
/// From the last answer to a death that was asked for.
const DEATH_LIMIT: Duration = Duration::from_secs(20);

/// Everything that was done under a root directory, by one process after the other.
#[derive(Debug)]
pub struct Tape {
    root: PathBuf,
    clock: AtomicU64,
    events: Mutex<Vec<Event>>,
}

impl Tape {
    pub fn new(root: &Path) -> Arc<Self> {
        Arc::new(Self {
            root: root.to_owned(),
            clock: AtomicU64::new(0),
            events: Mutex::default(),
        })
    }

    /// Everything that ended was noted with a tick of at most this.
    pub fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// What was noted so far, in the order in which it ended.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }
}

/// When to kill the server.
pub type IsMoment = fn(synced: &str) -> bool;

/// A server whose calls are noted. It dies with the test.
pub struct Recorded {
    pub address: SocketAddr,
    pid: Pid,
    death: Arc<Mutex<Option<IsMoment>>>,
    recorder: JoinHandle<()>,
}

impl Recorded {
    /// Starts a server on a directory under the tape's root.
    pub fn start(tape: &Arc<Tape>, data: &Path) -> Self {
        let (tape, data) = (Arc::clone(tape), data.to_owned());
        let death = Arc::<Mutex<Option<IsMoment>>>::default();
        let armed = Arc::clone(&death);
        let (tell, told) = mpsc::channel();
        let recorder = std::thread::spawn(move || {
            let pid = spawn(&data, tell);
            Recorder::new(pid, tape, armed).run();
        });
        let ready = told.recv_timeout(START_LIMIT);
        let Ok((pid, address)) = ready else {
            // Whatever went wrong there says more than this.
            recorder.join().unwrap();
            panic!("the recorded server did not start")
        };
        Self {
            address,
            pid,
            death,
            recorder,
        }
    }

    /// Kills it when it is about to sync a file for which `moment` holds, so that what it wrote is
    /// there and not durable.
    pub fn die_before_sync(&self, moment: IsMoment) {
        *self.death.lock().unwrap() = Some(moment);
    }

    /// Waits until it died at its moment.
    pub fn wait_for_death(self) {
        let begin = Instant::now();
        while !self.recorder.is_finished() {
            assert!(
                begin.elapsed() < DEATH_LIMIT,
                "what it was to die in never came"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        self.recorder.join().unwrap();
    }

    /// Asks it to stop and waits until it did.
    pub fn stop(self) {
        kill(self.pid, Signal::SIGTERM).unwrap();
        self.recorder.join().unwrap();
    }
}

/// Starts a server that waits to be traced, and a thread that tells its address.
#[allow(
    clippy::zombie_processes,
    reason = "whoever traces a process is told of its end, and so is who waits for it here"
)]
fn spawn(data: &Path, tell: mpsc::Sender<(Pid, SocketAddr)>) -> Pid {
    let errors = data.with_extension("stderr");
    let errors = data
        .parent()
        .unwrap()
        .with_file_name(errors.file_name().unwrap());
    // The shell becomes the server once it is told to go on.
    let mut child = Command::new("sh")
        .args(["-c", r#"kill -STOP $$; exec "$0" "$@""#])
        .arg(server::binary())
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .envs(server::ENVIRONMENT)
        .env("ACCLAIM_ENGINE__JOURNAL_MAX_BYTES", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(errors).unwrap())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = output.read_line(&mut line);
        if let Some(address) = line.trim().strip_prefix(server::READY_LINE) {
            let _ = tell.send((pid, address.parse().unwrap()));
        }
        drop(tell);
        let _ = output.read_to_end(&mut Vec::new());
    });
    let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).expect("a child may be traced; does the sandbox forbid ptrace?");
    kill(pid, Signal::SIGCONT).unwrap();
    pid
}

struct Recorder {
    pid: Pid,
    tape: Arc<Tape>,
    death: Arc<Mutex<Option<IsMoment>>>,
    descriptors: Descriptors,
    /// The call that each thread is in: when it began, and what it is if it concerns us.
    inside: HashMap<Pid, Option<(u64, Begun)>>,
    /// Threads that are not let go on, since the process is about to die.
    held: Vec<Pid>,
}

impl Recorder {
    fn new(pid: Pid, tape: Arc<Tape>, death: Arc<Mutex<Option<IsMoment>>>) -> Self {
        Self {
            pid,
            descriptors: Descriptors::new(&tape.root),
            tape,
            death,
            inside: HashMap::new(),
            held: Vec::new(),
        }
    }

    /// Until all threads of the server are gone.
    fn run(mut self) {
        // Only children of this thread: other tests wait for theirs.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            let (thread, signal) = match waitpid(None, Some(flags)) {
                Ok(WaitStatus::PtraceSyscall(thread)) => {
                    if !self.stopped(thread) {
                        continue;
                    }
                    (thread, None)
                }
                Ok(WaitStatus::PtraceEvent(thread, ..)) => (thread, None),
                Ok(WaitStatus::Stopped(thread, signal)) => (thread, Some(signal)),
                Ok(WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..)) => {
                    self.inside.remove(&thread);
                    continue;
                }
                Err(Errno::ECHILD) => break,
                Err(Errno::EINTR) => continue,
                other => panic!("unexpected: {other:?}"),
            };
            go_on(thread, signal);
        }
        let at = self.tape.tick();
        self.note(at, Call::Ended);
    }

    /// A thread begins or ends a call. Whether it may go on.
    fn stopped(&mut self, thread: Pid) -> bool {
        let Ok(registers) = ptrace::getregs(thread) else {
            // It was killed.
            return true;
        };
        match self.inside.remove(&thread) {
            None => self.begin(thread, Entry::of(&registers)),
            Some(call) => {
                if let Some((began, begun)) = call {
                    let result = returned(&registers);
                    if let Some(call) = self.descriptors.end(thread, begun, result) {
                        self.note(began, call);
                    }
                }
                self.die_if_alone();
                true
            }
        }
    }

    fn begin(&mut self, thread: Pid, entry: Entry) -> bool {
        let Some(begun) = self.descriptors.begin(thread, entry) else {
            self.inside.insert(thread, None);
            return true;
        };
        let began = self.tape.tick();
        let synced = self.descriptors.synced_by(&begun);
        let is_moment = *self.death.lock().unwrap();
        if !self.held.is_empty() || synced.zip(is_moment).is_some_and(|(path, is)| is(path)) {
            // It dies in the midst of this; the others end what they are in first.
            self.held.push(thread);
            self.die_if_alone();
            return false;
        }
        if begun.is_close() {
            // The descriptor may be another's before this call returns.
            if let Some(call) = self.descriptors.end(thread, begun, 0) {
                self.note(began, call);
            }
            self.inside.insert(thread, None);
        } else {
            self.inside.insert(thread, Some((began, begun)));
        }
        true
    }

    fn die_if_alone(&self) {
        let is_alone = self.inside.values().all(Option::is_none);
        if !self.held.is_empty() && is_alone {
            kill(self.pid, Signal::SIGKILL).unwrap();
        }
    }

    fn note(&self, began: u64, call: Call) {
        let ended = self.tape.tick();
        let event = Event { began, ended, call };
        self.tape.events.lock().unwrap().push(event);
    }
}

fn go_on(thread: Pid, signal: Option<Signal>) {
    match ptrace::syscall(thread, signal) {
        // Gone meanwhile; that is told by the next wait.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("a thread cannot go on: {error}"),
    }
}
