//! A consumer of the bus's group: what the relays published comes into the ledger.
//!
//! A batch is received, sorted by journal ([`sort`]), written in one transaction ([`write`]), told
//! to Redis, and acknowledged to the bus, in this order. Whatever ends in between, the batch comes
//! again and changes nothing. It does not matter who receives which event, or that two receive the
//! same: a recorder holds no lease, and the ledger keeps the order ([`crate::ledger::carry`]).
//!
//! - Redis is told at best: a recorder that waited for Redis could not receive the barrier for which
//!   Redis may be waiting. What it could not tell the relay finds out ([`super::relay`]).
//! - An event whose forerunner never came is written, and the relay is asked to publish again what
//!   the ledger lacks.
//! - What cannot be read is given back to come again, since a newer program may take over; after
//!   the tries it is a dead letter, in the ledger and on the bus. Everything else goes on.

pub(crate) mod refused;
pub(crate) mod sort;
mod write;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use acclaim_bus::event::Event;
use acclaim_bus::port::Received;
use acclaim_bus::{ConsumeError, Consumer};
use acclaim_core::Rev;
use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::Instant;

use self::sort::{Message, Rounds, StandsAt};
use self::write::Done;
use super::carrier::Carrier;
use super::drain::Tools;
use super::watched::{add, set};
use crate::failpoint;
use crate::ledger::dictionary::DictionaryError;
use crate::ledger::{LedgerError, LedgerEvent};
use crate::redis::keys::Partition;
use crate::redis::persist::{Persisted, Told};

/// How long a batch is waited for while somebody waits for the ledger.
const HURRIED_WAIT: Duration = Duration::from_millis(5);
/// For how long that lasts after somebody asked.
const HURRIED_FOR: Duration = Duration::from_millis(500);
/// How long Redis may take to be told of a batch, and how long it is left alone where it does not.
const TELL_MAX: Duration = Duration::from_millis(500);
const TELL_REST: Duration = Duration::from_secs(2);
/// How often it is measured how far behind the group is.
const LAG_INTERVAL: Duration = Duration::from_secs(2);
/// How long what was asked to be published again is waited for, before it is asked for again.
const GAP_REST: Duration = Duration::from_secs(5);
/// Failures of the bus in a row after which the group is joined anew.
const REJOIN_AFTER: u32 = 5;

/// One consumer.
pub(super) struct Recorder {
    tools: Arc<Tools>,
    carrier: Arc<Carrier>,
    number: usize,
    partitions: u16,
    stopping: watch::Receiver<bool>,
    tell_rests_until: Instant,
    /// What is to be published again, by partition.
    gaps: BTreeMap<u16, Gap>,
}

/// Something that never came.
struct Gap {
    journal: Partition,
    turn: u64,
    /// Something before this place.
    before: Rev,
    /// When the relay is asked, unless it came by then.
    asks_at: Instant,
}

/// A message that cannot be read.
struct Poison {
    message: Received,
    reason: String,
}

/// A batch, sorted.
#[derive(Default)]
struct Sorted {
    rounds: Rounds,
    /// Acknowledged when the rounds are in the ledger.
    done: Vec<Received>,
    /// Had their last try; they are in the rounds, or stand nowhere.
    dead: Vec<Poison>,
    /// Those of [`Sorted::dead`] that stand nowhere, by their place in it.
    placeless: Vec<usize>,
    /// Come again.
    again: Vec<Poison>,
}

impl Recorder {
    pub fn new(
        tools: Arc<Tools>,
        carrier: Arc<Carrier>,
        number: usize,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            tools,
            carrier,
            number,
            partitions: 0,
            stopping,
            tell_rests_until: Instant::now(),
            gaps: BTreeMap::new(),
        }
    }

    /// Records until the worker stops.
    pub async fn work(mut self) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => {}
            () = self.record_all() => {}
        }
    }

    async fn record_all(&mut self) {
        let mut failures = 0_u32;
        loop {
            let Some(()) = self.join_and_record(&mut failures).await else {
                return;
            };
            failures = failures.saturating_add(1);
            if self.rest(failures).await.is_none() {
                return;
            }
        }
    }

    /// Joins the group and records until the bus fails. `None`: the worker stops.
    async fn join_and_record(&mut self, failures: &mut u32) -> Option<()> {
        let ledger = self.tools.ledger.clone();
        let partitions = self.until_taken(|| ledger.partitions()).await?;
        self.partitions = u16::try_from(partitions.len()).unwrap_or(u16::MAX);
        let mut consumer = match self.carrier.consumer().await {
            Ok(consumer) => consumer,
            Err(error) => {
                self.note_failure(&error, *failures);
                return Some(());
            }
        };
        let mut in_a_row = 0_u32;
        let mut lag_at = Instant::now();
        let (mut hurries, mut hurried_until) = (0, Instant::now());
        loop {
            let received = self
                .receive(consumer.as_mut(), &mut hurries, &mut hurried_until)
                .await;
            match received {
                Ok(batch) if batch.is_empty() => in_a_row = 0,
                Ok(batch) => match self.record(consumer.as_mut(), batch).await? {
                    Ok(()) => (in_a_row, *failures) = (0, 0),
                    // What is neither acknowledged nor given back comes again to who joins next.
                    Err(error) => {
                        self.note_failure(&error, 0);
                        return Some(());
                    }
                },
                // Said once of each bus partition. The bus is there, and what is missing is noticed
                // when the ledger has what stands behind it.
                Err(ConsumeError::Gone { .. }) => {
                    add(&self.tools.watched.consume_failures, 1_u64);
                }
                Err(error) => {
                    in_a_row += 1;
                    self.note_failure(&error, in_a_row - 1);
                    if in_a_row >= REJOIN_AFTER {
                        return Some(());
                    }
                    self.rest(in_a_row).await?;
                }
            }
            if !self.gaps.is_empty() {
                self.see_to_gaps().await;
            }
            if Instant::now() >= lag_at {
                lag_at = Instant::now() + LAG_INTERVAL;
                match consumer.lag().await {
                    Ok(lag) => self.carrier.note_lag(self.number, lag),
                    Err(error) => tracing::debug!(%error, "the lag of the bus is not known"),
                }
            }
        }
    }

    fn note_failure(&self, error: &dyn std::fmt::Display, failures: u32) {
        add(&self.tools.watched.consume_failures, 1_u64);
        if failures == 0 {
            tracing::warn!(%error, "the bus gives no events; trying on");
        } else {
            tracing::debug!(%error, failures, "the bus gives no events");
        }
    }

    /// The next batch: soon, while somebody waits for the ledger.
    async fn receive(
        &self,
        consumer: &mut dyn Consumer,
        hurries: &mut u64,
        hurried_until: &mut Instant,
    ) -> Result<Vec<Received>, ConsumeError> {
        let config = self.carrier.config();
        let most = config.batch_max_events;
        if Instant::now() >= *hurried_until {
            let longest = Duration::from_millis(config.batch_max_millis);
            tokio::select! {
                received = consumer.receive(most, longest) => return received,
                seen = self.carrier.hurried(*hurries) => *hurries = seen,
            }
            *hurried_until = Instant::now() + HURRIED_FOR;
        }
        consumer.receive(most, HURRIED_WAIT).await
    }

    /// Records a batch. `None`: the worker stops before it is done.
    async fn record(
        &mut self,
        consumer: &mut dyn Consumer,
        batch: Vec<Received>,
    ) -> Option<Result<(), ConsumeError>> {
        add(&self.tools.watched.received, batch.len());
        let again = batch.iter().filter(|message| message.attempt > 1).count();
        add(&self.tools.watched.redelivered, again);
        let sorted = self.sort(batch).await?;
        failpoint::hit(failpoint::RECORD_BEFORE_APPLY);
        let done = self.write(sorted.rounds.end()).await?;
        for at in &sorted.placeless {
            let Poison { message, reason } = &sorted.dead[*at];
            let ledger = &self.tools.ledger;
            self.until_taken(|| {
                let (partition, position) = (message.bus_partition, message.position);
                ledger.bury_message(partition, position, reason, &message.payload)
            })
            .await?;
        }
        failpoint::hit(failpoint::RECORD_BEFORE_TELL);
        self.count(&done, sorted.placeless.len());
        self.tell(&done).await;
        self.note_gaps(&done);
        self.see_to_gaps().await;
        failpoint::hit(failpoint::RECORD_BEFORE_ACKNOWLEDGE);
        Some(
            self.acknowledge(consumer, sorted.done, sorted.dead, sorted.again)
                .await,
        )
    }

    async fn acknowledge(
        &self,
        consumer: &mut dyn Consumer,
        done: Vec<Received>,
        dead: Vec<Poison>,
        again: Vec<Poison>,
    ) -> Result<(), ConsumeError> {
        if !done.is_empty() {
            consumer.acknowledge(&done).await?;
        }
        for Poison { message, reason } in &dead {
            tracing::error!(
                bus_partition = message.bus_partition,
                position = message.position,
                %reason,
                "a message of the bus is a dead letter now"
            );
            consumer.bury(message, reason).await?;
            add(&self.tools.watched.dead_on_bus, 1_u64);
        }
        for Poison { message, reason } in &again {
            consumer
                .give_back(std::slice::from_ref(message), reason)
                .await?;
        }
        Ok(())
    }

    /// Sorts a batch. What stands in a bus partition behind a message that comes again comes again
    /// with it.
    async fn sort(&self, batch: Vec<Received>) -> Option<Sorted> {
        let mut sorted = Sorted::default();
        let mut held_up: HashSet<u32> = HashSet::new();
        let tries = self.carrier.config().limits.max_tries;
        for message in batch {
            if held_up.contains(&message.bus_partition) {
                continue;
            }
            let (store, kinds) = (self.carrier.store(), self.carrier.kinds());
            let (reason, stand) = match sort::read(&message, store, kinds, self.partitions) {
                Message::Event(event) => {
                    let read = self.ledger_event(&event).await?;
                    let at = StandsAt::of_event(&event);
                    sorted.rounds.add(&at, read, message.payload.clone());
                    sorted.done.push(message);
                    continue;
                }
                Message::Barrier(barrier) => {
                    sorted.rounds.bar(barrier.partition, barrier.turn.into());
                    sorted.done.push(message);
                    continue;
                }
                Message::Foreign => {
                    sorted.done.push(message);
                    continue;
                }
                Message::Poison(reason, stand) => (reason, stand),
            };
            if message.attempt < tries {
                held_up.insert(message.bus_partition);
                sorted.again.push(Poison { message, reason });
                continue;
            }
            match stand {
                Some(stand) => {
                    let (at, payload) = (StandsAt::of(&stand), message.payload.clone());
                    sorted.rounds.add(&at, Err(reason.clone()), payload);
                }
                None => sorted.placeless.push(sorted.dead.len()),
            }
            sorted.dead.push(Poison { message, reason });
        }
        Some(sorted)
    }

    /// An event in the ledger's numbers, or why it has none.
    async fn ledger_event(&self, event: &Event) -> Option<Result<LedgerEvent, String>> {
        let numbered = self
            .until_taken(|| async {
                match super::dead_letters::numbered(&self.tools.ledger, event).await {
                    Ok(numbered) => Ok(Ok(numbered)),
                    Err(DictionaryError::Ledger(error)) => Err(error),
                    Err(refused) => Ok::<_, LedgerError>(Err(refused.to_string())),
                }
            })
            .await?;
        Some(numbered)
    }

    fn count(&self, done: &[Done], placeless: usize) {
        let watched = &self.tools.watched;
        let mut buried = placeless;
        for one in done {
            let events = one.stretch.carried.batch.entries.len();
            if one.recorded.is_late {
                add(&watched.late, events);
                continue;
            }
            add(&watched.events, events);
            add(&watched.flips, one.recorded.applied.flips);
            add(&watched.stale, one.recorded.applied.stale);
            buried += one.recorded.applied.refused;
        }
        add(&watched.buried, buried);
    }

    /// Tells those of this process who wait, and Redis.
    async fn tell(&mut self, done: &[Done]) {
        // Of some that were refused nobody is told that the ledger has them.
        let is_whole = |one: &&Done| !one.recorded.is_late && one.recorded.applied.refused == 0;
        for one in done.iter().filter(is_whole) {
            let entries = one.stretch.carried.batch.entries.iter();
            let places = entries.map(|entry| entry.seq);
            self.tools.desk.tell(one.stretch.journal, places);
        }
        if Instant::now() < self.tell_rests_until {
            return;
        }
        let told = done.iter().map(|one| self.tell_redis(one));
        let told = tokio::time::timeout(TELL_MAX, join_all(told)).await;
        let is_told = told.is_ok_and(|told| told.into_iter().all(|told| told));
        if !is_told {
            self.tell_rests_until = Instant::now() + TELL_REST;
        }
    }

    /// Answers `false` where Redis does not answer.
    async fn tell_redis(&self, done: &Done) -> bool {
        let journal = done.stretch.journal;
        let is_other = self.tools.redis.partition(journal.epoch, journal.number) != journal;
        if done.recorded.is_late || is_other {
            return true;
        }
        let mut last = Rev::ZERO;
        let mut entries = 0;
        for entry in done.applied() {
            if entry.seq > last {
                last = entry.seq;
                entries += 1;
            }
        }
        if entries == 0 {
            return true;
        }
        let first = done.stretch.carried.previous.first();
        let persisted = Persisted {
            upto: last,
            after: first.copied().flatten().unwrap_or(Rev::ZERO),
            last: Some(last),
            entries,
            edges: done.stretch.edges.clone(),
        };
        let (tools, keep) = (&self.tools, self.tools.keep(self.partitions));
        match tools
            .redis
            .persisted(journal, tools.now(), keep, &persisted)
            .await
        {
            Ok(Told::Noted { now, .. }) => {
                let lag = now.0.saturating_sub(done.stretch.oldest.0) / 1_000;
                set(&tools.watched.lag_millis, lag);
                true
            }
            Ok(Told::Cold | Told::OtherJournal) => {
                add(&tools.watched.other_journals, 1_u64);
                true
            }
            Err(error) => {
                add(&tools.watched.redis_failures, 1_u64);
                tracing::debug!(partition = journal.number, %error, "Redis was not told");
                false
            }
        }
    }

    /// Takes note of what never came.
    fn note_gaps(&mut self, done: &[Done]) {
        for one in done {
            if one.recorded.is_late || !one.recorded.has_gap {
                continue;
            }
            add(&self.tools.watched.gaps, 1_u64);
            let (journal, turn) = (one.stretch.journal, one.stretch.carried.turn);
            let before = one.last();
            let gap = self.gaps.entry(journal.number).or_insert_with(|| {
                tracing::warn!(
                    partition = journal.number,
                    applied = one.recorded.applied.applied.0,
                    "events of the bus never came; the relay is asked to publish them again"
                );
                let asks_at = Instant::now();
                Gap {
                    journal,
                    turn,
                    before,
                    asks_at,
                }
            });
            if (gap.journal, gap.turn) != (journal, turn) {
                gap.asks_at = Instant::now();
                (gap.journal, gap.turn) = (journal, turn);
            }
            gap.before = gap.before.max(before);
        }
    }

    /// Asks for what never came, again and again until it did.
    async fn see_to_gaps(&mut self) {
        let now = Instant::now();
        let due = self.gaps.iter().filter(|(_, gap)| gap.asks_at <= now);
        let due: Vec<u16> = due.map(|(number, _)| *number).collect();
        for number in due {
            let Some(gap) = self.gaps.get_mut(&number) else {
                continue;
            };
            gap.asks_at = now + GAP_REST;
            match self.tools.ledger.seat(number).await {
                Ok(seat) if seat.applied >= gap.before || seat.turn != gap.turn => {
                    self.gaps.remove(&number);
                    continue;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "it cannot be seen what came meanwhile");
                    continue;
                }
            }
            let asked = self.tools.redis.publish_again(gap.journal, gap.turn);
            match tokio::time::timeout(TELL_MAX, asked).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the relay could not be asked"),
                Err(_) => tracing::debug!("Redis does not take the question to the relay"),
            }
        }
    }
}
