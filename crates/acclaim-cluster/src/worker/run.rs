//! The worker's loop: what is due is begun, what ended is noted, and in between it sleeps.
//!
//! The loop itself waits for nothing else, so a server that hangs holds up only what asked it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::drain::{Ended, Tools, Trouble, Turn, take_turn};
use super::look::{Seen, journal, look};
use super::pause::pause;
use super::poison::is_refusal;
use super::share::{Held, Share, Work, shares};
use super::watched::{add, set};
use super::{Desk, Stopped};
use crate::ledger::{Lease, LedgerError};
use crate::redis::error::RedisError;
use crate::redis::journal::Marks;
use crate::redis::persist::Persisted;

/// How long leases may take to be given back by a worker that stops.
const GIVE_BACK_LIMIT: Duration = Duration::from_secs(2);

/// What was under way and ended.
enum Done {
    Looked(Seen),
    Drained(Lease, Result<Ended, Trouble>),
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
    /// Turns that the ledger failed in a row; while there are any, one turn goes at a time.
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
    pub fn new(tools: Tools, name: String, desk: Arc<Desk>) -> Self {
        let now = Instant::now();
        let look_pause = Duration::from_millis(tools.limits.poll_max_millis);
        let sweeps_at = now + Duration::from_secs(tools.limits.sweep_seconds);
        Self {
            tools: Arc::new(tools),
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
                () = desk.wake.notified() => self.hurry(),
                () = desk.stop.notified(), if self.stopping.is_none() => self.begin_stop(),
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

    // Leases.

    fn begin_beat(&mut self) {
        self.is_beating = true;
        let (tools, name) = (Arc::clone(&self.tools), Arc::clone(&self.name));
        let (asked, known) = (self.share.leases(), self.partitions);
        let length = Duration::from_millis(tools.limits.lease_millis);
        let beat = async move {
            let ledger = &tools.ledger;
            let alive = ledger.beat(&name, length).await?;
            let renewed = ledger.renew_leases(&asked, length).await?;
            let partitions = match known {
                0 => u16::try_from(ledger.partitions().await?.len()).unwrap_or(u16::MAX),
                known => known,
            };
            Ok(Beat {
                partitions,
                alive,
                asked,
                renewed,
            })
        };
        self.under_way.spawn(async { Done::Beaten(beat.await) });
    }

    fn note_beat(&mut self, outcome: Result<Beat, LedgerError>, now: Instant) {
        let beat = match outcome {
            Ok(beat) => beat,
            Err(error) => return self.note_beat_failure(&error, now),
        };
        if self.beat_failures > 0 {
            tracing::info!("leases are renewed again");
        }
        self.beat_failures = 0;
        self.partitions = beat.partitions;
        self.alive = beat.alive.max(1);
        set(&self.tools.watched.workers_alive, self.alive);
        for lease in beat.asked {
            if !beat.renewed.contains(&lease) {
                self.lose(lease);
            }
        }
        if self.stopping.is_some() {
            self.is_beating = false;
            return;
        }
        let (most, _) = shares(self.partitions, self.alive);
        let owned = self.share.len();
        if owned < most {
            self.begin_take(most - owned);
            return;
        }
        let gone = self.share.give_up(owned - most);
        self.give_back(gone);
        self.end_beat(now);
    }

    fn note_beat_failure(&mut self, error: &LedgerError, now: Instant) {
        add(&self.tools.watched.ledger_failures, 1_u64);
        if self.beat_failures == 0 {
            tracing::warn!(%error, "leases cannot be taken or renewed; trying on");
        }
        self.beat_failures = self.beat_failures.saturating_add(1);
        self.is_beating = false;
        self.beats_at = now + pause(&self.tools.limits, self.beat_failures);
    }

    fn begin_take(&mut self, most: usize) {
        let (tools, name) = (Arc::clone(&self.tools), Arc::clone(&self.name));
        let most = u16::try_from(most).unwrap_or(u16::MAX);
        let length = Duration::from_millis(tools.limits.lease_millis);
        self.under_way
            .spawn(async move { Done::Taken(tools.ledger.take_leases(&name, most, length).await) });
    }

    fn note_taken(&mut self, outcome: Result<Vec<Lease>, LedgerError>, now: Instant) {
        let leases = match outcome {
            Ok(leases) => leases,
            Err(error) => return self.note_beat_failure(&error, now),
        };
        if self.stopping.is_some() {
            self.is_beating = false;
            return self.give_back(leases);
        }
        add(&self.tools.watched.leases_taken, leases.len());
        for lease in leases {
            tracing::debug!(
                partition = lease.partition,
                fence = lease.fence,
                "a lease was taken"
            );
            self.share.add(lease);
            self.looks_at = now;
        }
        self.publish_owned();
        self.end_beat(now);
    }

    fn end_beat(&mut self, now: Instant) {
        let limits = &self.tools.limits;
        let (_, least) = shares(self.partitions, self.alive);
        let wait = if self.share.len() < least {
            limits.lease_retry_millis
        } else {
            limits.lease_renew_millis
        };
        self.is_beating = false;
        self.beats_at = now + Duration::from_millis(wait);
    }

    fn lose(&mut self, lease: Lease) {
        if self.share.remove(lease) {
            tracing::warn!(
                partition = lease.partition,
                fence = lease.fence,
                "a lease was lost"
            );
            add(&self.tools.watched.leases_lost, 1_u64);
            self.publish_owned();
            self.beats_at = Instant::now();
        }
    }

    fn give_back(&mut self, leases: Vec<Lease>) {
        self.publish_owned();
        if leases.is_empty() {
            return;
        }
        let tools = Arc::clone(&self.tools);
        self.under_way.spawn(async move {
            let outcome = tools.ledger.release_leases(&leases).await;
            Done::GivenBack(leases.len(), outcome)
        });
    }

    fn publish_owned(&self) {
        let staying = self.share.iter().filter(|held| !held.is_leaving);
        let owned = staying.map(|held| held.lease.partition).collect();
        *self.desk.owned.lock() = owned;
        set(&self.tools.watched.partitions_owned, self.share.len());
    }

    // Looking.

    fn begin_look(&mut self, now: Instant) {
        let measures = now >= self.measures_at;
        let leases: Vec<Lease> = self
            .share
            .iter()
            .filter(|held| !held.rests(now) && (measures || !held.is_busy))
            .map(|held| held.lease)
            .collect();
        self.looks_at = now + self.look_pause;
        // Nothing to look at is a look too, for one who stops; what rests cannot be seen.
        if leases.is_empty() {
            if let Some(stopping) = &mut self.stopping {
                stopping.looked = true;
            }
            return;
        }
        let whole = measures && leases.len() == self.share.len();
        if whole {
            self.measures_at = now + Duration::from_millis(self.tools.limits.measure_millis);
        }
        self.is_looking = true;
        add(&self.tools.watched.polls, 1_u64);
        let tools = Arc::clone(&self.tools);
        self.under_way.spawn(async move {
            Done::Looked(look(&tools.redis, leases, whole, tools.now()).await)
        });
    }

    fn note_look(&mut self, seen: Seen, now: Instant) {
        self.is_looking = false;
        let linger = self.tools.limits.linger();
        let mut somebody_waits = false;
        let mut failed = None;
        for (lease, marks) in seen.marks {
            let Some(held) = self.share.under(lease) else {
                continue;
            };
            match marks {
                Ok(marks) => {
                    if note_marks(&self.tools, held, marks, now, linger) {
                        somebody_waits = true;
                    }
                }
                Err(error) => {
                    if !held.is_busy {
                        held.fail(now, pause(&self.tools.limits, held.failures + 1));
                    }
                    failed = Some(error);
                }
            }
        }
        if let Some(error) = failed {
            add(&self.tools.watched.redis_failures, 1_u64);
            tracing::debug!(%error, "partitions cannot be looked at");
        }
        if let Some(backlog) = seen.backlog {
            set(&self.tools.watched.backlog_events, backlog.events);
            set(
                &self.tools.watched.backlog_millis,
                backlog.oldest.as_millis(),
            );
        }
        let limits = &self.tools.limits;
        self.look_pause = if somebody_waits {
            Duration::from_millis(limits.poll_min_millis)
        } else {
            (self.look_pause * 2).min(Duration::from_millis(limits.poll_max_millis))
        };
        self.looks_at = self.looks_at.min(now + self.look_pause);
        if std::mem::take(&mut self.looks_again) {
            self.looks_at = now;
        } else if let Some(stopping) = &mut self.stopping {
            stopping.looked = true;
            self.make_all_due(now);
        }
    }

    fn hurry(&mut self) {
        let asked = std::mem::take(&mut *self.desk.asked.lock());
        let now = Instant::now();
        for partition in asked {
            add(&self.tools.watched.hurries, 1_u64);
            if let Some(held) = self.share.get(partition) {
                held.is_asked_again = held.is_busy;
                held.want(now);
            }
        }
    }

    // Turns.

    fn begin_turn(&mut self, partition: u16) {
        let keep = self.tools.limits.keep(self.partitions);
        let Some(held) = self.share.get(partition) else {
            return;
        };
        held.is_busy = true;
        held.is_asked_again = false;
        held.work = Work::Nothing;
        let turn = Turn {
            journal: journal(held.lease),
            lease: held.lease,
            attempt: held.refusals + 1,
            keep,
        };
        self.turns += 1;
        set(&self.tools.watched.drains_running, self.turns);
        let tools = Arc::clone(&self.tools);
        self.under_way.spawn(async move {
            let outcome = take_turn(&tools, turn).await;
            Done::Drained(turn.lease, outcome)
        });
    }

    fn note_turn(&mut self, lease: Lease, outcome: Result<Ended, Trouble>, now: Instant) {
        self.turns -= 1;
        set(&self.tools.watched.drains_running, self.turns);
        let reached_ledger = !matches!(
            outcome,
            Err(Trouble::Ledger(LedgerError::Unavailable { .. }) | Trouble::Redis(_))
        );
        if reached_ledger && self.ledger_failures > 0 {
            tracing::info!("the ledger takes events again");
            self.ledger_failures = 0;
            self.tools
                .watched
                .ledger_away
                .store(false, Ordering::Relaxed);
        }
        if let Err(Trouble::Ledger(LedgerError::Fenced { .. })) = outcome {
            self.lose(lease);
            return;
        }
        let Some(held) = self.share.under(lease) else {
            return;
        };
        held.is_busy = false;
        match outcome {
            Ok(ended) => {
                held.succeed();
                if ended == Ended::More || held.is_asked_again {
                    held.want(now);
                }
            }
            Err(trouble) => self.note_trouble(lease, &trouble, now),
        }
        let gone = self.share.gone();
        if !gone.is_empty() {
            self.give_back(gone);
        }
    }

    fn note_trouble(&mut self, lease: Lease, trouble: &Trouble, now: Instant) {
        let limits = &self.tools.limits;
        let Some(held) = self.share.under(lease) else {
            return;
        };
        held.want(now);
        let partition = lease.partition;
        match trouble {
            Trouble::Ledger(error @ LedgerError::Unavailable { .. }) => {
                add(&self.tools.watched.ledger_failures, 1_u64);
                if self.ledger_failures == 0 {
                    tracing::warn!(%error, "the ledger takes no events; the journals hold them");
                    self.tools
                        .watched
                        .ledger_away
                        .store(true, Ordering::Relaxed);
                }
                self.ledger_failures = self.ledger_failures.saturating_add(1);
                self.ledger_rests_until = now + pause(limits, self.ledger_failures);
            }
            Trouble::Ledger(error) => {
                if is_refusal(error) {
                    add(&self.tools.watched.refused_batches, 1_u64);
                    held.refusals = held.refusals.saturating_add(1);
                } else {
                    add(&self.tools.watched.ledger_failures, 1_u64);
                }
                tracing::warn!(partition, %error, "a batch was not applied; it is tried again");
                held.fail(now, pause(limits, held.failures + 1));
            }
            Trouble::Redis(error) => {
                add(&self.tools.watched.redis_failures, 1_u64);
                tracing::debug!(partition, %error, "a partition cannot be drained");
                held.fail(now, pause(limits, held.failures + 1));
            }
            Trouble::OtherJournal | Trouble::Opening => {
                tracing::debug!(partition, %trouble, "a partition is looked at anew");
                held.fail(now, pause(limits, 1));
            }
        }
    }

    // Sweeping.

    fn begin_sweep(&mut self, now: Instant) {
        self.sweeps_at = now + Duration::from_secs(self.tools.limits.sweep_seconds);
        let leases = self.share.leases();
        if leases.is_empty() || self.stopping.is_some() {
            return;
        }
        self.is_sweeping = true;
        let (tools, partitions) = (Arc::clone(&self.tools), self.partitions);
        self.under_way.spawn(async move {
            for lease in leases {
                if let Err(error) = sweep(&tools, lease, partitions).await {
                    // The next one sees to it.
                    tracing::debug!(partition = lease.partition, %error, "a sweep failed");
                }
            }
            Done::Swept
        });
    }

    // Stopping.

    fn begin_stop(&mut self) {
        let now = Instant::now();
        let most = Duration::from_millis(self.tools.limits.stop_max_millis);
        self.stopping = Some(Stopping {
            until: now + most,
            looked: false,
        });
        self.looks_at = now;
        // A look that is under way began before.
        self.looks_again = self.is_looking;
        self.make_all_due(now);
    }

    /// What was seen waits no longer.
    fn make_all_due(&mut self, now: Instant) {
        for held in self.share.iter_mut() {
            if held.work != Work::Nothing {
                held.want(now);
            }
        }
    }

    fn has_stopped(&self, now: Instant) -> bool {
        let Some(stopping) = self.stopping else {
            return false;
        };
        now >= stopping.until || self.is_drained(stopping)
    }

    fn is_drained(&self, stopping: Stopping) -> bool {
        let mut held = self.share.iter();
        stopping.looked
            && self.turns == 0
            && held.all(|held| held.work == Work::Nothing && held.rests_until.is_none())
    }

    async fn end(mut self) -> Stopped {
        let drained = self
            .stopping
            .is_some_and(|stopping| self.is_drained(stopping));
        self.under_way.shutdown().await;
        let (ledger, leases) = (&self.tools.ledger, self.share.leases());
        let give_back = async {
            ledger.release_leases(&leases).await?;
            ledger.leave(&self.name).await
        };
        let outcome = tokio::time::timeout(GIVE_BACK_LIMIT, give_back).await;
        let given_back = matches!(outcome, Ok(Ok(())));
        if given_back {
            add(&self.tools.watched.leases_given_back, leases.len());
        } else {
            tracing::warn!(
                leases = leases.len(),
                "leases are left to end by themselves"
            );
        }
        self.share = Share::default();
        self.publish_owned();
        Stopped {
            drained,
            given_back,
        }
    }
}

/// What a partition's marks ask for. Answers whether somebody waits for the ledger.
fn note_marks(
    tools: &Tools,
    held: &mut Held,
    marks: Marks,
    now: Instant,
    linger: Duration,
) -> bool {
    if held.is_busy {
        return false;
    }
    let Marks::Known {
        last,
        durable,
        wanted,
        ..
    } = marks
    else {
        if marks == Marks::Cold {
            held.reached = acclaim_core::Rev::ZERO;
        }
        held.want(now);
        return false;
    };
    if last < held.reached {
        add(&tools.watched.went_back, 1_u64);
        tracing::error!(
            partition = held.lease.partition,
            last = last.0,
            ledger = held.reached.0,
            "Redis has less of a partition than the ledger: it came back with a part of what it had"
        );
        held.reached = last;
    }
    held.reached = held.reached.max(durable);
    if last <= durable {
        held.work = Work::Nothing;
        held.succeed();
        return false;
    }
    let is_wanted = wanted > durable;
    held.want(if is_wanted { now } else { now + linger });
    is_wanted
}

/// Trims what has become too old in a partition where nothing happens, and removes old answers.
async fn sweep(tools: &Tools, lease: Lease, partitions: u16) -> Result<(), RedisError> {
    let journal = journal(lease);
    let marks = tools.redis.marks(journal).await?;
    if let Marks::Known { durable, kept, .. } = marks
        && kept > 0
    {
        let nothing_new = Persisted {
            upto: durable,
            after: durable,
            ..Persisted::default()
        };
        let keep = tools.limits.keep(partitions);
        tools
            .redis
            .persisted(journal, tools.now(), keep, &nothing_new)
            .await?;
    }
    loop {
        let (shelves, more) = tools.redis.sweep_answers(journal, tools.now()).await?;
        add(&tools.watched.shelves_removed, shelves);
        if !more {
            return Ok(());
        }
    }
}
