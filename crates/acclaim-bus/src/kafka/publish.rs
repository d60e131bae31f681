//! Publishing in order.
//!
//! librdkafka keeps the order of a producer's messages through its own repetitions, as long as no
//! message is given up alone. So none is: a call waits for the acknowledgement of each of its
//! messages until its time is over, and a call that fails gives up the whole producer with
//! everything in it. The next call begins with a new one.
//!
//! Invariant: after a call has failed, nothing of it is sent any more that its repetition could
//! overtake; what a broker still had in its hands comes, if it comes, in front of the repetition or
//! as a duplicate behind it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer, PurgeConfig};
use tokio::time::{Instant, sleep, timeout_at};

use super::ears::{Ears, SharedEars};
use super::settings;
use crate::error::{OpenError, PublishError, TopicAt};
use crate::limits::{Limits, cut};
use crate::orders::{DeadLetters, ORIGIN, REASON, origin};
use crate::port::{Outgoing, Publisher, Received};
use crate::url::BusUrl;

/// How often a call that waits for room looks for it.
const ROOM_INTERVAL: Duration = Duration::from_millis(5);

type Client = FutureProducer<SharedEars>;

/// Publishes to the topic of the events.
pub struct KafkaPublisher {
    line: Line,
    bus_partitions: u32,
}

impl KafkaPublisher {
    /// Nothing is connected before the first call.
    pub fn new(url: &BusUrl, limits: &Limits, bus_partitions: u32) -> Self {
        Self {
            line: Line::new(url, limits, TopicAt::events(url)),
            bus_partitions,
        }
    }
}

#[async_trait]
impl Publisher for KafkaPublisher {
    async fn publish(&self, events: &[Outgoing]) -> Result<(), PublishError> {
        self.line.limits.allow(events)?;
        let messages = events.iter().map(|event| {
            Message {
                // Partitions are numbered by i32 there, and there are no more than it holds.
                bus_partition: i32::try_from(event.bus_partition(self.bus_partitions)).ok(),
                key: event.key().into_bytes().into(),
                payload: &event.payload,
                headers: None,
            }
        });
        self.line.send(messages.collect()).await
    }
}

/// Publishes dead letters.
pub struct KafkaDeadLetters {
    line: Line,
}

impl KafkaDeadLetters {
    /// Nothing is connected before the first call.
    pub fn new(url: &BusUrl, limits: &Limits) -> Self {
        Self {
            line: Line::new(url, limits, TopicAt::dead_letters(url)),
        }
    }
}

#[async_trait]
impl DeadLetters for KafkaDeadLetters {
    async fn write(
        &self,
        events: &[Received],
        reason: &str,
        from: &TopicAt,
    ) -> Result<(), PublishError> {
        let reason = cut(reason, self.line.limits.max_reason_bytes);
        let messages = events.iter().map(|event| {
            let origin = origin(event, from);
            let header = |key, value| Header {
                key,
                value: Some(value),
            };
            let headers = OwnedHeaders::new().insert(header(REASON, reason));
            Message {
                bus_partition: None,
                key: event.key.clone(),
                payload: &event.payload,
                headers: Some(headers.insert(header(ORIGIN, &origin))),
            }
        });
        self.line.send(messages.collect()).await
    }
}

struct Message<'a> {
    bus_partition: Option<i32>,
    key: bytes::Bytes,
    payload: &'a [u8],
    headers: Option<OwnedHeaders>,
}

/// A producer that is made anew after a failure.
struct Line {
    url: BusUrl,
    limits: Limits,
    at: TopicAt,
    current: Mutex<Option<Made>>,
}

#[derive(Clone)]
struct Made {
    client: Client,
    ears: Arc<Ears>,
}

/// Gives the producer up unless the call came to a good end, also when the call is dropped.
struct Pledge<'a> {
    line: &'a Line,
    /// None only while it is dropped.
    made: Option<Made>,
    kept: bool,
}

impl Drop for Pledge<'_> {
    fn drop(&mut self) {
        let Some(made) = self.made.take().filter(|_| !self.kept) else {
            return;
        };
        let mut current = self.line.current.lock();
        // Another call that failed with the same one may have put a new one there already.
        let given_up = current.take_if(|one| Arc::ptr_eq(&one.ears, &made.ears));
        drop(current);
        made.client.purge(PurgeConfig::default().queue().inflight());
        // The end of a producer waits for its threads. Where no thread can be had, it ends here.
        let _ = std::thread::Builder::new().spawn(move || drop((given_up, made)));
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

    fn made(&self) -> Result<Made, OpenError> {
        let mut current = self.current.lock();
        if let Some(made) = &*current {
            return Ok(made.clone());
        }
        let config = settings::producer(&self.url, &self.limits);
        let ears = Arc::<Ears>::default();
        let made = Client::from_config_and_context(&config, SharedEars(Arc::clone(&ears)));
        let client = made.map_err(|error| OpenError::Settings {
            at: self.at.clone(),
            why: error.to_string(),
        })?;
        Ok(current.insert(Made { client, ears }).clone())
    }

    /// Sends messages in order and waits for the acknowledgement of each.
    async fn send(&self, messages: Vec<Message<'_>>) -> Result<(), PublishError> {
        if messages.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + self.limits.publish_timeout();
        let made = self.made()?;
        let mut pledge = Pledge {
            line: self,
            made: Some(made.clone()),
            kept: false,
        };
        let mut acknowledged = 0;
        let sent = self.send_all(&made.client, &messages, &mut acknowledged);
        let sent = timeout_at(deadline, sent).await;
        let why = match sent {
            Ok(Ok(())) => {
                pledge.kept = true;
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => {
                let millis = self.limits.publish_timeout_millis;
                format!("no answer within {millis} ms: {}", made.ears.last_text())
            }
        };
        Err(PublishError::Unknown {
            at: self.at.clone(),
            acknowledged,
            events: messages.len(),
            why,
        })
    }

    async fn send_all(
        &self,
        client: &Client,
        messages: &[Message<'_>],
        acknowledged: &mut usize,
    ) -> Result<(), KafkaError> {
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages {
            sent.push(self.enqueue(client, message).await?);
        }
        for delivery in sent {
            // A producer that was given up by another call answers nothing.
            let delivered = delivery.await.map_err(|_| KafkaError::Canceled)?;
            delivered.map_err(|(error, _message)| error)?;
            *acknowledged += 1;
        }
        Ok(())
    }

    /// Puts a message into the producer's queue, when there is room.
    async fn enqueue(
        &self,
        client: &Client,
        message: &Message<'_>,
    ) -> Result<DeliveryFuture, KafkaError> {
        loop {
            let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.at.topic)
                .key(&message.key[..])
                .payload(message.payload);
            record.partition = message.bus_partition;
            record.headers = message.headers.clone();
            match client.send_result(record) {
                Ok(delivery) => return Ok(delivery),
                Err((error, _)) if error.rdkafka_error_code() == QUEUE_FULL => {
                    sleep(ROOM_INTERVAL).await;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}

const QUEUE_FULL: Option<RDKafkaErrorCode> = Some(RDKafkaErrorCode::QueueFull);
