//! One connection: its socket under watch.
//!
//! Slow clients are told apart by where they are slow: in the head of a request, between requests,
//! or in taking an answer. One timer a connection looks at that a few times within the shortest of
//! these limits, so that a request starts and stops no timer of its own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::limits::Limits;

/// How long the client may be slow, by where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    head: Duration,
    idle: Duration,
    stall: Duration,
}

impl Patience {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            head: Duration::from_millis(limits.head_timeout_millis),
            idle: Duration::from_millis(limits.idle_timeout_millis),
            stall: Duration::from_millis(limits.write_stall_timeout_millis),
        }
    }

    /// How often to look: late by a quarter of the shortest limit at most.
    fn interval(self) -> Duration {
        self.head.min(self.idle).min(self.stall) / 4
    }
}

/// Whether a request of this connection is being answered. The service says so, the socket reads
/// it.
pub(crate) type Busy = Arc<AtomicBool>;

/// A socket that gives up on clients who are too slow.
pub(crate) struct Watched {
    socket: TcpStream,
    busy: Busy,
    patience: Patience,
    timer: Pin<Box<Sleep>>,
    /// When the first byte of a request came that is not being answered yet.
    head_since: Option<Instant>,
    /// When a byte went either way last.
    moved: Instant,
    /// Since when the client takes nothing of what waits for it.
    stalled_since: Option<Instant>,
}

impl Watched {
    pub(crate) fn new(socket: TcpStream, busy: Busy, patience: Patience) -> Self {
        Self {
            socket,
            busy,
            timer: Box::pin(tokio::time::sleep(patience.interval())),
            patience,
            head_since: None,
            moved: Instant::now(),
            stalled_since: None,
        }
    }

    /// Whether the client was too slow. Called where the socket would wait; wakes the task again
    /// when it is time to look once more.
    fn gives_up(&mut self, cx: &mut Context<'_>) -> bool {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.is_too_slow(now) {
                return true;
            }
            self.timer.as_mut().reset(now + self.patience.interval());
        }
        false
    }

    fn is_too_slow(&mut self, now: Instant) -> bool {
        let over = |since: Option<Instant>, limit| since.is_some_and(|since| now - since >= limit);
        if over(self.stalled_since, self.patience.stall) {
            return true;
        }
        if self.busy.load(Ordering::Relaxed) {
            self.head_since = None;
            self.moved = now;
            return false;
        }
        over(self.head_since, self.patience.head) || over(Some(self.moved), self.patience.idle)
    }

    fn moved(&mut self) {
        self.moved = Instant::now();
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        match Pin::new(&mut this.socket).poll_read(cx, buffer) {
            Poll::Pending if this.gives_up(cx) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                if buffer.filled().len() > before {
                    this.moved();
                    if this.busy.load(Ordering::Relaxed) {
                        this.head_since = None;
                    } else {
                        this.head_since.get_or_insert(this.moved);
                    }
                }
                Poll::Ready(result)
            }
        }
    }
}

impl Watched {
    fn watch_write(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled_since = None;
            self.moved();
            // The answer to a request ends what its head began.
            self.head_since = None;
            return written;
        }
        self.stalled_since.get_or_insert_with(Instant::now);
        if self.gives_up(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.socket).poll_write(cx, bytes);
        this.watch_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, pieces);
        this.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
