//! Ports: which are free, and whose they are.
//!
//! A port is asked for below the range that the system gives to outgoing connections, or a client
//! somewhere could sit on it while its server is down. It is reserved by a locked file, so that
//! test processes of one user do not get in each other's way between a server's end and its
//! restart; the lock goes with the process.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

const LOWEST: u16 = 12_000;
const HIGHEST: u16 = 32_000;
const MAX_ATTEMPTS: usize = 1_000;
/// How the kernel's table writes 127.0.0.1 and the state of a listening socket.
const LOOPBACK: &str = "0100007F";
const LISTENING: &str = "0A";

/// A port of 127.0.0.1, reserved as long as this lives, with those that go with it.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _reservations: Vec<File>,
}

impl Port {
    /// Reserves a port that nobody listens on, and likewise the ports that lie so far below it.
    pub fn reserve(below: &[u16]) -> Result<Self, String> {
        let owner = rustix::process::getuid();
        let directory = std::env::temp_dir().join(format!("acclaim-test-ports-{}", owner.as_raw()));
        std::fs::create_dir_all(&directory)
            .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
        for _ in 0..MAX_ATTEMPTS {
            let number = rand::random_range(LOWEST..HIGHEST);
            let numbers = below.iter().map(|distance| number - distance);
            let reserved: Result<Option<Vec<File>>, String> = std::iter::once(number)
                .chain(numbers)
                .map(|number| reserve(&directory, number))
                .collect();
            if let Some(reservations) = reserved? {
                return Ok(Self {
                    number,
                    _reservations: reservations,
                });
            }
        }
        Err(format!(
            "no free port between {LOWEST} and {HIGHEST} in {MAX_ATTEMPTS} attempts"
        ))
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// The reservation of a port, if it is to be had.
fn reserve(directory: &Path, number: u16) -> Result<Option<File>, String> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join(number.to_string()))
        .map_err(|error| format!("cannot reserve port {number}: {error}"))?;
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
    Ok((file.try_lock().is_ok() && free()).then_some(file))
}

/// Whether this process listens on this port of 127.0.0.1. An answer from the port alone proves
/// nothing: it may be somebody else's server.
pub fn is_owned_by(port: u16, process: u32) -> io::Result<bool> {
    let Some(inode) = listening_inode(port)? else {
        return Ok(false);
    };
    let socket = format!("socket:[{inode}]");
    for file in std::fs::read_dir(format!("/proc/{process}/fd"))? {
        // A file that was closed in the meantime is not the one that listens.
        if std::fs::read_link(file?.path()).is_ok_and(|target| target == Path::new(&socket)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn listening_inode(port: u16) -> io::Result<Option<String>> {
    let wanted = format!("{LOOPBACK}:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let inode = table.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let found = columns.get(1) == Some(&wanted.as_str()) && columns.get(3) == Some(&LISTENING);
        found.then(|| columns.get(9).map(|inode| (*inode).to_owned()))?
    });
    Ok(inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_reservations_differ_and_a_taken_port_is_not_given() {
        let ports: Vec<Port> = (0..50).map(|_| Port::reserve(&[]).unwrap()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
    }

    #[test]
    fn a_port_below_is_reserved_with_its_port() {
        let port = Port::reserve(&[2]).unwrap();
        let directory = std::env::temp_dir().join(format!(
            "acclaim-test-ports-{}",
            rustix::process::getuid().as_raw()
        ));
        let below = port.number() - 2;
        assert!(reserve(&directory, below).unwrap().is_none());
        drop(port);
        assert!(reserve(&directory, below).unwrap().is_some());
    }

    #[test]
    fn a_listener_is_ours_and_nobody_elses() {
        let port = Port::reserve(&[]).unwrap().number();
        let own = std::process::id();
        assert!(!is_owned_by(port, own).unwrap());
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(is_owned_by(port, own).unwrap());
        let mut other = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let others = is_owned_by(port, other.id()).unwrap();
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(!others);
    }
}
