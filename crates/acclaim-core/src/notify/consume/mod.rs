//! The consumer: reads the journal, folds it, and commits what follows together with how far it
//! got.
//!
//! Whoever changes what the fold depends on (owners, endpoints, erasures) changes the epoch with
//! it. A commit expects the epoch and the position that were read, so a batch that was overtaken is
//! folded again.

mod ground;
mod sweep;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use compact_str::CompactString;

use self::ground::{Ground, ground, hold};
use super::delivery::{DeadDelivery, Delivery};
use super::erase::Mark;
use super::fold::{Change, Fold, Tally, Told};
use super::keys::{self, GroupKey, tag};
use super::port::{Batch, CommitError, Duty, Notes};
use super::queue::{DeadLetterBook, Writer, waiting};
use super::record::{decode_found, encode};
use super::settings::Settings;
use crate::error::{JournalError, ReadError, WriteError};
use crate::port::{Clock, Engine, Event, Place};
use crate::rev::Rev;

/// Endpoints and erasures read at once; there are never as many.
const ALL: usize = 10_000;
/// How long a position that moved without anything following from it stays unwritten, in
/// microseconds.
const IDLE_POSITION_MICROS: u64 = 1_000_000;
/// How long a queue that was found full is taken for full, in microseconds.
const FULL_QUEUE_MICROS: u64 = 1_000_000;
/// Deliveries that one commit puts into queues, unless a single event makes more.
const MAX_QUEUED_AT_ONCE: usize = 10_000;
/// The most events that are counted of those that wait.
pub const MAX_BEHIND: usize = 10_000;
/// Events read at once, at least, though fewer may be folded at once: where journals lie on other
/// servers a look at all of them costs more than what is in them.
const READ_EVENTS: usize = 5_000;

/// Why a step was not done. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What is kept could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What follows could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Another process does it now.
    #[error("another process has taken over notifications")]
    Displaced,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// There was nothing to read.
    Idle,
    /// Somebody changed what the batch depends on; it is folded again by the next step.
    Overtaken,
    /// Events of the journal are gone that were not folded. It goes on after `to`.
    Trimmed {
        /// Up to where it was folded.
        from: Place,
        /// Where it goes on.
        to: Place,
    },
    /// A batch was folded.
    Folded(Done),
}

/// A batch that was folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Events in it.
    pub events: u64,
    /// What they came to.
    pub tally: Tally,
    /// Deliveries put into queues.
    pub queued: u64,
    /// Deliveries that found their queue full.
    pub overflowed: u64,
}

/// Folds the journal of an engine, step by step.
pub struct Consumer {
    engine: Arc<dyn Engine>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    duty: Duty,
    /// Up to where it is folded.
    position: Place,
    /// Events behind that, in order, that were read and are not folded yet.
    ahead: VecDeque<Event>,
    /// The position as it is written down.
    written: Option<Vec<u8>>,
    written_at: Rev,
    queues: HashMap<CompactString, QueueRoom>,
    dead_letters: DeadLetterBook,
}

/// What is known of how full a queue is.
#[derive(Clone, Copy, Default)]
struct QueueRoom {
    /// At most as many wait.
    at_most: Option<usize>,
    full_until: Rev,
}

impl Consumer {
    /// A consumer that goes on where the last one ended, as long as the duty is nobody else's.
    /// `None` where the engine keeps no notes.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn load(
        engine: Arc<dyn Engine>,
        settings: Settings,
        clock: Arc<dyn Clock>,
        duty: Duty,
    ) -> Result<Option<Self>, ReadError> {
        let Some(notes) = engine.notes() else {
            return Ok(None);
        };
        let written = notes.get(vec![keys::position()]).await?.pop().flatten();
        let position = match decode_found::<String>(written.as_ref())? {
            None => Place::START,
            Some(text) => text
                .parse()
                .map_err(|error| ReadError::Store(format!("{error}")))?,
        };
        Ok(Some(Self {
            engine,
            settings,
            written_at: clock.now(),
            clock,
            duty,
            position,
            ahead: VecDeque::new(),
            written,
            queues: HashMap::new(),
            dead_letters: DeadLetterBook::new(Writer::Consumer),
        }))
    }

    /// Up to where the journal is folded.
    #[must_use]
    pub fn position(&self) -> Place {
        self.position
    }

    /// How many events wait to be folded, counted up to [`MAX_BEHIND`].
    ///
    /// # Errors
    /// [`ConsumeError`].
    pub async fn behind(&self) -> Result<usize, ConsumeError> {
        match self.engine.recorded_after(self.position, MAX_BEHIND).await {
            Ok(events) => Ok(events.len()),
            // As many as are kept, and more.
            Err(JournalError::Trimmed { .. }) => Ok(MAX_BEHIND),
            Err(error) => Err(error.into()),
        }
    }

    fn notes(&self) -> Result<&dyn Notes, ReadError> {
        let gone = || ReadError::Store("the engine keeps no notes".to_owned());
        self.engine.notes().ok_or_else(gone)
    }

    /// Folds the next batch.
    ///
    /// # Errors
    /// [`ConsumeError`]; the same step may be tried again.
    pub async fn step(&mut self) -> Result<Stepped, ConsumeError> {
        let most = self.settings.notifications.batch_max_events;
        if self.ahead.is_empty() {
            let most = most.max(READ_EVENTS);
            self.ahead = match self.engine.recorded_after(self.position, most).await {
                Ok(events) => events.into(),
                Err(JournalError::Trimmed { oldest, .. }) => {
                    let from = std::mem::replace(&mut self.position, oldest);
                    return Ok(Stepped::Trimmed { from, to: oldest });
                }
                Err(error) => return Err(error.into()),
            };
        }
        let batch = self.ahead.len().min(most);
        let events: Vec<Event> = self.ahead.drain(..batch).collect();
        let Some(last) = events.last() else {
            return self.rest().await;
        };
        let folded = self.fold(&events).await;
        // What is left follows on this batch alone, and only if all of it was folded.
        if self.position != last.place {
            self.ahead.clear();
        }
        folded
    }

    /// Whether events were read that are not folded yet.
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Writes down a position that moved without anything following from it, now and then, and
    /// removes the marks of erasures that it passed.
    async fn rest(&mut self) -> Result<Stepped, ConsumeError> {
        let is_old = self.clock.now().0 > self.written_at.0.saturating_add(IDLE_POSITION_MICROS);
        if is_old && self.is_ahead() {
            self.settle().await?;
        }
        Ok(Stepped::Idle)
    }

    /// Whether the position moved since it was written down.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.position > Place::START && self.written_bytes() != self.written
    }

    /// Writes the position down, if it moved.
    ///
    /// # Errors
    /// [`ConsumeError`].
    pub async fn settle(&mut self) -> Result<(), ConsumeError> {
        if self.is_ahead() {
            let marks = self
                .notes()?
                .scan(keys::all(tag::ERASED), None, ALL)
                .await?;
            let position = self.position;
            let passed = marks
                .into_iter()
                .filter(|(key, _)| Mark::of_key(key).is_none_or(|mark| mark.place <= position));
            let writes = passed.map(|(key, _)| (key, None)).collect();
            let batch = self.batch(writes, position);
            self.commit(batch, position).await?;
        }
        Ok(())
    }

    fn written_bytes(&self) -> Option<Vec<u8>> {
        Some(encode(&self.position.to_string()))
    }

    fn batch(&self, mut writes: Vec<Change>, to: Place) -> Batch {
        writes.push((keys::position(), Some(encode(&to.to_string()))));
        let batch = Batch::of(writes).on(self.duty);
        batch.expecting(keys::position(), self.written.clone())
    }

    /// Commits, and moves on if nobody was faster.
    async fn commit(&mut self, batch: Batch, to: Place) -> Result<bool, ConsumeError> {
        match self.notes()?.commit(batch).await {
            Ok(()) => {
                self.position = to;
                self.written = self.written_bytes();
                self.written_at = self.clock.now();
                Ok(true)
            }
            Err(CommitError::Conflict) => {
                // The position too may be another's by now.
                let written = self
                    .notes()?
                    .get(vec![keys::position()])
                    .await?
                    .pop()
                    .flatten();
                if written != self.written {
                    let text = decode_found::<String>(written.as_ref())?;
                    self.position = text.and_then(|text| text.parse().ok()).unwrap_or_default();
                    self.written = written;
                }
                Ok(false)
            }
            Err(CommitError::Displaced) => Err(ConsumeError::Displaced),
            Err(CommitError::Write(error)) => Err(error.into()),
        }
    }

    async fn fold(&mut self, events: &[Event]) -> Result<Stepped, ConsumeError> {
        let Some(to) = events.last().map(|last| last.place) else {
            return Ok(Stepped::Idle);
        };
        let ground = ground(self.notes()?, events, to).await?;
        let engine = Arc::clone(&self.engine);
        let settings = self.settings.clone();
        let owners = ground.owners.iter();
        let owners = owners.map(|(target, ownership)| (target.clone(), ownership.owner.clone()));
        let mut fold = Fold::new(
            engine.kinds(),
            &settings.notifications,
            owners.collect(),
            ground.erasures.clone(),
        );
        let notes = self.notes()?;
        hold(notes, engine.as_ref(), &mut fold, events).await?;
        events.iter().for_each(|event| fold.fold(event));
        let mut writes = Vec::new();
        for (owner, records) in fold.crowded() {
            let prefix = keys::of(tag::INDEX, &owner);
            let index = notes.scan(prefix, None, records).await?;
            let index: Vec<(Place, GroupKey)> = index
                .iter()
                .filter_map(|(key, value)| {
                    Some((
                        keys::place_of_index(key)?,
                        keys::group_of_index(&owner, value)?,
                    ))
                })
                .collect();
            writes.extend(fold.forget_oldest(&owner, &index));
        }
        writes.extend(fold.writes());
        let mut done = Done {
            events: events.len() as u64,
            tally: fold.tally(),
            ..Done::default()
        };
        let told = fold.told();
        let queued = told.len().saturating_mul(ground.endpoints.len());
        if queued > MAX_QUEUED_AT_ONCE && events.len() > 1 {
            return Box::pin(self.fold(&events[..events.len() / 2])).await;
        }
        writes.extend(self.deliveries(told, &ground, &mut done).await?);
        writes.extend(ground.passed.into_iter().map(|key| (key, None)));
        let is_old = self.clock.now().0 > self.written_at.0.saturating_add(IDLE_POSITION_MICROS);
        if writes.is_empty() && !is_old {
            self.position = to;
            return Ok(Stepped::Folded(done));
        }
        let batch = self
            .batch(writes, to)
            .expecting(keys::epoch(), ground.epoch);
        let batch = Batch {
            wakes: done.queued > 0,
            ..batch
        };
        match self.commit(batch, to).await? {
            true => Ok(Stepped::Folded(done)),
            false => Ok(Stepped::Overtaken),
        }
    }

    /// The deliveries that follow: into the queues where there is room, else to the dead letters.
    async fn deliveries(
        &mut self,
        told: &[Told],
        ground: &Ground,
        done: &mut Done,
    ) -> Result<Vec<Change>, ReadError> {
        let now = self.clock.now();
        let engine = Arc::clone(&self.engine);
        let Some(notes) = engine.notes() else {
            return Ok(Vec::new());
        };
        let (mut writes, mut dead) = (Vec::new(), Vec::new());
        for endpoint in &ground.endpoints {
            let mut queued = 0;
            for told in told.iter().filter(|told| endpoint.takes(&told.key)) {
                let ownership = ground.owners.get(&told.key.target);
                let delivery = Delivery::of(told, ownership, now);
                if self.has_room(notes, &endpoint.name, queued, now).await? {
                    writes.push(waiting(&endpoint.name, told.place, &delivery));
                    queued += 1;
                    done.queued += 1;
                } else {
                    done.overflowed += 1;
                    dead.push(DeadDelivery {
                        endpoint: endpoint.name.to_string(),
                        reason: format!(
                            "{} deliveries waited for it, which is the limit",
                            self.settings.webhooks.queue_max_deliveries
                        ),
                        at: now,
                        delivery,
                    });
                }
            }
        }
        let limits = &self.settings.webhooks;
        writes.extend(self.dead_letters.bury(notes, limits, &dead).await?);
        Ok(writes)
    }

    /// Takes a place in a queue, where this batch has taken some before. What leaves the queue is not seen here; it is counted again when
    /// the queue seems full.
    async fn has_room(
        &mut self,
        notes: &dyn Notes,
        endpoint: &CompactString,
        taken: usize,
        now: Rev,
    ) -> Result<bool, ReadError> {
        let most = self.settings.webhooks.queue_max_deliveries;
        let room = self.queues.entry(endpoint.clone()).or_default();
        if now < room.full_until {
            return Ok(false);
        }
        if room.at_most.is_none_or(|at_most| at_most >= most) {
            let waiting = notes
                .scan(keys::of(tag::QUEUE, endpoint), None, most)
                .await?;
            let waiting = waiting.len() + taken;
            room.at_most = Some(waiting);
            if waiting >= most {
                room.full_until = Rev(now.0 + FULL_QUEUE_MICROS);
                return Ok(false);
            }
        }
        room.at_most = room.at_most.map(|at_most| at_most + 1);
        Ok(true)
    }
}
