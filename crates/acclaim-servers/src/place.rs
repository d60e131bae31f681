//! Where one server lives: its directory, its ports, its logs.

use std::io;
use std::path::{Path, PathBuf};

use crate::home;
use crate::port::Port;

/// How much of each log a failure shows.
const TAIL_MAX_LINES: usize = 40;
/// What every process writes to its outputs goes here; servers may write further `*.log` files.
const OUTPUT_FILE: &str = "output.log";

/// A directory and reserved ports. Dropping it removes the directory.
#[derive(Debug)]
pub struct Place {
    directory: PathBuf,
    ports: Vec<Port>,
}

impl Place {
    /// A new directory, and so many ports, each with those that lie so far below it.
    pub fn new(name: &str, ports: usize, below: &[u16]) -> Result<Self, String> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(home::directory()?)
            .map_err(|error| format!("cannot make a directory for {name}: {error}"))?
            .keep();
        let ports = (0..ports).map(|_| Port::reserve(below));
        Ok(Self {
            directory,
            ports: ports.collect::<Result<_, _>>()?,
        })
    }

    /// The directory; the server works in it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The port that clients come to.
    pub fn port(&self) -> u16 {
        self.further_port(0)
    }

    /// One of the other ports that were asked for.
    pub fn further_port(&self, index: usize) -> u16 {
        self.ports[index].number()
    }

    /// A file for what the process writes to its outputs; a restart goes on behind the last run.
    pub fn output(&self) -> io::Result<std::fs::File> {
        let path = self.directory.join(OUTPUT_FILE);
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
    }

    fn logs(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(&self.directory).into_iter().flatten();
        let paths = files.flatten().map(|file| file.path());
        let mut logs: Vec<PathBuf> = paths
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        logs.sort();
        logs
    }

    /// The ends of all logs, each under its name.
    pub fn log_tails(&self) -> String {
        let mut tails = String::new();
        for log in self.logs() {
            let bytes = std::fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            let begin = lines.len().saturating_sub(TAIL_MAX_LINES);
            tails.push_str(&format!("--- {}\n", log.display()));
            tails.push_str(&lines[begin..].join("\n"));
            tails.push('\n');
        }
        tails
    }

    /// Copies the logs to where they outlive this process, and says where that is.
    pub fn keep_logs(&self) -> io::Result<PathBuf> {
        let name = self.directory.file_name().unwrap_or_default();
        let kept = std::env::temp_dir()
            .join("acclaim-test-logs")
            .join(std::process::id().to_string())
            .join(name);
        std::fs::create_dir_all(&kept)?;
        for log in self.logs() {
            std::fs::copy(&log, kept.join(log.file_name().unwrap_or_default()))?;
        }
        Ok(kept)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left over goes with the process.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
