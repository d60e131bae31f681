//! Where a member's events come from: a consumer on each partition of the topic.
//!
//! Every member of a group has a consumer on every partition, and the broker says which one of them
//! is active (a Failover subscription). It sorts them by name and shares the partitions out by
//! turns. A partition is a member's bus partition while its consumer there is active; what the
//! others sent before is not told from what is new, so each beginning is a new line.
//!
//! A consumer whose connection breaks, or that the broker closes (it does so to all of a group that
//! is moved, and when a topic goes to another broker), joins again. What it has stays its own until
//! the broker says that it is not active: then somebody else has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::try_join_all;
use pulsar::message::Payload;
use pulsar::message::proto::CommandMessage;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use super::batch;
use super::client::{Client, partition_topic};
use super::command;
use super::connection::Told;
use super::failure::Failure;
use super::link::Link;
use super::place::Entry;
use super::seat::Seat;
use crate::error::{ConsumeError, TopicAt};
use crate::held::Held;
use crate::limits::Limits;
use crate::member::{Source, moves};
use crate::orders::Answer;
use crate::persist::Passing;
use crate::port::{Lag, Received, SeekTo};

/// The waits before a consumer joins again: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_millis(1_000);

/// What came for a seat.
enum Came {
    Joined(Link),
    Missed(Failure),
    Told(Told),
}

/// The consumers of a member.
pub struct PulsarSource {
    client: Arc<Client>,
    limits: Limits,
    at: TopicAt,
    group: String,
    /// What the broker sorts by.
    name: String,
    seats: Vec<Seat>,
    came: UnboundedReceiver<(u32, u64, Came)>,
    tell: UnboundedSender<(u32, u64, Came)>,
    joining: JoinSet<()>,
    /// Said once, by the next turn.
    failed: Option<ConsumeError>,
}

impl PulsarSource {
    /// Joins on every partition, which goes on in the background.
    pub fn new(client: Client, limits: &Limits, at: TopicAt, group: &str, partitions: u32) -> Self {
        // What is bounded by the window and the number of commands needs no bound of its own.
        let (tell, came) = unbounded_channel();
        let mut source = Self {
            client: Arc::new(client),
            limits: limits.clone(),
            at,
            group: group.to_owned(),
            name: format!("acclaim-{:032x}", rand::random::<u128>()),
            seats: (0..partitions).map(|_| Seat::default()).collect(),
            came,
            tell,
            joining: JoinSet::new(),
            failed: None,
        };
        for line in 0..partitions {
            source.join(line, Duration::ZERO);
        }
        source
    }

    fn bus(&self, call: &'static str, why: impl ToString) -> ConsumeError {
        ConsumeError::Bus {
            at: self.at.clone(),
            call,
            why: why.to_string(),
        }
    }

    fn seat(&mut self, line: u32) -> &mut Seat {
        // Lines are numbers of seats.
        &mut self.seats[line as usize]
    }

    fn link(&self, line: u32) -> Option<&Link> {
        self.seats.get(line as usize)?.link.as_ref()
    }

    /// Begins to join. What an earlier consumer had queued comes again.
    fn join(&mut self, line: u32, pause: Duration) {
        let seat = self.seat(line);
        seat.term += 1;
        seat.window.begin();
        seat.queue.clear();
        if let Some(link) = seat.link.take() {
            link.close();
        }
        let term = seat.term;
        let topic = partition_topic(&self.at.topic, line);
        let (group, name) = (self.group.clone(), self.name.clone());
        let (client, tell) = (Arc::clone(&self.client), self.tell.clone());
        let limit = self.limits.call_timeout();
        self.joining.spawn(async move {
            sleep(pause).await;
            let listener = tell.clone();
            let listener =
                Box::new(move |told| drop(listener.send((line, term, Came::Told(told)))));
            let deadline = Instant::now() + limit;
            let joined = Link::join(&client, &topic, (&group, &name), listener, deadline);
            let came = match joined.await {
                Ok(link) => Came::Joined(link),
                Err(failure) => Came::Missed(failure),
            };
            let _ = tell.send((line, term, came));
        });
        while self.joining.try_join_next().is_some() {}
    }

    /// Takes in what came.
    fn hear(&mut self, held: &mut Held, (line, term, came): (u32, u64, Came)) {
        if self.seat(line).term != term {
            if let Came::Joined(link) = came {
                link.close();
            }
            return;
        }
        match came {
            Came::Joined(link) => {
                let seat = self.seat(line);
                seat.link = Some(link);
                seat.missed = 0;
                self.ask_for_more();
            }
            Came::Missed(failure) => {
                let missed = self.seat(line).missed;
                self.seat(line).missed = missed.saturating_add(1);
                if !failure.may_pass() {
                    self.failed = Some(self.bus("receive", &failure));
                }
                tracing::debug!("{}: partition {line} not joined: {failure}", self.at);
                self.join(
                    line,
                    PAUSE.saturating_mul(1 << missed.min(10)).min(MAX_PAUSE),
                );
            }
            Came::Told(Told::Delivered(delivered)) => {
                let (message, payload) = *delivered;
                self.take_in(line, &message, payload);
            }
            Came::Told(Told::Active(true)) => {
                if !held.has(line) {
                    held.begin(line);
                }
            }
            Came::Told(Told::Active(false)) => {
                held.end(line);
                self.seat(line).reset(None);
            }
            Came::Told(Told::Closed | Told::Broken(_)) => self.join(line, PAUSE),
            Came::Told(Told::Stored(_) | Told::NotStored(..)) => {}
        }
    }

    fn take_in(&mut self, line: u32, message: &CommandMessage, payload: Payload) {
        let cost = batch::cost(&payload);
        let Some((size, events)) = batch::read(line, message, payload) else {
            let id = &message.message_id;
            let why = format!(
                "partition {line}: message {}:{} stands where no position leads",
                id.ledger_id, id.entry_id
            );
            self.failed = Some(self.bus("receive", why));
            return;
        };
        let seat = self.seat(line);
        seat.window.take_in(cost, size);
        let newest = seat.newest();
        let is_new = |event: &Received| newest.is_none_or(|newest| newest < event.position);
        if size > 1 {
            seat.sizes.insert(Entry::of(&message.message_id), size);
        }
        seat.queue.extend(events.into_iter().filter(is_new));
        self.ask_for_more();
    }

    /// Lets the brokers send so many messages that the windows are full, while there is room.
    fn ask_for_more(&mut self) {
        let queues = self.seats.iter().flat_map(|seat| &seat.queue);
        let bytes: usize = queues.map(|event| event.payload.len()).sum();
        if bytes >= self.limits.max_prefetch_bytes {
            return;
        }
        let window = self.limits.window();
        for seat in &mut self.seats {
            let Some(link) = &seat.link else {
                continue;
            };
            while let Some(permits) = seat.window.ask(window, seat.queue.len()) {
                link.connection.say(command::flow(link.consumer, permits));
            }
        }
    }

    /// Moves up to `room` events from the queues to what is held, lines in turn.
    fn hold(&mut self, held: &mut Held, room: usize) -> usize {
        let held_back: Vec<u32> = held.held_back(Instant::now()).collect();
        let mut moved = 0;
        for (line, seat) in (0..).zip(&mut self.seats) {
            if !held.has(line) || held_back.contains(&line) {
                continue;
            }
            let count = seat.queue.len().min(room - moved);
            for event in seat.queue.drain(..count) {
                seat.last_held = Some(event.position);
                held.take(event);
            }
            moved += count;
        }
        if moved > 0 {
            self.ask_for_more();
        }
        moved
    }

    /// Waits for the next thing to come. Whether one did.
    async fn listen(&mut self, held: &mut Held, until: Instant) -> bool {
        // The sender is here too, so this never ends by itself.
        let Ok(Some(came)) = timeout_at(until.into(), self.came.recv()).await else {
            return false;
        };
        self.hear(held, came);
        while let Ok(came) = self.came.try_recv() {
            self.hear(held, came);
        }
        true
    }

    /// The consumers of lines, once all of them have joined.
    async fn links(
        &mut self,
        call: &'static str,
        held: &mut Held,
        lines: &[u32],
        deadline: Instant,
    ) -> Answer<Vec<(u32, Link)>> {
        loop {
            let links = lines
                .iter()
                .map(|line| Some((*line, self.link(*line)?.clone())));
            if let Some(links) = links.collect() {
                return Ok(links);
            }
            if !self.listen(held, deadline).await {
                return Err(self.bus(call, "some partitions are not connected"));
            }
        }
    }

    /// The lines that a seek moves, with where to; waits until there are some.
    async fn moves(
        &mut self,
        held: &mut Held,
        to: &SeekTo,
        deadline: Instant,
    ) -> Vec<(u32, Option<u64>)> {
        loop {
            let moves = moves(held, to);
            if !moves.is_empty() || !self.listen(held, deadline).await {
                return moves;
            }
        }
    }
}

#[async_trait]
impl Source for PulsarSource {
    async fn turn(&mut self, held: &mut Held, room: usize, until: Instant) -> Answer<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.hold(held, room) == 0 {
            self.listen(held, until).await;
        }
        Ok(())
    }

    async fn commit(
        &mut self,
        held: &mut Held,
        finished: &[(u32, u64)],
        deadline: Instant,
    ) -> Answer<()> {
        let call = "acknowledge";
        let lines: Vec<u32> = finished.iter().map(|(line, _)| *line).collect();
        let links = self.links(call, held, &lines, deadline).await?;
        let acknowledge = |((line, link), (_, position)): ((u32, Link), &(u32, u64))| {
            let id = self.seats[line as usize].done(*position);
            let Link {
                connection,
                consumer,
            } = link;
            async move {
                let ask = |number| command::acknowledge(consumer, id, number);
                connection.request(deadline, ask).await
            }
        };
        let answers = try_join_all(links.into_iter().zip(finished).map(acknowledge)).await;
        answers.map_err(|failure| self.bus(call, &failure))?;
        for (line, position) in finished {
            let (entry, _) = Entry::at(*position);
            let seat = self.seat(*line);
            seat.sizes = seat.sizes.split_off(&entry);
        }
        Ok(())
    }

    async fn seek(&mut self, held: &mut Held, to: &SeekTo, deadline: Instant) -> Answer<bool> {
        let call = "seek";
        let moves = self.moves(held, to, deadline).await;
        if moves.is_empty() {
            return Ok(false);
        }
        let lines: Vec<u32> = moves.iter().map(|(line, _)| *line).collect();
        let links = self.links(call, held, &lines, deadline).await?;
        let seek = |((_, link), (_, position)): ((u32, Link), &(u32, Option<u64>))| {
            let position = *position;
            async move { link.seek(to, position, deadline).await }
        };
        let answers = try_join_all(links.into_iter().zip(&moves).map(seek)).await;
        answers.map_err(|failure| self.bus(call, &failure))?;
        for (line, position) in moves {
            held.begin(line);
            self.seat(line)
                .reset(position.and_then(|position| position.checked_sub(1)));
            // The broker has closed the consumers of the group on this partition.
            self.join(line, Duration::ZERO);
        }
        Ok(true)
    }

    async fn lag(&mut self, held: &mut Held, deadline: Instant) -> Answer<Vec<Lag>> {
        let call = "lag";
        while let Ok(came) = self.came.try_recv() {
            self.hear(held, came);
        }
        let lines: Vec<u32> = held.bus_partitions().collect();
        let links = self.links(call, held, &lines, deadline).await?;
        let ask = |(line, link): (u32, Link)| async move {
            let ask = |number| command::stats(link.consumer, number);
            let answer = link.connection.request(deadline, ask).await?;
            let stats = answer.consumer_stats_response;
            Ok((line, stats.and_then(|stats| stats.msg_backlog).unwrap_or(0)))
        };
        let backlogs = try_join_all(links.into_iter().map(ask)).await;
        let backlogs = backlogs.map_err(|failure: Failure| self.bus(call, &failure))?;
        let mut lags = Vec::new();
        for (line, entries) in backlogs {
            let seat = &self.seats[line as usize];
            let queued = seat.queue.iter().map(|event| event.position);
            let mut here: Vec<_> = held.positions(line).chain(queued).collect();
            let events = here.len() as u64;
            here.dedup_by_key(|position| Entry::at(*position).0);
            // The broker counts entries. Those that did not come yet are taken to be as the others.
            let elsewhere = entries.saturating_sub(here.len() as u64);
            let lag = held.lag(line, events + seat.window.messages_in(elsewhere));
            lags.push(lag);
        }
        Ok(lags)
    }
}
