//! Publishing in order.
//!
//! What goes to one bus partition goes in parts, each by one script that adds all of it or nothing,
//! and a part is sent when the one before it was answered. A part that the server did not take, since
//! it is full or starts, is sent again; one whose outcome is unknown ends the call.
//!
//! Invariant: after a call has failed, nothing more of it is sent. What the server still had in its
//! hands comes in front of the repetition or among it, each event behind those that were before it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::time::timeout_at;

use super::check::partitions;
use super::client::Client;
use super::failure::Failure;
use super::keys;
use super::place::MAX_NUMBER;
use super::script::{Call, PUBLISH};
use crate::error::{OpenError, PublishError, TopicAt};
use crate::limits::Limits;
use crate::orders::DeadLetters;
use crate::parts::{self, Lines, Most, Single};
use crate::persist::{Passing, persist};
use crate::port::{Outgoing, Publisher, Received};
use crate::room::Room;
use crate::url::BusUrl;

/// The most that one script adds: while it does, the server does nothing else.
const MOST: Most = Most {
    messages: 500,
    bytes: 256 << 10,
};
/// Under which names an entry carries the two parts of a message.
pub const KEY: &str = "key";
/// See [`KEY`].
pub const EVENT: &str = "event";

/// Publishes to the topic of the events.
pub struct RedisPublisher {
    line: Line,
    bus_partitions: u32,
}

impl RedisPublisher {
    /// Nothing is connected before the first call.
    pub fn new(url: &BusUrl, limits: &Limits, bus_partitions: u32) -> Result<Self, OpenError> {
        Ok(Self {
            line: Line::new(url, limits, TopicAt::events(url))?,
            bus_partitions,
        })
    }
}

#[async_trait]
impl Publisher for RedisPublisher {
    async fn publish(&self, events: &[Outgoing]) -> Result<(), PublishError> {
        self.line.limits.allow(events)?;
        let deadline = Instant::now() + self.line.limits.publish_timeout();
        let messages = parts::events(events, self.bus_partitions);
        self.line.send(messages, deadline).await
    }
}

/// Publishes dead letters.
pub struct RedisDeadLetters {
    line: Line,
}

impl RedisDeadLetters {
    /// Nothing is connected before the first call.
    pub fn new(url: &BusUrl, limits: &Limits) -> Result<Self, OpenError> {
        Ok(Self {
            line: Line::new(url, limits, TopicAt::dead_letters(url))?,
        })
    }
}

#[async_trait]
impl DeadLetters for RedisDeadLetters {
    async fn write(
        &self,
        events: &[Received],
        reason: &str,
        from: &TopicAt,
    ) -> Result<(), PublishError> {
        let limits = &self.line.limits;
        let deadline = Instant::now() + limits.publish_timeout();
        let bus_partitions = self.line.partitions(deadline).await?;
        let messages = parts::dead_letters(events, reason, from, limits, bus_partitions);
        self.line.send(messages, deadline).await
    }
}

/// A topic that is published to.
struct Line {
    client: Client,
    limits: Limits,
    at: TopicAt,
    room: Room,
}

/// What is known of a call while it is under way.
#[derive(Default)]
struct Sent {
    acknowledged: AtomicUsize,
    /// Why the server did not take a part last.
    heard: Mutex<Option<String>>,
}

/// A failure of which it matters whether anything was carried out.
struct Unsent(Failure);

impl Passing for Unsent {
    fn may_pass(&self) -> bool {
        self.0.did_nothing()
    }
}

impl Line {
    fn new(url: &BusUrl, limits: &Limits, at: TopicAt) -> Result<Self, OpenError> {
        Ok(Self {
            client: Client::new(url, limits)?,
            limits: limits.clone(),
            at,
            room: Room::new(limits),
        })
    }

    /// How many partitions the topic has.
    async fn partitions(&self, deadline: Instant) -> Result<u32, PublishError> {
        let ask = || partitions(&self.client, &self.at.topic, deadline);
        let found = persist(deadline, ask).await;
        let found = found.map_err(|failure| failure.opening(&self.at, &self.limits))?;
        let at = self.at.clone();
        Ok(found.ok_or(OpenError::NoTopic { at })?)
    }

    /// Sends messages to each bus partition in order, and waits until the server has all of them.
    async fn send(&self, messages: Lines, deadline: Instant) -> Result<(), PublishError> {
        let events = messages.values().map(Vec::len).sum();
        let sent = Sent::default();
        let lines = messages
            .iter()
            .map(|(line, messages)| self.send_line(*line, messages, deadline, &sent));
        let why = match timeout_at(deadline.into(), try_join_all(lines)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(Unsent(Failure::Silent))) | Err(_) => {
                let millis = self.limits.publish_timeout_millis;
                let heard = sent.heard.lock().take();
                let heard = heard.map_or_else(String::new, |heard| format!(": {heard}"));
                format!("not taken within {millis} ms{heard}")
            }
            Ok(Err(Unsent(failure))) => failure.to_string(),
        };
        Err(PublishError::Unknown {
            at: self.at.clone(),
            acknowledged: sent.acknowledged.load(Ordering::Relaxed),
            events,
            why,
        })
    }

    async fn send_line(
        &self,
        line: u32,
        messages: &[Single],
        deadline: Instant,
        sent: &Sent,
    ) -> Result<(), Unsent> {
        for part in MOST.parts(messages, &self.limits) {
            let _room = self.room.take(parts::bytes(part)).await;
            let call = self.call(line, part);
            let publish = || async {
                let published = self.client.call::<()>(&call, deadline).await;
                published.map_err(|failure| {
                    if failure.did_nothing() {
                        *sent.heard.lock() = Some(failure.to_string());
                    }
                    Unsent(failure)
                })
            };
            persist(deadline, publish).await?;
            sent.acknowledged.fetch_add(part.len(), Ordering::Relaxed);
        }
        Ok(())
    }

    fn call(&self, line: u32, part: &[Single]) -> Call {
        let limits = &self.limits;
        // All of a part have as many.
        let more = part.first().map_or(0, |message| message.properties.len());
        let mut call = Call::of(&PUBLISH, &[keys::stream(&self.at.topic, line)])
            .arg(limits.stream_keep_millis)
            .arg(limits.stream_max_events)
            .arg(MAX_NUMBER)
            .arg(4 + 2 * more);
        for message in part {
            call = call.arg(KEY).arg(&message.key[..]);
            call = call.arg(EVENT).arg(&message.payload[..]);
            for (name, text) in &message.properties {
                call = call.arg(*name).arg(text);
            }
        }
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_adds_so_much_and_no_more() {
        parts::tests::end_at(MOST, 500, 256 << 10);
    }
}
