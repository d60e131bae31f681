//! Servers that run on Java: what is common to how they are started.
//!
//! They are made for machines of their own. Here several share one with everything else, so each
//! has a small heap, the collector with one thread, and the compiler that is quick rather than
//! thorough: a start takes seconds instead of tens of them.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::fetched;
use crate::place::Place;
use crate::server::{clean_command, find_program};

/// Native libraries are unpacked here, and go with the server.
const TEMPORARY: &str = "tmp";

/// How much memory a server may take.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub heap_max_mib: u32,
    /// Beside the heap, for buffers of files and connections.
    pub direct_max_mib: u32,
}

/// Makes the directory that [`command`] refers to.
pub fn prepare(place: &Place) -> Result<(), String> {
    std::fs::create_dir(place.directory().join(TEMPORARY)).map_err(|error| error.to_string())
}

/// A command that runs Java with these options and the packages of this server; the main class is
/// still to come.
pub fn command(
    server: &str,
    place: &Place,
    memory: Memory,
    options: &[&str],
) -> Result<Command, String> {
    let mut command = command_in(&fetched::directory().join(server), place, memory)?;
    command.args(options);
    Ok(command)
}

fn command_in(server: &Path, place: &Place, memory: Memory) -> Result<Command, String> {
    // It is written last.
    if !server.join("version").is_file() {
        return Err(format!("{} is not there", server.display()));
    }
    let mut command = clean_command(find_program("java")?);
    command
        .args(["-Xms32m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg(format!("-Xmx{}m", memory.heap_max_mib))
        .arg(format!(
            "-XX:MaxDirectMemorySize={}m",
            memory.direct_max_mib
        ))
        // Its counters are files in the system's temporary directory, which outlive a kill.
        .arg("-XX:-UsePerfData")
        // Or what listens on 127.0.0.1 is listed as ::ffff:127.0.0.1.
        .arg("-Djava.net.preferIPv4Stack=true")
        .arg(format!(
            "-Djava.io.tmpdir={}",
            place.directory().join(TEMPORARY).display()
        ))
        .arg(format!("-Duser.home={}", place.directory().display()))
        .arg("-cp")
        // Its own directory first: what is configured by the class path is configured there.
        .arg(format!(
            "{}:{}",
            place.directory().display(),
            server.join("lib").join("*").display()
        ));
    Ok(command)
}

/// Runs a command of a server to its end, and gives what it wrote.
pub async fn run(mut command: Command, place: &Place) -> Result<String, String> {
    command.current_dir(place.directory()).stdin(Stdio::null());
    // Seconds that other tests on this runtime need not wait for.
    let running = tokio::task::spawn_blocking(move || (command.output(), command));
    let (output, command) = running.await.map_err(|error| error.to_string())?;
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    if output.status.success() {
        return Ok(told);
    }
    Err(format!("{command:?} ended with {}:\n{told}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_fetched_whole_is_not_there() {
        let place = Place::new("java", 0, &[]).unwrap();
        let server = place.directory().join("kafka");
        std::fs::create_dir_all(server.join("lib")).unwrap();
        let memory = Memory {
            heap_max_mib: 64,
            direct_max_mib: 64,
        };
        let refusal = command_in(&server, &place, memory).unwrap_err();
        assert!(refusal.ends_with("kafka is not there"), "{refusal}");
        std::fs::write(server.join("version"), "1").unwrap();
        command_in(&server, &place, memory).unwrap();
    }
}
