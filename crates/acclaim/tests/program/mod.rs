//! The built program as tests run it: commands with their output, and servers in private
//! directories on free ports.
#![allow(dead_code, reason = "every test file takes a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The program, without anything of this process's environment that could configure it.
pub fn acclaim(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acclaim"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ACCLAIM_") {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Ran {
    finish(&mut acclaim(args))
}

/// Runs a command to its end.
pub fn finish(command: &mut Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command that dies at a place (`ACCLAIM_FAILPOINT`).
pub fn dies(command: &mut Command, failpoint: &str) {
    let output = command.env("ACCLAIM_FAILPOINT", failpoint).output();
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(9), "{failpoint}: {told}");
}

/// Runs the program with a text on its standard input.
pub fn run_with_input(args: &[&str], dir: &Path, input: &str) -> Ran {
    let mut child = acclaim(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A running server. Killed when dropped.
pub struct Server {
    child: Child,
    pub url: String,
    /// The line that it printed when it could answer.
    pub line: String,
}

impl Server {
    /// Starts a server on a free port and waits until it says that it can answer.
    pub fn start(data: &Path, more: &[&str]) -> Self {
        let data = data.to_str().unwrap();
        let args = ["serve", "--listen", "127.0.0.1:0", "--data", data];
        Self::launch(&[&args[..], more].concat())
    }

    /// Starts a command that serves, and waits until it says that it can answer.
    pub fn launch(args: &[&str]) -> Self {
        let mut child = acclaim(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let url = line
            .trim_end()
            .rsplit(" listening on ")
            .next()
            .unwrap_or_default();
        if line.is_empty() {
            let mut err = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut err)
                .unwrap();
            panic!("no server: {err}");
        }
        Self {
            url: url.to_owned(),
            line: line.clone(),
            child,
        }
    }

    /// Sends a signal and waits for the end; returns how it ended, after how long, and the logs.
    pub fn stop(mut self, signal: &str) -> (ExitStatus, Duration, String) {
        let start = Instant::now();
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
        let mut err = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut err)
            .unwrap();
        let status = self.child.wait().unwrap();
        (status, start.elapsed(), err)
    }

    /// Kills it at once.
    pub fn kill(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Asks for a path over a connection of its own; returns the whole answer.
    pub fn get(&self, path: &str) -> String {
        self.send("GET", path, "")
    }

    /// Sends a request with a JSON body over a connection of its own; returns the whole answer.
    pub fn send(&self, method: &str, path: &str, body: &str) -> String {
        let address = self.url.trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let kind = match body {
            "" => String::new(),
            _ => format!(
                "content-type: application/json\r\ncontent-length: {}\r\n",
                body.len()
            ),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{kind}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of a new file in a directory.
pub fn file(dir: &Path, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The path of something in a directory, as text.
pub fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

/// Lines of an export, sorted, so that they can be compared.
pub fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}
