//! How long a request may take: its body to come, and its answer to begin.
//!
//! A timer a request would cost more than most requests do. So a connection has one timer that
//! ticks a few times within the shorter limit, and a request is looked at when it ticks; a limit
//! is noticed late by a quarter of it at most.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::limits::Limits;

/// Looks at a request are this many within the shorter limit.
const TICKS: u32 = 4;
/// The value of [`Deadline::waiting_since`] while nothing is waited for.
const NOT_WAITING: u64 = u64::MAX;

/// The limits and the timer of one connection.
pub(super) struct Deadline {
    body: Duration,
    request: Duration,
    born: Instant,
    timer: Mutex<Pin<Box<Sleep>>>,
    /// Since when the body is waited for, in microseconds after `born`.
    waiting_since: AtomicU64,
}

/// Which limit a request passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// The next part of its body did not come.
    Body,
    /// Its answer did not begin.
    Answer,
}

impl Deadline {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let (body, request) = (limits.body_timeout(), limits.request_timeout());
        let tick = body.min(request) / TICKS;
        Arc::new(Self {
            body,
            request,
            born: Instant::now(),
            timer: Mutex::new(Box::pin(tokio::time::sleep(tick))),
            waiting_since: AtomicU64::new(NOT_WAITING),
        })
    }

    /// Runs `answer` within the limits. A `streamed` request may take any time as long as its body
    /// keeps coming.
    pub(super) async fn keep<F: Future>(
        &self,
        started: Instant,
        streamed: bool,
        answer: F,
    ) -> Result<F::Output, Late> {
        self.waiting_since.store(NOT_WAITING, Ordering::Relaxed);
        let mut answer = pin!(answer);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(Ok(answer));
            }
            self.look(cx, started, streamed).map(Err)
        })
        .await
    }

    fn look(&self, cx: &mut Context<'_>, started: Instant, streamed: bool) -> Poll<Late> {
        // The lock is never contended, since a connection has one request at a time; what a panic
        // leaves behind is still a timer.
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.waits_too_long(now) {
                return Poll::Ready(Late::Body);
            }
            if !streamed && now - started >= self.request {
                return Poll::Ready(Late::Answer);
            }
            timer
                .as_mut()
                .reset(now + self.body.min(self.request) / TICKS);
        }
        Poll::Pending
    }

    fn waits_too_long(&self, now: Instant) -> bool {
        let since = self.waiting_since.load(Ordering::Relaxed);
        since != NOT_WAITING && self.micros(now).saturating_sub(since) >= micros(self.body)
    }

    fn micros(&self, now: Instant) -> u64 {
        micros(now - self.born)
    }

    fn wait_begins(&self) {
        if self.waiting_since.load(Ordering::Relaxed) == NOT_WAITING {
            let now = self.micros(Instant::now());
            self.waiting_since.store(now, Ordering::Relaxed);
        }
    }

    fn wait_ends(&self) {
        self.waiting_since.store(NOT_WAITING, Ordering::Relaxed);
    }
}

/// Saturates after half a million years.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(NOT_WAITING - 1)
}

/// A body that says when it is waited for.
pub(super) struct TimedBody {
    body: Incoming,
    deadline: Arc<Deadline>,
}

impl TimedBody {
    pub(super) fn new(body: Incoming, deadline: Arc<Deadline>) -> Self {
        Self { body, deadline }
    }
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        self.deadline.wait_ends();
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match polled {
            Poll::Pending => self.deadline.wait_begins(),
            Poll::Ready(_) => self.deadline.wait_ends(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
