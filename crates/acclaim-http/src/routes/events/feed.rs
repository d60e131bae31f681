//! The task that reads the journal for one subscriber.

use std::time::Duration;

use acclaim_core::port::{Event, Place};
use acclaim_core::service::EventFilter;
use acclaim_core::{Id, JournalError};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::stream::EventStream;
use crate::app::Shared;
use crate::routes::answer::as_text;

/// Events read from the journal at once, and the most in one piece of the stream.
const EVENTS_A_PIECE: usize = 64;
/// Pieces that wait for the subscriber.
const QUEUED_PIECES: usize = 4;
/// What a client waits before it connects again, in milliseconds.
const RETRY_MILLIS: u32 = 2_000;

/// Starts the feed of a subscriber and gives the body that it fills.
pub(super) fn open(
    app: Shared,
    filter: EventFilter,
    from: Place,
    place: OwnedSemaphorePermit,
) -> EventStream {
    let (pieces, queue) = mpsc::channel(QUEUED_PIECES);
    let (last, last_words) = oneshot::channel();
    let stream = EventStream::new(app.clone(), queue, last_words, place);
    let feed = Feed {
        keep_alive: Duration::from_millis(app.limits.event_keep_alive_millis),
        stopping: app.stopping(),
        app,
        filter,
        at: from,
        pieces,
    };
    tokio::spawn(async move {
        if let Some(end) = feed.run().await {
            // The subscriber may be gone, and then nobody needs the words.
            let _ = last.send(end.words());
        }
    });
    stream
}

struct Feed {
    app: Shared,
    filter: EventFilter,
    /// The place up to which the subscriber has everything that it wants.
    at: Place,
    pieces: mpsc::Sender<Bytes>,
    keep_alive: Duration,
    stopping: watch::Receiver<bool>,
}

/// Why a stream ends while its subscriber still listens.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Reason {
    /// It took nothing of what waited for it for too long.
    Slow,
    /// What comes next for it is no longer kept.
    Trimmed,
    /// The server stops.
    Stopping,
    /// The journal cannot be read.
    Failed,
}

/// The last words of a stream.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct End {
    reason: Reason,
    #[serde(serialize_with = "place_as_text")]
    last_event_id: Place,
}

fn place_as_text<S: serde::Serializer>(place: &Place, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(place)
}

impl End {
    fn words(self) -> Bytes {
        // A word and a number always serialize.
        let data = serde_json::to_string(&self).unwrap_or_default();
        Bytes::from(format!("event: dropped\ndata: {data}\n\n"))
    }
}

/// What the subscriber is told of a transition.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    kind: &'a str,
    user_id: &'a Id,
    target_type: &'a str,
    #[serde(serialize_with = "as_text")]
    target_id: &'a Id,
    active: bool,
    count: u64,
    rev: u64,
}

/// Returns once the server stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the application is gone, which is the same to a subscriber.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

impl Feed {
    /// Runs until the subscriber is gone (`None`) or is dropped.
    async fn run(mut self) -> Option<End> {
        // An id without data moves the client's resume point and shows nothing.
        let hello = format!("retry: {RETRY_MILLIS}\nid: {}\n\n", self.at);
        if let Err(end) = self.queue(Bytes::from(hello)).await {
            return end;
        }
        let mut comment_at = Instant::now() + self.keep_alive;
        loop {
            if *self.stopping.borrow() {
                return Some(self.end(Reason::Stopping));
            }
            let events = match self.read().await {
                Ok(events) => events,
                Err(end) => return Some(end),
            };
            let piece = match self.encode(&events) {
                Some(piece) => piece,
                None if Instant::now() >= comment_at => Bytes::from_static(b": keep-alive\n\n"),
                None if events.is_empty() => {
                    if let Err(end) = self.wait(comment_at).await {
                        return end;
                    }
                    continue;
                }
                None => {
                    self.move_to(&events);
                    continue;
                }
            };
            if let Err(end) = self.queue(piece).await {
                return end;
            }
            self.move_to(&events);
            comment_at = Instant::now() + self.keep_alive;
        }
    }

    fn move_to(&mut self, events: &[Event]) {
        if let Some(event) = events.last() {
            self.at = event.place;
        }
    }

    fn end(&self, reason: Reason) -> End {
        End {
            reason,
            last_event_id: self.at,
        }
    }

    async fn read(&self) -> Result<Vec<Event>, End> {
        let engine = self.app.service.engine();
        let events = engine.journal_after(self.at, EVENTS_A_PIECE).await;
        events.map_err(|error| match error {
            JournalError::Trimmed { .. } => self.end(Reason::Trimmed),
            error => {
                tracing::error!(%error, "the journal could not be read for a subscriber");
                self.end(Reason::Failed)
            }
        })
    }

    /// Waits for an event, for the time of the next comment, or for an end.
    async fn wait(&self, comment_at: Instant) -> Result<(), Option<End>> {
        let engine = std::sync::Arc::clone(self.app.service.engine());
        let mut stopping = self.stopping.clone();
        tokio::select! {
            passed = engine.journal_passes(self.at) => {
                if !passed {
                    return Err(Some(self.end(Reason::Stopping)));
                }
            }
            () = tokio::time::sleep_until(comment_at) => {}
            () = stopped(&mut stopping) => {}
            () = self.pieces.closed() => return Err(None),
        }
        Ok(())
    }

    /// Queues a piece, waiting for a place as long as a subscriber may lag.
    async fn queue(&self, piece: Bytes) -> Result<(), Option<End>> {
        let lag = Duration::from_millis(self.app.limits.max_event_lag_millis);
        let mut stopping = self.stopping.clone();
        tokio::select! {
            sent = tokio::time::timeout(lag, self.pieces.send(piece)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_gone)) => Err(None),
                Err(_elapsed) => {
                    self.app.metrics.subscribers_dropped.inc();
                    Err(Some(self.end(Reason::Slow)))
                }
            },
            () = stopped(&mut stopping) => {
                Err(Some(self.end(Reason::Stopping)))
            }
        }
    }

    /// The events that the subscriber wants, as text; `None` where it wants none of them.
    fn encode(&self, events: &[Event]) -> Option<Bytes> {
        let mut text = Vec::new();
        for event in events.iter().filter(|event| self.filter.takes(event)) {
            let edge = &event.edge;
            let told = Told {
                kind: self.app.service.kind_name(edge.kind),
                user_id: &edge.user,
                target_type: edge.target.target_type.as_str(),
                target_id: &edge.target.id,
                active: event.active,
                count: event.count,
                rev: event.rev.0,
            };
            text.extend_from_slice(
                format!("event: transition\nid: {}\ndata: ", event.place).as_bytes(),
            );
            // Words and numbers always serialize.
            let _ = serde_json::to_writer(&mut text, &told);
            text.extend_from_slice(b"\n\n");
        }
        (!text.is_empty()).then(|| Bytes::from(text))
    }
}
