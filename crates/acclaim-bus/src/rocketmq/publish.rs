//! Publishing in order.
//!
//! A broker handles requests side by side, so a call has one request under way for each queue, and
//! sends the next when that is answered. Invariant: after a call has failed, at most one request of
//! it for each queue may still come true, the next one in order; its repetition begins with the same
//! events or earlier ones, so nothing is overtaken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::future::try_join_all;
use tokio::time::timeout_at;

use super::client::Client;
use super::connection::Request;
use super::failure::Failure;
use super::message;
use super::route::Queue;
use crate::error::{OpenError, PublishError, TopicAt};
use crate::limits::Limits;
use crate::orders::DeadLetters;
use crate::parts::{self, Lines, Most, Single};
use crate::persist::persist;
use crate::port::{Outgoing, Publisher, Received};
use crate::room::Room;
use crate::url::BusUrl;

const SEND_BATCH: i32 = 320;
/// The group of all producers; brokers want one, and use it for nothing here.
const GROUP: &str = "acclaim";
/// The topic that brokers make others after; unused, since topics are there.
const TEMPLATE: &str = "TBW102";
/// The longest request. Brokers take 4 MB.
const MOST: Most = Most {
    messages: 1_000,
    bytes: 256 << 10,
};

/// Publishes to the topic of the events.
pub struct RocketMqPublisher {
    line: Line,
    queues: Vec<Queue>,
}

impl RocketMqPublisher {
    /// One to these queues.
    pub fn new(url: &BusUrl, limits: &Limits, queues: Vec<Queue>) -> Result<Self, OpenError> {
        let line = Line::new(url, limits, TopicAt::events(url))?;
        Ok(Self { line, queues })
    }
}

#[async_trait]
impl Publisher for RocketMqPublisher {
    async fn publish(&self, events: &[Outgoing]) -> Result<(), PublishError> {
        self.line.limits.allow(events)?;
        let messages = parts::events(events, number_of(&self.queues));
        let deadline = Instant::now() + self.line.limits.publish_timeout();
        self.line.send(&self.queues, messages, deadline).await
    }
}

/// Publishes dead letters.
pub struct RocketMqDeadLetters {
    line: Line,
}

impl RocketMqDeadLetters {
    /// Nothing is connected before the first call.
    pub fn new(url: &BusUrl, limits: &Limits) -> Result<Self, OpenError> {
        let line = Line::new(url, limits, TopicAt::dead_letters(url))?;
        Ok(Self { line })
    }
}

#[async_trait]
impl DeadLetters for RocketMqDeadLetters {
    async fn write(
        &self,
        events: &[Received],
        reason: &str,
        from: &TopicAt,
    ) -> Result<(), PublishError> {
        let Line {
            client, limits, at, ..
        } = &self.line;
        let deadline = Instant::now() + limits.publish_timeout();
        let queues = persist(deadline, || client.queues(&at.topic, deadline)).await;
        let queues = queues.map_err(|failure| failure.opening(at, limits))?;
        let queues = queues.filter(|queues| !queues.is_empty());
        let queues = queues.ok_or_else(|| OpenError::NoTopic { at: at.clone() })?;
        let messages = parts::dead_letters(events, reason, from, limits, number_of(&queues));
        self.line.send(&queues, messages, deadline).await
    }
}

/// A topic that is published to.
struct Line {
    client: Client,
    limits: Limits,
    at: TopicAt,
    room: Room,
}

impl Line {
    fn new(url: &BusUrl, limits: &Limits, at: TopicAt) -> Result<Self, OpenError> {
        Ok(Self {
            client: Client::new(url, &at.topic)?,
            limits: limits.clone(),
            at,
            room: Room::new(limits),
        })
    }

    /// Sends messages to each queue in order, and waits until the brokers have all of them.
    async fn send(
        &self,
        queues: &[Queue],
        messages: Lines,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        let events = messages.values().map(Vec::len).sum();
        let acknowledged = AtomicUsize::new(0);
        let sending = messages.iter().map(|(at, messages)| {
            let queue = &queues[*at as usize];
            self.send_to(queue, messages, deadline, &acknowledged)
        });
        let why = match timeout_at(deadline.into(), try_join_all(sending)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(Failure::Silent)) | Err(_) => {
                let millis = self.limits.publish_timeout_millis;
                format!("no answer within {millis} ms")
            }
            Ok(Err(failure)) => failure.to_string(),
        };
        Err(PublishError::Unknown {
            at: self.at.clone(),
            acknowledged: acknowledged.load(Ordering::Relaxed),
            events,
            why,
        })
    }

    async fn send_to(
        &self,
        queue: &Queue,
        messages: &[Single],
        deadline: Instant,
        acknowledged: &AtomicUsize,
    ) -> Result<(), Failure> {
        // What was not sent can be tried again without harm.
        let connect = || self.client.reach(&queue.broker, deadline);
        persist(deadline, connect).await?;
        for batch in MOST.parts(messages, &self.limits) {
            let body = message::write(batch);
            let _room = self.room.take(body.len()).await;
            let request = self.request(queue).body(body);
            let answer = self.client.ask(&queue.broker, request, deadline).await?;
            // Others mean that it is not on its disk, or not on the replica's.
            answer.success()?;
            acknowledged.fetch_add(batch.len(), Ordering::Relaxed);
        }
        Ok(())
    }

    fn request(&self, queue: &Queue) -> Request {
        // A clock before 1970 is none.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Request::new(
            SEND_BATCH,
            [
                ("a", GROUP.to_owned()),
                ("b", self.at.topic.clone()),
                ("c", TEMPLATE.to_owned()),
                ("d", "1".to_owned()),
                ("e", queue.number.to_string()),
                ("f", "0".to_owned()),
                ("g", now.as_millis().to_string()),
                ("h", "0".to_owned()),
                ("i", String::new()),
                ("j", "0".to_owned()),
                ("k", "false".to_owned()),
                ("m", "true".to_owned()),
                ("n", queue.broker.clone()),
            ],
        )
    }
}

/// How many queues there are; far fewer than fit, and at least one.
fn number_of(queues: &[Queue]) -> u32 {
    u32::try_from(queues.len()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_so_much_and_no_more() {
        parts::tests::end_at(MOST, 1_000, 256 << 10);
    }
}
