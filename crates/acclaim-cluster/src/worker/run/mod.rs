//! The worker's loop: what is due is begun, what ended is noted, and in between it sleeps.
//!
//! The loop itself waits for nothing else, so a server that hangs holds up only what asked it.

mod leases;
mod looks;
mod stop;
mod sweep;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::Stopped;
use super::desk::Desk;
use super::drain::{Outcome, Tools};
use super::look::Seen;
use super::share::Share;
use super::watched::add;
use crate::ledger::{Lease, LedgerError};

/// What was under way and ended.
enum Done {
    Looked(Seen),
    Drained(Lease, Outcome),
    Beaten(Result<Beat, LedgerError>),
    Taken(Result<Vec<Lease>, LedgerError>),
    GivenBack(usize, Result<(), LedgerError>),
    Swept,
}

/// What the ledger said about workers and leases.
struct Beat {
    partitions: u16,
    alive: usize,
    asked: Vec<Lease>,
    renewed: Vec<Lease>,
}

/// A worker that stops.
#[derive(Clone, Copy)]
struct Stopping {
    until: Instant,
    /// Its partitions were looked at once more.
    looked: bool,
}

pub(super) struct Run {
    tools: Arc<Tools>,
    name: Arc<str>,
    desk: Arc<Desk>,
    share: Share,
    /// Of the store; 0 until the ledger said.
    partitions: u16,
    alive: usize,
    under_way: JoinSet<Done>,
    turns: usize,
    is_looking: bool,
    /// The look under way began before the worker was asked to stop, so it says too little.
    looks_again: bool,
    is_beating: bool,
    is_sweeping: bool,
    /// Turns that the ledger (or the bus before it) failed in a row; while there are any, one turn
    /// goes at a time.
    ledger_failures: u32,
    ledger_rests_until: Instant,
    beat_failures: u32,
    looks_at: Instant,
    look_pause: Duration,
    measures_at: Instant,
    beats_at: Instant,
    sweeps_at: Instant,
    stopping: Option<Stopping>,
}

impl Run {
    pub fn new(tools: Arc<Tools>, name: String, desk: Arc<Desk>) -> Self {
        let now = Instant::now();
        let look_pause = Duration::from_millis(tools.limits.poll_max_millis);
        let sweeps_at = now + Duration::from_secs(tools.limits.sweep_seconds);
        Self {
            tools,
            name: name.into(),
            desk,
            share: Share::default(),
            partitions: 0,
            alive: 1,
            under_way: JoinSet::new(),
            turns: 0,
            is_looking: false,
            looks_again: false,
            is_beating: false,
            is_sweeping: false,
            ledger_failures: 0,
            ledger_rests_until: now,
            beat_failures: 0,
            looks_at: now,
            look_pause,
            measures_at: now,
            beats_at: now,
            sweeps_at,
            stopping: None,
        }
    }

    pub async fn work(mut self) -> Stopped {
        let desk = Arc::clone(&self.desk);
        loop {
            self.begin(Instant::now());
            if self.has_stopped(Instant::now()) {
                return self.end().await;
            }
            let wakes = self.wakes();
            tokio::select! {
                Some(done) = self.under_way.join_next(), if !self.under_way.is_empty() => {
                    self.note(done);
                }
                () = desk.asked() => self.hurry(),
                () = desk.stopped(), if self.stopping.is_none() => self.begin_stop(),
                () = tokio::time::sleep_until(wakes) => {}
            }
        }
    }

    /// Begins everything that is due.
    fn begin(&mut self, now: Instant) {
        if now >= self.beats_at && !self.is_beating && self.stopping.is_none() {
            self.begin_beat();
        }
        if now >= self.looks_at && !self.is_looking {
            self.begin_look(now);
        }
        if now >= self.sweeps_at && !self.is_sweeping {
            self.begin_sweep(now);
        }
        while self.has_room(now)
            && let Some(partition) = self.share.next(now)
        {
            self.begin_turn(partition);
        }
    }

    fn has_room(&self, now: Instant) -> bool {
        if self.ledger_failures > 0 {
            return self.turns == 0 && now >= self.ledger_rests_until;
        }
        self.turns < self.tools.limits.drains_at_once
    }

    /// When there is something to begin, if nothing ends before.
    fn wakes(&self) -> Instant {
        let mut wakes = self.sweeps_at;
        if !self.is_looking {
            wakes = wakes.min(self.looks_at);
        }
        if !self.is_beating && self.stopping.is_none() {
            wakes = wakes.min(self.beats_at);
        }
        // Where there is no room, the end of a turn wakes.
        let has_room = self.turns == 0
            || (self.ledger_failures == 0 && self.turns < self.tools.limits.drains_at_once);
        if let Some(due) = self.share.wakes().filter(|_| has_room) {
            let gate = (self.ledger_failures > 0).then_some(self.ledger_rests_until);
            wakes = wakes.min(gate.map_or(due, |gate| due.max(gate)));
        }
        self.stopping
            .map_or(wakes, |stopping| wakes.min(stopping.until))
    }

    fn note(&mut self, done: Result<Done, JoinError>) {
        let now = Instant::now();
        match done {
            Ok(Done::Looked(seen)) => self.note_look(seen, now),
            Ok(Done::Drained(lease, outcome)) => self.note_turn(lease, outcome, now),
            Ok(Done::Beaten(outcome)) => self.note_beat(outcome, now),
            Ok(Done::Taken(outcome)) => self.note_taken(outcome, now),
            Ok(Done::GivenBack(leases, outcome)) => match outcome {
                Ok(()) => add(&self.tools.watched.leases_given_back, leases),
                // They end by themselves.
                Err(error) => tracing::warn!(%error, leases, "leases could not be given back"),
            },
            Ok(Done::Swept) => self.is_sweeping = false,
            // A bug ends the worker, loudly; its leases end and others go on.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }
}
