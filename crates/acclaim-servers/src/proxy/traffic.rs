//! One connection through the proxy: two directions, and what is done to them on the way.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::rules::{Direction, End, Rules, Shared, Trap};

const PIECE_MAX_BYTES: usize = 64 * 1024;
/// A throttled piece is passed on in steps of so much time.
const THROTTLE_STEP: Duration = Duration::from_millis(20);

/// What both directions of a connection have to know of each other.
#[derive(Debug, Default)]
struct Turn {
    /// The client said something and the server has not begun to reply.
    asked: AtomicBool,
    /// The next reply is thrown away and the connection cut.
    lose_reply: AtomicBool,
}

/// Passes bytes both ways until both ends are closed, one fails, or the connection is cut.
pub async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    shared: &Shared,
    end: &mut watch::Receiver<End>,
) {
    let _counted = shared.count_connection();
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let turn = Turn::default();
    let mut with_reset = false;
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let requests = Pump::new(shared, &turn, Direction::ToServer);
        let replies = Pump::new(shared, &turn, Direction::ToClient);
        let both = async {
            tokio::try_join!(
                requests.run(from_client, to_server),
                replies.run(from_server, to_client)
            )
        };
        tokio::select! {
            _ = both => {}
            _ = end.changed() => with_reset = end.borrow().with_reset,
        }
    }
    if with_reset {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

/// One direction.
struct Pump<'a> {
    shared: &'a Shared,
    turn: &'a Turn,
    direction: Direction,
    rules: watch::Receiver<Rules>,
    /// The end of what was passed on, where a pattern may have begun.
    behind: Vec<u8>,
    /// Bytes were thrown away: nothing passes any more.
    is_lost: bool,
}

/// How much of a piece goes on, and whether the connection ends there.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    pass_bytes: usize,
    cut: bool,
}

impl<'a> Pump<'a> {
    fn new(shared: &'a Shared, turn: &'a Turn, direction: Direction) -> Self {
        Self {
            shared,
            turn,
            direction,
            rules: shared.rules(),
            behind: Vec::new(),
            is_lost: false,
        }
    }

    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut buffer = vec![0; PIECE_MAX_BYTES];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                if self.is_lost {
                    // What is lost does not even learn of the end.
                    std::future::pending::<()>().await;
                }
                return to.shutdown().await;
            }
            self.wait_out_stall().await;
            let rules = self.rules.borrow().clone();
            self.is_lost |= rules.black_hole[self.direction as usize];
            if self.is_lost {
                continue;
            }
            if !rules.delay.is_zero() {
                tokio::time::sleep(rules.delay).await;
            }
            let verdict = self.judge(&buffer[..length]);
            let piece = &buffer[..verdict.pass_bytes];
            self.pass_on(piece, rules.bytes_per_second, &mut to).await?;
            if verdict.cut {
                // Counted when the client cannot get any more, not before.
                self.shared.count_spring();
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
    }

    async fn wait_out_stall(&mut self) {
        let direction = self.direction as usize;
        // Fails only where the proxy ends, and then this is dropped.
        let _ = self.rules.wait_for(|rules| !rules.stall[direction]).await;
    }

    async fn pass_on(
        &self,
        piece: &[u8],
        bytes_per_second: Option<u64>,
        to: &mut WriteHalf<'_>,
    ) -> io::Result<()> {
        let Some(rate) = bytes_per_second else {
            // Counted first, so that who got the bytes finds them counted.
            self.shared.count_passed(self.direction, piece.len());
            return to.write_all(piece).await;
        };
        // At least a byte a step, and then the step lasts as long as that byte.
        let step_bytes = (rate as f64 * THROTTLE_STEP.as_secs_f64()).max(1.0) as usize;
        for step in piece.chunks(step_bytes) {
            let lasts = Duration::from_secs_f64(step.len() as f64 / rate as f64);
            tokio::time::sleep(lasts).await;
            self.shared.count_passed(self.direction, step.len());
            to.write_all(step).await?;
        }
        Ok(())
    }

    /// Looks whether this piece springs the trap.
    fn judge(&mut self, piece: &[u8]) -> Verdict {
        let whole = Verdict {
            pass_bytes: piece.len(),
            cut: false,
        };
        let begins_reply = match self.direction {
            Direction::ToServer => {
                self.turn.asked.store(true, Ordering::SeqCst);
                false
            }
            Direction::ToClient => self.turn.asked.swap(false, Ordering::SeqCst),
        };
        if begins_reply && self.turn.lose_reply.load(Ordering::SeqCst) {
            return Verdict {
                pass_bytes: 0,
                cut: true,
            };
        }
        let shared = self.shared;
        shared.with_trap(|trap| match trap {
            Some(Trap::Replies { left }) if begins_reply => {
                *left -= 1;
                let cut = *left == 0;
                if cut {
                    *trap = None;
                }
                Verdict { cut, ..whole }
            }
            Some(Trap::Pattern {
                direction,
                pattern,
                lose_reply,
            }) if *direction == self.direction => {
                let Some(end) = self.find(pattern, piece) else {
                    return whole;
                };
                let lose_reply = *lose_reply;
                *trap = None;
                if lose_reply {
                    self.turn.lose_reply.store(true, Ordering::SeqCst);
                    return whole;
                }
                Verdict {
                    pass_bytes: end,
                    cut: true,
                }
            }
            _ => {
                // Nothing is looked for, so nothing can have begun.
                self.behind.clear();
                whole
            }
        })
    }

    /// Where in this piece the pattern ends, if it does; it may have begun in the piece before.
    fn find(&mut self, pattern: &[u8], piece: &[u8]) -> Option<usize> {
        // Shorter than the pattern, so that one that is found ends in this piece.
        let kept = self.behind.len().min(pattern.len() - 1);
        self.behind.drain(..self.behind.len() - kept);
        self.behind.extend_from_slice(piece);
        let place = self
            .behind
            .windows(pattern.len())
            .position(|window| window == pattern);
        place.map(|place| place + pattern.len() - kept)
    }
}
