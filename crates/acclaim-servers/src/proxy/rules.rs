//! What a proxy does to its connections at the moment, and what it counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// What is done to every piece that passes. Arrays are by [`Direction`].
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub delay: Duration,
    pub bytes_per_second: Option<u64>,
    pub black_hole: [bool; 2],
    pub stall: [bool; 2],
}

/// What cuts a connection once.
#[derive(Clone, Debug)]
pub enum Trap {
    /// After so many replies.
    Replies { left: u32 },
    /// Behind these bytes, or at the server's reply to them.
    Pattern {
        direction: Direction,
        pattern: Box<[u8]>,
        lose_reply: bool,
    },
}

/// The order to close all connections, numbered.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    pub with_reset: bool,
}

/// What the proxy's owner, its thread and all its connections see.
#[derive(Debug)]
pub struct Shared {
    rules: watch::Sender<Rules>,
    ends: watch::Sender<End>,
    trap: Mutex<Option<Trap>>,
    connections: AtomicUsize,
    passed: [AtomicU64; 2],
    sprung: AtomicU64,
}

impl Shared {
    pub fn new() -> Self {
        Self {
            rules: watch::Sender::new(Rules::default()),
            ends: watch::Sender::new(End::default()),
            trap: Mutex::new(None),
            connections: AtomicUsize::new(0),
            passed: [AtomicU64::new(0), AtomicU64::new(0)],
            sprung: AtomicU64::new(0),
        }
    }

    pub fn rules(&self) -> watch::Receiver<Rules> {
        self.rules.subscribe()
    }

    pub fn change(&self, change: impl FnOnce(&mut Rules)) {
        self.rules.send_modify(change);
    }

    /// Tells when the connections that are open now have to close.
    pub fn ends(&self) -> watch::Receiver<End> {
        self.ends.subscribe()
    }

    pub fn end_connections(&self, with_reset: bool) {
        self.ends.send_replace(End { with_reset });
    }

    pub fn heal(&self) {
        self.with_trap(|trap| *trap = None);
        self.change(|rules| *rules = Rules::default());
    }

    pub fn set_trap(&self, new: Trap) {
        self.with_trap(|trap| *trap = Some(new));
    }

    /// One connection at a time looks at the trap, so that it springs once.
    pub fn with_trap<T>(&self, look: impl FnOnce(&mut Option<Trap>) -> T) -> T {
        look(&mut self.trap.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn count_spring(&self) {
        self.sprung.fetch_add(1, Ordering::SeqCst);
    }

    pub fn sprung(&self) -> u64 {
        self.sprung.load(Ordering::SeqCst)
    }

    pub fn count_passed(&self, direction: Direction, bytes: usize) {
        self.passed[direction as usize].fetch_add(bytes as u64, Ordering::SeqCst);
    }

    pub fn passed_bytes(&self, direction: Direction) -> u64 {
        self.passed[direction as usize].load(Ordering::SeqCst)
    }

    /// Counts a connection until what is returned is dropped.
    pub fn count_connection(&self) -> Counted<'_> {
        self.connections.fetch_add(1, Ordering::SeqCst);
        Counted(self)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A connection, as long as it is counted.
#[derive(Debug)]
pub struct Counted<'a>(&'a Shared);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}
