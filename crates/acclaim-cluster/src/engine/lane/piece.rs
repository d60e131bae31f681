//! What one write has for one partition, and what becomes of it.
//!
//! Whoever waits for a piece may give it up: before it was sent that is certain, afterwards it is
//! not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use acclaim_core::Transition;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::redis::decide::DecideOp;

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

    /// Whoever waits is not asked any more. `false` when the piece was given up before.
    pub(super) fn send(&self) -> bool {
        self.change(WAITING, SENT) || !self.give_up()
    }

    /// Nothing of it was decided: it may be given up again.
    pub(super) fn wait_again(&self) {
        self.change(SENT, WAITING);
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
    /// The number of the partition.
    pub(super) partition: u16,
    /// Ops not decided yet, each with its place among the answers.
    pub(super) ops: Vec<(usize, DecideOp)>,
    pub(super) answers: Vec<Option<Answer>>,
    pub(super) terms: Terms,
    /// Whether a replica has every call that decided something of it.
    pub(super) replicated: bool,
    pub(super) turn: Arc<Turn>,
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
    pub fn new(partition: u16, ops: Vec<DecideOp>, terms: Terms) -> (Self, Sent) {
        let (sender, receiver) = oneshot::channel();
        let turn = Turn::new();
        let piece = Self {
            partition,
            answers: vec![None; ops.len()],
            ops: ops.into_iter().enumerate().collect(),
            terms,
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

    /// Whether nothing of it is decided.
    pub(super) fn is_untouched(&self) -> bool {
        self.answers.iter().all(Option::is_none)
    }

    /// All of it is decided.
    pub(super) fn succeed(self) {
        let answers = self.answers.into_iter().flatten().collect();
        // Nobody may be waiting any more.
        let _ = self.answer.send(Ok(answers));
    }

    pub(super) fn fail(self, failure: PieceFailure) {
        let _ = self.answer.send(Err(failure));
    }

    /// Fails with what is known about what was decided before.
    pub(super) fn fail_before_more(self, reason: String) {
        let failure = if self.is_untouched() {
            PieceFailure::NotDecided(reason)
        } else {
            PieceFailure::Unknown(reason)
        };
        self.fail(failure);
    }
}
