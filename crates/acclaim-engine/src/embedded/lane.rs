//! The lane: the one thread that decides and commits.
//!
//! It takes a batch from the combiner, decides every op against the view, writes one frame to the
//! log, makes it durable, publishes it, and only then answers. While it waits for the disk the next
//! batch gathers. When the active delta is full it seals it; when the one before is not in the base
//! yet, it waits: memory is bounded by that.
//!
//! Invariants: nobody is answered, and no reader sees anything, before it is durable; what could
//! not be written was not decided.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use acclaim_core::limits::{IDEMPOTENCY_SECONDS, MAX_TARGET_TYPES};
use acclaim_core::port::{Applied, Fingerprint, Idempotency};
use acclaim_core::{Op, ReadError, Rev, Transition, WriteError};
use smallvec::SmallVec;
use tokio::runtime::Handle;
use tracing::{error, warn};

use super::checkpoint::Sealed;
use super::delta::Delta;
use super::dictionary::NewName;
use super::key::EdgeRef;
use super::log::{LogFailure, LogWriter};
use super::notes::Answer;
use super::shared::Shared;
use super::view::View;
use super::workspace::{Outlet, Workspace};
use crate::combiner::{Call, Taker};
use crate::failpoint;

/// What a caller is told to wait when the disk is full.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(5);

/// Work inside a commit that is not an op: jobs, repairs, audit.
pub type Work = Box<dyn FnOnce(&mut Workspace<'_>) -> Result<(), ReadError> + Send>;

/// What a commit does besides its ops, once they are decided.
pub type Then = Box<dyn FnOnce(&[Transition], &mut Workspace<'_>) + Send>;

/// What the lane is asked.
pub enum Command {
    /// Decide ops.
    Write(Vec<Op>, Option<KeyInFlight>),
    /// Decide ops, and write down in the same commit what came of them.
    Step(Vec<Op>, Then),
    /// Do something else in a commit.
    Work(Work),
    /// Seal what is in memory, so that a checkpoint follows. Answered when it is sealed.
    Seal,
}

/// The answer of the lane.
pub type Reply = Result<Applied, WriteError>;

/// An idempotency key whose write is under way; frees it when dropped.
pub struct KeyInFlight {
    /// The key and its request.
    pub idempotency: Idempotency,
    shared: Arc<Shared>,
}

impl KeyInFlight {
    /// Takes the key, unless it is under way already.
    pub fn take(shared: &Arc<Shared>, idempotency: Idempotency) -> Result<Self, WriteError> {
        if !shared.in_flight.lock().insert(idempotency.key) {
            return Err(WriteError::IdempotencyInFlight);
        }
        Ok(Self {
            idempotency,
            shared: Arc::clone(shared),
        })
    }

    fn key(&self) -> &Fingerprint {
        &self.idempotency.key
    }
}

impl Drop for KeyInFlight {
    fn drop(&mut self) {
        self.shared.in_flight.lock().remove(&self.idempotency.key);
    }
}

/// Why a command did nothing.
enum Failure {
    /// It alone is refused.
    Refused(WriteError),
    /// The store cannot be read: the whole commit is given up.
    Unreadable(ReadError),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(error)
    }
}

type LaneCall = Call<Command, Reply>;

/// The one writer.
pub struct Lane {
    shared: Arc<Shared>,
    log: LogWriter,
    checkpoints: Sender<Sealed>,
    seal_wanted: bool,
    /// Kinds that are new to this store; the first commit that says anything writes their numbers.
    new_names: Vec<NewName>,
    /// The runtime that the callers run on, if the engine was opened on one.
    runtime: Option<Handle>,
}

impl Lane {
    /// A lane that goes on after what `log` holds.
    pub fn new(
        shared: Arc<Shared>,
        log: LogWriter,
        checkpoints: Sender<Sealed>,
        new_names: Vec<NewName>,
    ) -> Self {
        Self {
            shared,
            log,
            checkpoints,
            seal_wanted: false,
            new_names,
            runtime: Handle::try_current().ok(),
        }
    }

    /// Runs until the combiner is closed and empty, then seals what is left.
    pub fn run(mut self, mut taker: Taker<Command, Reply>) {
        let mut batch = Vec::new();
        while taker.take(self.shared.options.commit_max_ops, &mut batch) {
            let started = Instant::now();
            let full = self.shared.view.load().active.size() >= self.shared.options.delta_max_edges;
            if full && !self.seal() {
                let full = WriteError::Unavailable {
                    reason: "the disk is full".to_owned(),
                    retry_after: RETRY_WHEN_FULL,
                };
                batch
                    .drain(..)
                    .for_each(|call| answer(call.answer, Err(full.clone())));
                continue;
            }
            self.commit(&mut batch);
            self.shared
                .metrics
                .commit_seconds
                .observe(started.elapsed().as_secs_f64());
            if std::mem::take(&mut self.seal_wanted) {
                self.seal();
            }
        }
        if self.shared.view.load().active.size() > 0 {
            self.seal();
        }
        self.shared.running.store(false, Ordering::Release);
    }

    fn commit(&mut self, batch: &mut Vec<LaneCall>) {
        let view = self.shared.view.load_full();
        let dictionary = self.shared.dictionary.load_full();
        let mut work = Workspace::new(&view, dictionary, self.log.last_seq());
        for NewName { key, value } in &self.new_names {
            work.note(key.clone(), Some(value.clone()));
        }
        let mut answers = Vec::with_capacity(batch.len());
        let mut ops = 0;
        let mut calls = std::mem::take(batch).into_iter();
        while let Some(call) = calls.next() {
            let (reply, keep) = match self.execute(call.request, &mut work, &mut ops) {
                Ok((applied, keep)) => (Ok(applied), keep),
                Err(Failure::Refused(refusal)) => (Err(refusal), None),
                Err(Failure::Unreadable(error)) => {
                    error!(%error, "the store could not be read; a commit was given up");
                    let failed = unavailable("the store could not be read", Duration::from_secs(1));
                    answer(call.answer, Err(failed.clone()));
                    fail_all(answers, &failed);
                    calls.for_each(|call| answer(call.answer, Err(failed.clone())));
                    return;
                }
            };
            answers.push((call.answer, reply, keep));
        }
        self.shared.metrics.commit_ops.observe(ops as f64);
        // Names alone are no reason for a commit: they wait for the first that has more to say.
        let only_names = work.entries().len() == self.new_names.len();
        if !only_names {
            if let Err(failed) = self.make_durable(&work) {
                fail_all(answers, &failed);
                return;
            }
            self.new_names.clear();
            self.publish(work);
        }
        failpoint::hit(failpoint::COMMIT_BEFORE_ANSWER);
        self.deliver(answers);
    }

    /// Hands every caller its answer. Where there is a runtime, one task of it does that: waking
    /// the callers from inside costs a queue push each, from here it would cost a lock each and
    /// often a system call.
    fn deliver(&self, answers: Vec<Pending>) {
        let deliver = move || {
            for (sender, reply, in_flight) in answers {
                // Before the answer, so that a repeat right after it finds the key free.
                drop(in_flight);
                answer(sender, reply);
            }
        };
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(async move { deliver() })),
            None => deliver(),
        }
    }

    /// Writes the commit to the log. Ends the process when the disk fails.
    fn make_durable(&mut self, work: &Workspace<'_>) -> Result<(), WriteError> {
        if work.entries().is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let written = self.log.append(work.entries());
        self.shared
            .metrics
            .log_seconds
            .observe(started.elapsed().as_secs_f64());
        match written {
            Ok(bytes) => {
                self.shared.metrics.log_bytes.inc_by(bytes as u64);
                self.set_disk_full(false);
                Ok(())
            }
            Err(LogFailure::Full) => {
                self.set_disk_full(true);
                Err(unavailable("the disk is full", RETRY_WHEN_FULL))
            }
            Err(LogFailure::Broken(error)) => {
                error!(%error, "the log could not be written; what is durable is unknown, so this process ends");
                std::process::abort();
            }
        }
    }

    fn set_disk_full(&self, full: bool) {
        if self.shared.disk_full.swap(full, Ordering::Relaxed) != full && full {
            warn!("the disk is full; writes are refused until there is room");
        }
        self.shared.metrics.disk_full.set(i64::from(full));
    }

    fn publish(&mut self, work: Workspace<'_>) {
        let dictionary = Arc::clone(work.dictionary());
        let outlet = Outlet {
            daily: &self.shared.daily,
            boards: &self.shared.boards,
        };
        let changes = work.transitions();
        let size = &self.shared.view.load().active;
        work.publish(&outlet);
        if !Arc::ptr_eq(&dictionary, &self.shared.dictionary.load()) {
            self.shared.dictionary.store(dictionary);
        }
        let metrics = &self.shared.metrics;
        metrics.transitions.inc_by(changes as u64);
        metrics.delta_size.set(size.size() as i64);
        metrics.journal_position.set(self.log.last_seq().0 as i64);
        if changes > 0 {
            self.shared.end.send_replace(self.log.last_seq());
        }
    }

    fn execute(
        &mut self,
        command: Command,
        work: &mut Workspace<'_>,
        ops_done: &mut usize,
    ) -> Result<(Applied, Option<KeyInFlight>), Failure> {
        match command {
            Command::Write(ops, in_flight) => {
                *ops_done += ops.len();
                let applied = self.write(&ops, in_flight.as_ref(), work)?;
                Ok((applied, in_flight))
            }
            Command::Step(ops, then) => {
                *ops_done += ops.len();
                let applied = self.write(&ops, None, work)?;
                then(&applied.transitions, work);
                Ok((applied, None))
            }
            Command::Work(run) => {
                run(work)?;
                Ok((nothing(), None))
            }
            Command::Seal => {
                self.seal_wanted = true;
                Ok((nothing(), None))
            }
        }
    }

    fn write(
        &self,
        ops: &[Op],
        in_flight: Option<&KeyInFlight>,
        work: &mut Workspace<'_>,
    ) -> Result<Applied, Failure> {
        let now = self.shared.clock.now();
        if let Some(in_flight) = in_flight
            && let Some(answer) = work.read_note(&Answer::key(in_flight.key()))?
        {
            let answer = Answer::decode(&answer).map_err(ReadError::from)?;
            if now.0 < answer.at.0 + IDEMPOTENCY_SECONDS * 1_000_000 {
                if answer.request != in_flight.idempotency.request {
                    return Err(Failure::Refused(WriteError::IdempotencyMismatch));
                }
                return Ok(Applied {
                    transitions: answer.transitions,
                    replayed: true,
                });
            }
        }
        let edges = self.numbered(ops, work)?;
        let mut transitions = Vec::with_capacity(ops.len());
        for (op, edge) in ops.iter().zip(&edges) {
            transitions.push(self.decide(op, edge, work, now)?);
        }
        if let Some(in_flight) = in_flight {
            self.remember(in_flight, &transitions, work, now);
        }
        Ok(Applied {
            transitions,
            replayed: false,
        })
    }

    /// The edges by numbers. Before anything is decided, so that a refusal leaves nothing behind.
    fn numbered(
        &self,
        ops: &[Op],
        work: &mut Workspace<'_>,
    ) -> Result<SmallVec<[EdgeRef; 1]>, Failure> {
        let mut edges = SmallVec::with_capacity(ops.len());
        for op in ops {
            let target = &op.edge.target;
            let Some(target_type) = work.type_number(&target.target_type) else {
                return Err(Failure::Refused(WriteError::TooManyTargetTypes {
                    limit: MAX_TARGET_TYPES,
                    given: target.target_type.to_string(),
                }));
            };
            let kind = work.dictionary().kind(op.edge.kind);
            let (user, target) = (op.edge.user.clone(), target.id.clone());
            edges.push(EdgeRef {
                kind,
                user,
                target_type,
                target,
            });
        }
        Ok(edges)
    }

    fn decide(
        &self,
        op: &Op,
        edge: &EdgeRef,
        work: &mut Workspace<'_>,
        now: Rev,
    ) -> Result<Transition, ReadError> {
        let excluded: SmallVec<[_; 2]> = self
            .shared
            .kinds
            .excluded_by(op.edge.kind)
            .iter()
            .map(|id| (*id, work.dictionary().kind(*id)))
            .collect();
        let transition = work.decide(op, edge, &excluded, now)?;
        if !transition.changed {
            self.shared.metrics.unchanged.inc();
        }
        Ok(transition)
    }

    fn remember(
        &self,
        in_flight: &KeyInFlight,
        transitions: &[Transition],
        work: &mut Workspace<'_>,
        now: Rev,
    ) {
        let answer = Answer {
            request: in_flight.idempotency.request,
            at: now,
            transitions: transitions.to_vec(),
        };
        work.note(Answer::key(in_flight.key()), Some(answer.encode()));
        work.note(Answer::age_key(now, in_flight.key()), Some(Vec::new()));
        self.shared.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Seals the active delta once the one before is in the base. Answers `false` when that cannot
    /// be, because the disk is full.
    fn seal(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let free = shared.checkpointed.wait_until(|_| {
            let free = shared.view.load().sealed.is_none();
            (free || shared.disk_full.load(Ordering::Relaxed)).then_some(free)
        });
        if !free {
            return false;
        }
        let view = shared.view.load_full();
        if view.active.size() == 0 {
            return true;
        }
        let sealed = Sealed::new(&shared, &view, self.log.last_number(), self.log.last_seq());
        let spare = shared.spare_delta.lock().take();
        let active = spare.unwrap_or_else(|| Delta::with_room_for(shared.options.delta_max_edges));
        shared.view.store(Arc::new(View {
            active: Arc::new(active),
            sealed: Some(Arc::clone(&view.active)),
            base: Arc::clone(&view.base),
        }));
        // The checkpointer outlives the lane; if it died the process is ending anyway.
        let _ = self.checkpoints.send(sealed);
        true
    }
}

fn nothing() -> Applied {
    Applied {
        transitions: Vec::new(),
        replayed: false,
    }
}

fn unavailable(reason: &str, retry_after: Duration) -> WriteError {
    WriteError::Unavailable {
        reason: reason.to_owned(),
        retry_after,
    }
}

type Pending = (
    tokio::sync::oneshot::Sender<Reply>,
    Reply,
    Option<KeyInFlight>,
);

fn fail_all(answers: Vec<Pending>, failed: &WriteError) {
    for (sender, _, in_flight) in answers {
        drop(in_flight);
        answer(sender, Err(failed.clone()));
    }
}

fn answer(sender: tokio::sync::oneshot::Sender<Reply>, reply: Reply) {
    // A caller who went away does not want to know.
    let _ = sender.send(reply);
}
