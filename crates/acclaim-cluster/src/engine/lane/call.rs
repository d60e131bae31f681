//! One pipeline: a call for each partition, and what becomes of the pieces in it.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::piece::{Piece, PieceFailure};
use crate::engine::shared::Shared;
use crate::failpoint;
use crate::redis::decide::{Answered, Asked, DecideOp, Decided};
use crate::redis::error::RedisError;
use crate::redis::keys::TargetName;
use crate::redis::load::Cold;

/// The pause before a call that was not carried out is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// The pieces of a call, and where each of its ops belongs: number of the piece, place in it.
#[derive(Default)]
struct Part {
    pieces: Vec<Piece>,
    places: Vec<(usize, usize)>,
}

impl Shared {
    /// One pipeline. Returns when all was answered that is answered at once.
    pub(in crate::engine) async fn decide(self: &Arc<Self>, pieces: Vec<Piece>, replicated: bool) {
        let (mut parts, mut asked) = self.calls_of(pieces);
        let patience = Duration::from_millis(self.limits.replica_max_millis);
        let patience = replicated.then_some(patience);
        let time = self.script_time();
        failpoint::hit(failpoint::DECIDE_BEFORE_CALL);
        let (answers, left) = self.redis.decide_together(time, &asked, patience).await;
        failpoint::hit(failpoint::DECIDE_BEFORE_ANSWER);
        for (place, answer) in answers {
            let ops = std::mem::take(&mut asked[place].1);
            self.answered(std::mem::take(&mut parts[place]), ops, answer);
        }
        let Some(left) = left else {
            return;
        };
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            for (place, answer) in shared.redis.finish_deciding(left).await {
                let ops = std::mem::take(&mut asked[place].1);
                shared.answered(std::mem::take(&mut parts[place]), ops, answer);
            }
        });
    }

    /// A call for each partition; the pieces of a partition stay in their order.
    fn calls_of(&self, pieces: Vec<Piece>) -> (Vec<Part>, Vec<Asked>) {
        let mut calls: BTreeMap<u16, (Part, Vec<DecideOp>)> = BTreeMap::new();
        for mut piece in pieces {
            let (part, ops) = calls.entry(piece.partition).or_default();
            for (n, (place, mut op)) in piece.ops.drain(..).enumerate() {
                op.continues = n > 0;
                ops.push(op);
                part.places.push((part.pieces.len(), place));
            }
            part.pieces.push(piece);
        }
        let calls = calls.into_iter();
        calls
            .map(|(number, (part, ops))| (part, (self.partition(number), ops)))
            .unzip()
    }

    fn answered(self: &Arc<Self>, mut part: Part, ops: Vec<DecideOp>, answer: Answered) {
        match answer {
            Ok((decided, has_replica)) => {
                for piece in &mut part.pieces {
                    piece.replicated &= has_replica;
                }
                self.sort_out(part, ops, decided);
            }
            Err(error) => {
                for ((number, place), op) in part.places.into_iter().zip(ops) {
                    part.pieces[number].ops.push((place, op));
                }
                for piece in part.pieces {
                    self.failed(piece, &error);
                }
            }
        }
    }

    fn sort_out(self: &Arc<Self>, part: Part, ops: Vec<DecideOp>, decided: Vec<Decided>) {
        let Part { mut pieces, places } = part;
        let mut cold: Vec<HashSet<Cold>> = vec![HashSet::new(); pieces.len()];
        let mut mismatch = vec![false; pieces.len()];
        for (((number, place), op), decided) in places.into_iter().zip(ops).zip(decided) {
            let piece = &mut pieces[number];
            match decided {
                Decided::Done {
                    transition,
                    replayed,
                } => piece.answers[place] = Some((transition, replayed)),
                Decided::Cold(what) => {
                    if matches!(what, Cold::Record(_)) {
                        // Whose record is cold, its other kinds' records most often are too.
                        cold[number].extend(excluded(&op).map(Cold::Record));
                    }
                    cold[number].insert(what);
                    piece.ops.push((place, op));
                }
                Decided::Waits => piece.ops.push((place, op)),
                Decided::Mismatch => mismatch[number] = true,
            }
        }
        for ((piece, cold), mismatch) in pieces.into_iter().zip(cold).zip(mismatch) {
            if mismatch {
                piece.fail(PieceFailure::Mismatch);
            } else if piece.ops.is_empty() && piece.terms.replicated && !piece.replicated {
                let reason = "it is decided, and no replica has it in time";
                piece.fail(PieceFailure::Unknown(reason.to_owned()));
            } else if piece.ops.is_empty() {
                piece.succeed();
            } else {
                if piece.is_untouched() {
                    piece.turn.wait_again();
                }
                self.warm(piece, cold);
            }
        }
    }

    /// Loads what a piece needs, then has it decided.
    fn warm(self: &Arc<Self>, piece: Piece, cold: HashSet<Cold>) {
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let cold = cold.into_iter().map(|what| (piece.partition, what));
            let before = shared.lives_learnt();
            match shared.load_all(cold).await {
                Ok(()) => shared.again(piece),
                // It may have named an old life.
                Err(_) if shared.lives_learnt() != before => shared.again(piece),
                Err(error) => piece.fail_before_more(error.to_string()),
            }
        });
    }

    fn again(self: &Arc<Self>, piece: Piece) {
        if Instant::now() >= piece.terms.deadline {
            let reason = "it took longer than a write may take";
            piece.fail_before_more(reason.to_owned());
        } else {
            // It has waited already.
            self.put(piece, VecDeque::push_front);
        }
    }

    fn failed(self: &Arc<Self>, mut piece: Piece, error: &RedisError) {
        let reason = error.to_string();
        piece.is_open |= !error.nothing_done();
        if matches!(error, RedisError::OutOfMemory { .. }) {
            return piece.fail_before_more(reason);
        }
        if !error.nothing_done() && !piece.terms.repeatable {
            return piece.fail_before_more(reason);
        }
        if piece.is_untouched() {
            piece.turn.wait_again();
        }
        if Instant::now() + RETRY_PAUSE >= piece.terms.deadline {
            return piece.fail_before_more(reason);
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(RETRY_PAUSE).await;
            shared.again(piece);
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
