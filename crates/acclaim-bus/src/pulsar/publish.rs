//! Publishing in order.
//!
//! A broker stores what one producer sends in the order of sending. A call waits for the answer to
//! each of its batches until its time is over, and a call that fails gives up the whole session,
//! connections and producers, with everything in it. The next call begins with a new one.
//!
//! Invariant: after a call has failed, nothing of it is sent any more that its repetition could
//! overtake; what a broker still had in its hands comes, if it comes, in front of the repetition or
//! among it, each event behind those that were before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::timeout_at;

use super::client::{Client, partition_topic};
use super::failure::Failure;
use super::place::MAX_BATCH_MESSAGES;
use super::producer::{Producer, Stored};
use crate::error::{OpenError, PublishError, TopicAt};
use crate::limits::Limits;
use crate::orders::DeadLetters;
use crate::parts::{self, Lines, Most, Single};
use crate::persist::persist;
use crate::port::{Outgoing, Publisher, Received};
use crate::room::Room;
use crate::url::BusUrl;

/// The longest batch before compression. Far below the 5 MB that brokers take, with the metadata.
const MOST: Most = Most {
    messages: MAX_BATCH_MESSAGES as usize,
    bytes: 256 << 10,
};

/// Publishes to the topic of the events.
pub struct PulsarPublisher {
    line: Line,
    bus_partitions: u32,
}

impl PulsarPublisher {
    /// Nothing is connected before the first call.
    pub fn new(url: &BusUrl, limits: &Limits, bus_partitions: u32) -> Self {
        Self {
            line: Line::new(url, limits, TopicAt::events(url)),
            bus_partitions,
        }
    }
}

#[async_trait]
impl Publisher for PulsarPublisher {
    async fn publish(&self, events: &[Outgoing]) -> Result<(), PublishError> {
        self.line.limits.allow(events)?;
        let messages = parts::events(events, self.bus_partitions);
        let deadline = Instant::now() + self.line.limits.publish_timeout();
        self.line.send(messages, deadline).await
    }
}

/// Publishes dead letters.
pub struct PulsarDeadLetters {
    line: Line,
}

impl PulsarDeadLetters {
    /// Nothing is connected before the first call.
    pub fn new(url: &BusUrl, limits: &Limits) -> Self {
        Self {
            line: Line::new(url, limits, TopicAt::dead_letters(url)),
        }
    }
}

#[async_trait]
impl DeadLetters for PulsarDeadLetters {
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

/// A topic that is published to, by a session that is made anew after a failure.
struct Line {
    url: BusUrl,
    limits: Limits,
    at: TopicAt,
    current: Mutex<Option<Arc<Session>>>,
}

/// Connections, and a producer for each partition that was published to.
struct Session {
    client: Client,
    producers: tokio::sync::Mutex<BTreeMap<u32, Arc<Producer>>>,
    room: Room,
}

/// Gives the session up unless the call came to a good end, also when the call is dropped.
struct Pledge<'a> {
    line: &'a Line,
    session: Arc<Session>,
    kept: bool,
}

impl Drop for Pledge<'_> {
    fn drop(&mut self) {
        if !self.kept {
            let mut current = self.line.current.lock();
            // Another call that failed with the same one may have put a new one there already.
            drop(current.take_if(|one| Arc::ptr_eq(one, &self.session)));
        }
    }
}

impl Line {
    fn new(url: &BusUrl, limits: &Limits, at: TopicAt) -> Self {
        Self {
            url: url.clone(),
            limits: limits.clone(),
            at,
            current: Mutex::default(),
        }
    }

    fn session(&self) -> Result<Arc<Session>, OpenError> {
        let mut current = self.current.lock();
        if let Some(session) = &*current {
            return Ok(Arc::clone(session));
        }
        let session = Session {
            client: Client::new(&self.url, &self.limits)?,
            producers: tokio::sync::Mutex::default(),
            room: Room::new(&self.limits),
        };
        Ok(Arc::clone(current.insert(Arc::new(session))))
    }

    /// How many partitions the topic has.
    async fn partitions(&self, deadline: Instant) -> Result<u32, PublishError> {
        let session = self.session()?;
        let ask = || session.client.partitions(&self.at.topic, deadline);
        let partitions = persist(deadline, ask).await;
        Ok(partitions.map_err(|failure| failure.opening(&self.at, &self.limits))?)
    }

    /// Sends messages to each partition in order, and waits until the brokers have all of them.
    async fn send(&self, messages: Lines, deadline: Instant) -> Result<(), PublishError> {
        let events = messages.values().map(Vec::len).sum();
        if events == 0 {
            return Ok(());
        }
        let session = self.session()?;
        let mut pledge = Pledge {
            line: self,
            session: Arc::clone(&session),
            kept: false,
        };
        let mut ready = Vec::new();
        for (bus_partition, messages) in messages {
            let producer = session
                .producer(&self.at.topic, bus_partition, deadline)
                .await;
            let producer = producer.map_err(|failure| failure.opening(&self.at, &self.limits))?;
            ready.push((producer, messages));
        }
        let mut acknowledged = 0;
        let sending = self.send_all(&session, &ready, &mut acknowledged);
        let why = match timeout_at(deadline.into(), sending).await {
            Ok(Ok(())) => {
                pledge.kept = true;
                return Ok(());
            }
            Ok(Err(failure)) => failure.to_string(),
            Err(_elapsed) => {
                let millis = self.limits.publish_timeout_millis;
                format!("no answer within {millis} ms")
            }
        };
        Err(PublishError::Unknown {
            at: self.at.clone(),
            acknowledged,
            events,
            why,
        })
    }

    async fn send_all(
        &self,
        session: &Session,
        ready: &[(Arc<Producer>, Vec<Single>)],
        acknowledged: &mut usize,
    ) -> Result<(), Failure> {
        let mut sent: Vec<(usize, Stored)> = Vec::new();
        for (producer, messages) in ready {
            for batch in MOST.parts(messages, &self.limits) {
                let room = session.room.take(parts::bytes(batch)).await;
                sent.push((batch.len(), producer.send(batch, room)?));
            }
        }
        for (count, stored) in sent {
            let ended = |_| Failure::Broken("the producer ended".to_owned());
            stored.await.map_err(ended)??;
            *acknowledged += count;
        }
        Ok(())
    }
}

impl Session {
    /// The producer of a partition, opened until the deadline if there is none.
    async fn producer(
        &self,
        topic: &str,
        bus_partition: u32,
        deadline: Instant,
    ) -> Result<Arc<Producer>, Failure> {
        let locked = timeout_at(deadline.into(), self.producers.lock()).await;
        let mut producers = locked.map_err(|_elapsed| Failure::Silent)?;
        if let Some(producer) = producers.get(&bus_partition) {
            return Ok(Arc::clone(producer));
        }
        let topic = partition_topic(topic, bus_partition);
        let open = || Producer::open(&self.client, &topic, None, deadline);
        let producer = Arc::new(persist(deadline, open).await?);
        producers.insert(bus_partition, Arc::clone(&producer));
        Ok(producer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_so_much_and_no_more() {
        parts::tests::end_at(MOST, 1_024, 256 << 10);
    }
}
