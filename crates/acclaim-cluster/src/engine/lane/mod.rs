//! Lanes of writes, one a server of Redis: see [`crate::gather`].
//!
//! A pipeline carries one call for each partition that something waits for. A [`Piece`] is what one
//! write has for one partition. It goes into one call, so its ops are
//! decided in its order; those that are cold are loaded beside the lane, which goes on, and come
//! back together with those that wait for them. A call whose server names another, or is not there,
//! is seen through beside the lane too: it holds up nothing else.

mod call;
mod piece;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use self::piece::{Answer, Piece, PieceFailure, Sent, Terms};
use super::shared::Shared;
use crate::gather::Gather;

/// Pipelines to a server under way at once: one is worked on in Redis while the answers of the other
/// are handed out.
pub const PIPELINES: usize = 2;

/// Which lane a piece waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct LaneKey {
    /// The number of the server that has its partition; nothing while nobody has told.
    server: Option<u64>,
    /// Whether replicas are waited for: what does not must not wait with it.
    replicated: bool,
}

/// All lanes of a node.
pub struct Lanes {
    pieces: Gather<LaneKey, Piece>,
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
    /// Room for so many ops in all of them.
    pub fn new(max_ops: usize) -> Self {
        Self {
            pieces: Gather::new(PIPELINES),
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
    /// Puts a piece into its lane, at the end.
    pub fn enqueue(self: &Arc<Self>, piece: Piece) {
        self.put(piece, VecDeque::push_back);
    }

    fn put(self: &Arc<Self>, piece: Piece, put: impl FnOnce(&mut VecDeque<Piece>, Piece)) {
        let key = LaneKey {
            server: self.redis.server_of(self.partition(piece.partition)),
            replicated: piece.terms.replicated,
        };
        if self.lanes.pieces.put(key, |pieces| put(pieces, piece)) {
            let shared = Arc::clone(self);
            tokio::spawn(async move { shared.run(key).await });
        }
    }

    async fn run(self: Arc<Self>, key: LaneKey) {
        loop {
            let max_ops = self.limits.call_max_ops;
            let pieces = self.lanes.pieces.next(&key, |pieces| take(pieces, max_ops));
            if pieces.is_empty() {
                return;
            }
            self.decide(pieces, key.replicated).await;
        }
    }
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
        if piece.turn.send() {
            ops += piece.ops.len();
            taken.push(piece);
        }
    }
    taken
}
