//! The body of an event stream.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::app::Shared;

/// What the feed queued, then its last words.
pub(super) struct EventStream {
    app: Shared,
    pieces: mpsc::Receiver<Bytes>,
    last: Option<oneshot::Receiver<Bytes>>,
    _place: OwnedSemaphorePermit,
}

impl EventStream {
    pub(super) fn new(
        app: Shared,
        pieces: mpsc::Receiver<Bytes>,
        last: oneshot::Receiver<Bytes>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        app.metrics.subscribers.inc();
        Self {
            app,
            pieces,
            last: Some(last),
            _place: place,
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.app.metrics.subscribers.dec();
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(piece) = std::task::ready!(self.pieces.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let Some(last) = &mut self.last else {
            return Poll::Ready(None);
        };
        let words = std::task::ready!(Pin::new(last).poll(cx));
        self.last = None;
        Poll::Ready(words.ok().map(|words| Ok(Frame::data(words))))
    }
}
