//! One lane a partition: what waits while a call is under way goes into the next one.
//!
//! There are no timers and no idle tasks: a lane runs while something waits in it. (The combiner of
//! the embedded engine blocks a thread for each taker; here there are many lanes, and what is slow
//! is a call that a task can wait for.) Of one partition one call is under way at a time, of
//! different partitions as many as there are.
//!
//! A [`Piece`] is what one write has for one partition. It goes into one call, so its ops are
//! decided in its order; those that are cold are loaded beside the lane, which goes on, and come
//! back together with those that wait for them.
//!
//! Whoever waits may give a piece up: before it was sent that is certain, afterwards it is not.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use acclaim_core::Transition;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::shared::Shared;
use crate::redis::decide::{DecideOp, Decided};
use crate::redis::error::RedisError;
use crate::redis::keys::TargetName;
use crate::redis::load::Cold;

/// The pause before a call that was not carried out is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Whether a piece can still be given up.
#[derive(Debug)]
pub struct Turn(AtomicU8);

const WAITING: u8 = 0;
const SENT: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Turn {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU8::new(WAITING)))
    }

    fn change(&self, from: u8, to: u8) -> bool {
        let changed = self
            .0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        changed.is_ok()
    }

    /// Gives the piece up. `false` when something of it was or is being decided.
    pub fn give_up(&self) -> bool {
        self.change(WAITING, GIVEN_UP) || self.0.load(Ordering::Acquire) == GIVEN_UP
    }
}

/// Why a piece was not decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceFailure {
    /// Nothing of it was decided.
    NotDecided(String),
    /// Some of it may have been.
    Unknown(String),
    /// Its idempotency key came before with another request.
    Mismatch,
}

/// The answer to an op, and whether it is that of an earlier request.
pub type Answer = (Transition, bool);

/// How a piece is to be decided.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Whether repeating it is harmless.
    pub repeatable: bool,
    /// Whether a replica must have it before it is answered.
    pub replicated: bool,
    /// Until when.
    pub deadline: Instant,
}

/// What one write has for one partition.
pub struct Piece {
    /// Ops not decided yet, each with its place among the answers.
    ops: Vec<(usize, DecideOp)>,
    answers: Vec<Option<Answer>>,
    terms: Terms,
    /// Whether a call was lost that may have decided it.
    is_open: bool,
    /// Whether a replica has every call that decided something of it.
    replicated: bool,
    turn: Arc<Turn>,
    answer: oneshot::Sender<Result<Vec<Answer>, PieceFailure>>,
}

/// A piece on its way.
pub struct Sent {
    /// To give it up by.
    pub turn: Arc<Turn>,
    /// Where its answer comes.
    pub answer: oneshot::Receiver<Result<Vec<Answer>, PieceFailure>>,
}

impl Piece {
    /// Ops of one write in one partition.
    pub fn new(ops: Vec<DecideOp>, terms: Terms) -> (Self, Sent) {
        let (sender, receiver) = oneshot::channel();
        let turn = Turn::new();
        let piece = Self {
            answers: vec![None; ops.len()],
            ops: ops.into_iter().enumerate().collect(),
            terms,
            is_open: false,
            replicated: true,
            turn: Arc::clone(&turn),
            answer: sender,
        };
        let sent = Sent {
            turn,
            answer: receiver,
        };
        (piece, sent)
    }

    /// Whether it is certain that nothing of it was decided.
    fn is_untouched(&self) -> bool {
        !self.is_open && self.answers.iter().all(Option::is_none)
    }

    fn fail(self, failure: PieceFailure) {
        // Nobody may be waiting any more.
        let _ = self.answer.send(Err(failure));
    }

    /// Fails with what is known about what was decided before.
    fn fail_before_more(self, reason: String) {
        let failure = if self.is_untouched() {
            PieceFailure::NotDecided(reason)
        } else {
            PieceFailure::Unknown(reason)
        };
        self.fail(failure);
    }
}

#[derive(Default)]
struct Lane {
    pieces: VecDeque<Piece>,
    runs: bool,
}

/// All lanes of a node.
pub struct Lanes {
    lanes: Vec<Mutex<Lane>>,
    ops: AtomicUsize,
    max_ops: usize,
}

/// Room for some ops, until it is dropped.
pub struct Room<'a> {
    lanes: &'a Lanes,
    ops: usize,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.lanes.ops.fetch_sub(self.ops, Ordering::Relaxed);
    }
}

impl Lanes {
    /// One lane for each of the partitions, and room for so many ops in all of them.
    pub fn new(partitions: u16, max_ops: usize) -> Self {
        Self {
            lanes: (0..partitions).map(|_| Mutex::default()).collect(),
            ops: AtomicUsize::new(0),
            max_ops,
        }
    }

    /// Takes room, or says how many ops wait. A write larger than the limit finds room when
    /// nothing else waits.
    pub fn room(&self, ops: usize) -> Result<Room<'_>, usize> {
        let before = self.ops.fetch_add(ops, Ordering::Relaxed);
        let room = Room { lanes: self, ops };
        if before > 0 && before + ops > self.max_ops {
            return Err(before);
        }
        Ok(room)
    }
}

impl Shared {
    /// Puts a piece into the lane of its partition, at the end.
    pub fn enqueue(self: &Arc<Self>, partition: u16, piece: Piece) {
        self.put(partition, |pieces| pieces.push_back(piece));
    }

    fn put(self: &Arc<Self>, partition: u16, put: impl FnOnce(&mut VecDeque<Piece>)) {
        let mut lane = self.lanes.lanes[usize::from(partition)].lock();
        put(&mut lane.pieces);
        if !std::mem::replace(&mut lane.runs, true) {
            let shared = Arc::clone(self);
            tokio::spawn(async move { shared.run(partition).await });
        }
    }

    async fn run(self: Arc<Self>, partition: u16) {
        loop {
            let pieces = {
                let mut lane = self.lanes.lanes[usize::from(partition)].lock();
                let pieces = take(&mut lane.pieces, self.limits.call_max_ops);
                if pieces.is_empty() {
                    lane.runs = false;
                    return;
                }
                pieces
            };
            self.decide(partition, pieces).await;
        }
    }

    /// One call.
    async fn decide(self: &Arc<Self>, partition: u16, pieces: Vec<Piece>) {
        let mut ops = Vec::new();
        let mut pieces = pieces;
        let mut places = Vec::new();
        for (number, piece) in pieces.iter_mut().enumerate() {
            for (n, (place, mut op)) in piece.ops.drain(..).enumerate() {
                op.continues = n > 0;
                ops.push(op);
                places.push((number, place));
            }
        }
        let replicated = pieces.iter().any(|piece| piece.terms.replicated);
        let decided = self.call(partition, &ops, replicated).await;
        let undecided = |pieces: &mut [Piece], ops: Vec<DecideOp>| {
            for ((number, place), op) in places.iter().zip(ops) {
                pieces[*number].ops.push((*place, op));
            }
        };
        match decided {
            Ok((decided, has_replica)) => {
                for piece in &mut pieces {
                    piece.replicated &= has_replica;
                }
                self.sort_out(partition, pieces, ops, &places, decided);
            }
            Err(error) => {
                undecided(&mut pieces, ops);
                for piece in pieces {
                    self.failed(partition, piece, &error);
                }
            }
        }
    }

    /// One call, and whether a replica has it, where that is asked for.
    async fn call(
        &self,
        partition: u16,
        ops: &[DecideOp],
        replicated: bool,
    ) -> Result<(Vec<Decided>, bool), RedisError> {
        let (place, time) = (self.partition(partition), self.script_time());
        if !replicated {
            let decided = self.redis.decide(place, time, ops).await?;
            return Ok((decided, false));
        }
        let patience = Duration::from_millis(self.limits.replica_max_millis);
        let call = self.redis.decide_replicated(place, time, ops, 1, patience);
        let (decided, replicas) = call.await?;
        Ok((decided, replicas > 0))
    }

    fn sort_out(
        self: &Arc<Self>,
        partition: u16,
        mut pieces: Vec<Piece>,
        ops: Vec<DecideOp>,
        places: &[(usize, usize)],
        decided: Vec<Decided>,
    ) {
        let mut cold: Vec<HashSet<Cold>> = vec![HashSet::new(); pieces.len()];
        let mut mismatch = vec![false; pieces.len()];
        for (((number, place), op), decided) in places.iter().zip(ops).zip(decided) {
            let piece = &mut pieces[*number];
            match decided {
                Decided::Done {
                    transition,
                    replayed,
                } => piece.answers[*place] = Some((transition, replayed)),
                Decided::Cold(what) => {
                    if matches!(what, Cold::Record(_)) {
                        // Whose record is cold, its other kinds' records most often are too.
                        cold[*number].extend(excluded(&op).map(Cold::Record));
                    }
                    cold[*number].insert(what);
                    piece.ops.push((*place, op));
                }
                Decided::Waits => piece.ops.push((*place, op)),
                Decided::Mismatch => mismatch[*number] = true,
            }
        }
        for ((piece, cold), mismatch) in pieces.into_iter().zip(cold).zip(mismatch) {
            if mismatch {
                piece.fail(PieceFailure::Mismatch);
            } else if piece.ops.is_empty() && piece.terms.replicated && !piece.replicated {
                let reason = "it is decided, and no replica has it in time";
                piece.fail(PieceFailure::Unknown(reason.to_owned()));
            } else if piece.ops.is_empty() {
                let answers = piece.answers.into_iter().flatten().collect();
                let _ = piece.answer.send(Ok(answers));
            } else {
                if piece.is_untouched() {
                    piece.turn.change(SENT, WAITING);
                }
                self.warm(partition, piece, cold);
            }
        }
    }

    /// Loads what a piece needs, then has it decided.
    fn warm(self: &Arc<Self>, partition: u16, piece: Piece, cold: HashSet<Cold>) {
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let cold = cold.into_iter().map(|what| (partition, what));
            match shared.load_all(cold).await {
                Ok(()) => shared.again(partition, piece),
                Err(error) => piece.fail_before_more(error.to_string()),
            }
        });
    }

    fn again(self: &Arc<Self>, partition: u16, piece: Piece) {
        if Instant::now() >= piece.terms.deadline {
            let reason = "it took longer than a write may take";
            piece.fail_before_more(reason.to_owned());
        } else {
            // It has waited already.
            self.put(partition, |pieces| pieces.push_front(piece));
        }
    }

    fn failed(self: &Arc<Self>, partition: u16, mut piece: Piece, error: &RedisError) {
        let reason = error.to_string();
        piece.is_open |= !error.nothing_done();
        if matches!(error, RedisError::OutOfMemory { .. }) {
            return piece.fail_before_more(reason);
        }
        if !error.nothing_done() && !piece.terms.repeatable {
            return piece.fail_before_more(reason);
        }
        if piece.is_untouched() {
            piece.turn.change(SENT, WAITING);
        }
        if Instant::now() + RETRY_PAUSE >= piece.terms.deadline {
            return piece.fail_before_more(reason);
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(RETRY_PAUSE).await;
            shared.again(partition, piece);
        });
    }
}

/// The same target under the kinds that a set of this one unsets.
fn excluded(op: &DecideOp) -> impl Iterator<Item = TargetName> {
    let under = |kind: &u16| TargetName {
        kind: *kind,
        ..op.target.clone()
    };
    op.excludes.iter().map(under)
}

/// The next pieces, in order, and at most `max_ops` ops unless the first piece has more.
fn take(pieces: &mut VecDeque<Piece>, max_ops: usize) -> Vec<Piece> {
    let mut taken = Vec::new();
    let mut ops = 0;
    while let Some(piece) = pieces.front() {
        if !taken.is_empty() && ops + piece.ops.len() > max_ops {
            break;
        }
        let Some(piece) = pieces.pop_front() else {
            break;
        };
        let is_wanted = piece.turn.change(WAITING, SENT) || !piece.turn.give_up();
        if is_wanted {
            ops += piece.ops.len();
            taken.push(piece);
        }
    }
    taken
}
