//! The thread behind a consumer: the member of the group.
//!
//! librdkafka tells of rebalances only to whoever polls, and takes a member that does not poll for
//! dead. So one thread polls as long as the consumer lives: for a call to receive, or, while its
//! owner is busy with a batch, with everything paused. A bus partition that goes away in that time
//! goes at once, and what of it is out is not acknowledged any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::Message;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::oneshot::Sender;

use super::commit::Committer;
use super::ears::{Change, Ears, is_distrust};
use super::settings;
use crate::error::{ConsumeError, OpenError, TopicAt};
use crate::held::Held;
use crate::limits::Limits;
use crate::orders::{Answer, Order};
use crate::port::{Acknowledged, Received};
use crate::url::BusUrl;

/// How long the owner may be busy before everything is paused. Pausing throws away what was
/// fetched ahead, so it is not done between two quick batches.
const BUSY: Duration = Duration::from_millis(500);
/// How often is polled while everything is paused.
pub(super) const TEND_INTERVAL: Duration = Duration::from_millis(50);
/// The longest single poll, so that a call whose owner went away is noticed.
const POLL: Duration = Duration::from_millis(100);
/// How often is polled while a commit is under way.
const COMMIT_INTERVAL: Duration = Duration::from_millis(20);

/// A member of a group.
pub struct Member {
    pub(super) consumer: Arc<BaseConsumer<Ears>>,
    committer: Committer,
    pub(super) held: Held,
    paused: BTreeSet<u32>,
    /// Whether everything is to be paused.
    resting: bool,
    pub(super) limits: Limits,
    pub(super) group: String,
    pub(super) at: TopicAt,
}

impl Member {
    /// Joins. Bus partitions come with polls.
    pub fn join(
        url: &BusUrl,
        limits: &Limits,
        group: &str,
        at: TopicAt,
    ) -> Result<Self, OpenError> {
        let settings_error = |error: KafkaError| OpenError::Settings {
            at: at.clone(),
            why: error.to_string(),
        };
        let config = settings::member(url, limits, group);
        let consumer = BaseConsumer::from_config_and_context(&config, Ears::default());
        let consumer = consumer.map_err(settings_error)?;
        consumer.subscribe(&[&url.topic]).map_err(settings_error)?;
        let consumer = Arc::new(consumer);
        let committer = Committer::new(Arc::clone(&consumer));
        let committer = committer.map_err(|error| OpenError::Other {
            at: at.clone(),
            why: format!("no thread for a consumer: {error}"),
        })?;
        Ok(Self {
            consumer,
            committer,
            held: Held::default(),
            paused: BTreeSet::new(),
            resting: false,
            limits: limits.clone(),
            group: group.to_owned(),
            at,
        })
    }

    /// Lives until its owner is gone. The end of the client leaves the group.
    pub fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let pause = if self.resting { TEND_INTERVAL } else { BUSY };
            match orders.recv_timeout(pause) {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => self.tend(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Whoever waits for an answer may be gone; only received events have to go back then.
    fn obey(&mut self, order: Order) {
        match order {
            Order::Receive {
                max_events,
                until,
                reply,
            } => {
                let batch = self.receive(max_events, until, &reply);
                if let Err(Ok(batch)) = reply.send(batch) {
                    self.held.take_back(&batch, None);
                }
            }
            Order::Acknowledge { events, reply } => {
                let _ = reply.send(self.acknowledge(&events));
            }
            Order::Held(order) => order.carry_out(&mut self.held, &self.limits),
            Order::Seek { to, reply } => {
                let _ = reply.send(self.seek(&to));
            }
            Order::Lag { reply } => {
                let _ = reply.send(self.lag());
            }
        }
    }

    /// Stays a member while the owner is busy.
    fn tend(&mut self) {
        self.resting = true;
        self.pause_and_resume();
        // What still comes was fetched before the pause; it is kept.
        while matches!(self.poll(Duration::ZERO), Ok(true)) {}
    }

    /// One poll. Answers whether an event came.
    pub(super) fn poll(&mut self, wait: Duration) -> Result<bool, KafkaError> {
        let polled = self.consumer.poll(wait);
        let event = polled.map(|message| message.map(|message| received(&message)));
        for change in self.consumer.context().changes() {
            match change {
                Change::Gained(bus_partition) => self.held.begin(bus_partition),
                Change::Lost(bus_partition) => self.held.end(bus_partition),
            }
            let (Change::Gained(bus_partition) | Change::Lost(bus_partition)) = change;
            // One that was paused, went and came back is still paused in librdkafka.
            let resume = self.list([bus_partition].into_iter());
            if matches!(change, Change::Gained(_)) && self.consumer.resume(&resume).is_err() {
                tracing::debug!("Kafka: bus partition {bus_partition} could not be resumed");
            }
            self.paused.remove(&bus_partition);
        }
        match event {
            None => Ok(false),
            Some(Ok(event)) => {
                self.held.take(event);
                Ok(true)
            }
            Some(Err(error)) => Err(error),
        }
    }

    /// Pauses the bus partitions that wait for a redelivery, or all of them, and no others.
    fn pause_and_resume(&mut self) {
        let wanted: BTreeSet<u32> = if self.resting {
            self.held.bus_partitions().collect()
        } else {
            self.held.held_back(Instant::now()).collect()
        };
        let pause = self.list(wanted.difference(&self.paused).copied());
        let resume = self.list(self.paused.difference(&wanted).copied());
        // One that is not ours any more cannot be paused, and need not.
        if pause.count() > 0 && self.consumer.pause(&pause).is_err() {
            tracing::debug!("Kafka: some bus partitions could not be paused");
        }
        if resume.count() > 0 && self.consumer.resume(&resume).is_err() {
            tracing::debug!("Kafka: some bus partitions could not be resumed");
        }
        self.paused = wanted;
    }

    pub(super) fn list(&self, bus_partitions: impl Iterator<Item = u32>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for bus_partition in bus_partitions {
            list.add_partition(&self.at.topic, number(bus_partition));
        }
        list
    }

    fn receive<T>(
        &mut self,
        max_events: usize,
        until: Instant,
        reply: &Sender<T>,
    ) -> Answer<Vec<Received>> {
        let mut batch = Vec::new();
        loop {
            let now = Instant::now();
            batch.extend(self.held.deliver(max_events - batch.len(), now));
            if batch.len() == max_events || now >= until || reply.is_closed() {
                return Ok(batch);
            }
            let room = self
                .limits
                .max_held_events
                .saturating_sub(self.held.events());
            let due = self.held.next_due(now);
            if room == 0 && (!batch.is_empty() || due.is_none()) {
                if !batch.is_empty() {
                    return Ok(batch);
                }
                return Err(ConsumeError::TooManyHeld {
                    held: self.held.events(),
                    limit: self.limits.max_held_events,
                });
            }
            self.resting = room == 0;
            self.pause_and_resume();
            let wait = due.map_or(until, |due| due.min(until)).duration_since(now);
            let wanted = room.min(max_events - batch.len());
            if let Err(error) = self.fetch(wanted, wait.min(POLL)) {
                // What was delivered so far is not lost: it goes back and comes with the next call.
                self.held.take_back(&batch, None);
                return Err(self.bus("receive", &error));
            }
        }
    }

    /// Waits for an event, and takes along those that are there already.
    fn fetch(&mut self, wanted: usize, wait: Duration) -> Result<(), KafkaError> {
        let mut wait = wait;
        for _ in 0..wanted.max(1) {
            match self.poll(wait) {
                Ok(true) => wait = Duration::ZERO,
                Ok(false) => break,
                // A broker that is away comes back; a batch without events says nothing else.
                Err(error) if !is_final(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, events: &[Received]) -> Answer<Acknowledged> {
        let acknowledged = self.held.finish(events);
        let finished = self.held.finished();
        if finished.is_empty() {
            return Ok(acknowledged);
        }
        let next = finished
            .iter()
            .map(|(line, position)| (*line, position + 1));
        let offsets = self.offsets("acknowledge", next)?;
        let deadline = Instant::now() + self.limits.question_time();
        match self.commit(&offsets, deadline) {
            Ok(()) => {
                self.held.forget(&finished);
                Ok(acknowledged)
            }
            Err(error) => Err(self.bus("acknowledge", &error)),
        }
    }

    /// Says where the group goes on, and stays a member until the coordinator has answered or the
    /// time is over. An answer that comes later is one to nobody: whoever gave up says it again.
    pub(super) fn commit(
        &mut self,
        offsets: &TopicPartitionList,
        deadline: Instant,
    ) -> Result<(), KafkaError> {
        let mut begun = self.committer.begin(offsets);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.committer.answer(left.min(COMMIT_INTERVAL)) {
                Some(answer) if begun => return answer,
                // That was the one before.
                Some(_) => begun = self.committer.begin(offsets),
                None if left.is_zero() => {
                    let timeout = RDKafkaErrorCode::OperationTimedOut;
                    return Err(KafkaError::ConsumerCommit(timeout));
                }
                None => {
                    self.resting = self.held.events() >= self.limits.max_held_events;
                    self.pause_and_resume();
                    // Errors of the bus are the commit's to tell.
                    let _ = self.poll(Duration::ZERO);
                }
            }
        }
    }

    fn offsets(
        &self,
        call: &'static str,
        positions: impl Iterator<Item = (u32, u64)>,
    ) -> Answer<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (bus_partition, position) in positions {
            // Kafka counts by i64, and no topic gets there.
            let offset = Offset::Offset(i64::try_from(position).unwrap_or(i64::MAX));
            list.add_partition_offset(&self.at.topic, number(bus_partition), offset)
                .map_err(|error| self.bus(call, &error))?;
        }
        Ok(list)
    }

    pub(super) fn bus(&self, call: &'static str, error: &KafkaError) -> ConsumeError {
        ConsumeError::Bus {
            at: self.at.clone(),
            call,
            why: error.to_string(),
        }
    }
}

/// Kafka's number of a bus partition. It came from there, so it fits.
pub(super) fn number(bus_partition: u32) -> i32 {
    i32::try_from(bus_partition).unwrap_or(i32::MAX)
}

/// The number of a bus partition that Kafka names. They are not negative.
pub(super) fn line_of(partition: i32) -> u32 {
    u32::try_from(partition).unwrap_or(0)
}

/// Whether waiting does not help.
pub(super) fn is_final(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    let gone = [
        RDKafkaErrorCode::UnknownTopicOrPartition,
        RDKafkaErrorCode::UnknownTopic,
        RDKafkaErrorCode::Fatal,
    ];
    code.is_some_and(|code| is_distrust(code) || gone.contains(&code))
}

fn received(message: &impl Message) -> Received {
    let bytes = |bytes: Option<&[u8]>| Bytes::copy_from_slice(bytes.unwrap_or_default());
    let published = message.timestamp().to_millis();
    Received {
        bus_partition: line_of(message.partition()),
        // Offsets of messages are not negative either.
        position: u64::try_from(message.offset()).unwrap_or(0),
        published_at_millis: published.and_then(|t| u64::try_from(t).ok()).unwrap_or(0),
        key: bytes(message.key()),
        payload: bytes(message.payload()),
        attempt: 0,
        delivery: 0,
    }
}
