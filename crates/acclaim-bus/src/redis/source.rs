//! Where a member's events come from: the bus partitions that are its own, read all at once.
//!
//! Two things go on beside it, each on a task that tells how it ended: the upkeep of [`super::tend`]
//! in rounds, and one question to read at a time. So the source itself never waits for anything but
//! its ears, and dropping it in the middle loses nothing.
//!
//! A line begins when its lease was taken, and ends before it is given back. Its fence changes when
//! the group is moved.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::future::join_all;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::timeout_at;

use super::client::Client;
use super::failure::Failure;
use super::line::{Line, share};
use super::read::{self, Question};
use super::tend::{Aim, Errand, Tended, Who};
use crate::error::{ConsumeError, TopicAt};
use crate::held::Held;
use crate::limits::Limits;
use crate::member::Source;
use crate::orders::Answer;
use crate::persist::Passing;
use crate::port::{Lag, SeekTo};

/// The longest time between two signs of life: how soon who comes is noticed.
const TEND_INTERVAL: Duration = Duration::from_millis(500);
/// Signs of life, and renewals of leases, in the time after which a member is taken for dead.
const SIGNS_A_SESSION: u32 = 4;
/// How often what another one is to give back is asked for.
const CLAIM_PAUSE: Duration = Duration::from_millis(200);
/// How long the server is to wait for events.
const BLOCK: Duration = Duration::from_millis(1_000);
/// The same while some bus partitions are not asked for, since enough of them was read.
const SHORT_BLOCK: Duration = Duration::from_millis(20);

/// What came to the ears.
enum Came {
    Tended(Tended),
    /// To a question of this term.
    Read(u64, Result<read::Answer, Failure>),
}

/// The bus partitions of a member.
pub struct RedisSource {
    who: Who,
    limits: Limits,
    at: TopicAt,
    bus_partitions: u32,
    lines: BTreeMap<u32, Line>,
    members: Vec<String>,
    came: UnboundedReceiver<Came>,
    tell: UnboundedSender<Came>,
    is_tending: bool,
    tend_at: Instant,
    renew_at: Instant,
    reading: Option<AbortHandle>,
    /// Which question is asked; the answers to earlier ones are thrown away.
    term: u64,
    connection: Option<MultiplexedConnection>,
    read_at: Instant,
    failed_reads: u32,
    /// Said once, by the next turn.
    failed: Option<ConsumeError>,
    /// What was gone before it was read; said once, to who receives.
    gone: VecDeque<ConsumeError>,
}

impl RedisSource {
    /// Joins the group, which goes on in the background.
    pub fn new(client: Client, limits: &Limits, at: TopicAt, group: &str, lines: u32) -> Self {
        // Two tasks at most tell something, each once.
        let (tell, came) = unbounded_channel();
        // A clock before 1970 is none. Who comes later has a later name, and takes from the others.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let name = format!("{:016}-{:032x}", now.as_millis(), rand::random::<u128>());
        let start = Instant::now();
        Self {
            who: Who {
                client: Arc::new(client),
                topic: at.topic.clone(),
                group: group.to_owned(),
                name,
            },
            limits: limits.clone(),
            at,
            bus_partitions: lines,
            lines: BTreeMap::new(),
            members: Vec::new(),
            came,
            tell,
            is_tending: false,
            tend_at: start,
            renew_at: start,
            reading: None,
            term: 0,
            connection: None,
            read_at: start,
            failed_reads: 0,
            failed: None,
            gone: VecDeque::new(),
        }
    }

    fn bus(&self, call: &'static str, why: impl ToString) -> ConsumeError {
        ConsumeError::Bus {
            at: self.at.clone(),
            call,
            why: why.to_string(),
        }
    }

    fn fences(&self) -> Vec<(u32, String)> {
        let lines = self.lines.iter();
        lines
            .map(|(at, line)| (*at, line.fence().to_owned()))
            .collect()
    }

    fn sign_interval(&self) -> Duration {
        let part = self.who.client.session() / SIGNS_A_SESSION;
        part.clamp(Duration::from_millis(1), TEND_INTERVAL)
    }

    fn begin(&mut self, held: &mut Held, at: u32, line: Line) {
        self.lines.insert(at, line);
        held.begin(at);
        // The question that is asked does not ask for it, or asks for something else of it.
        self.stop_reading();
    }

    fn end(&mut self, held: &mut Held, at: u32) -> Option<Line> {
        held.end(at);
        self.lines.remove(&at)
    }

    /// Begins a round of upkeep when it is time. What is not to be ours any more ends before others
    /// may have it.
    fn tend(&mut self, held: &mut Held) {
        let now = Instant::now();
        if self.is_tending || now < self.tend_at {
            return;
        }
        let wanted = share(&self.members, &self.who.name, self.bus_partitions);
        let mut errand = Errand::default();
        for (at, fence) in self.fences() {
            // Before anybody is known, nothing is said about what is ours.
            if !self.members.is_empty() && !wanted.contains(&at) {
                self.end(held, at);
                errand.release.push((at, fence));
            } else if now >= self.renew_at {
                errand.renew.push((at, fence));
            }
        }
        if now >= self.renew_at {
            self.renew_at = now + self.who.client.session() / SIGNS_A_SESSION;
        }
        errand.claim = wanted;
        errand.claim.retain(|at| !self.lines.contains_key(at));
        self.is_tending = true;
        let (who, tell) = (self.who.clone(), self.tell.clone());
        tokio::spawn(async move {
            let _ = tell.send(Came::Tended(who.tend(errand).await));
        });
    }

    fn hear_tended(&mut self, held: &mut Held, tended: Tended) {
        self.is_tending = false;
        let now = Instant::now();
        for (at, fence) in tended.lost {
            if self
                .lines
                .get(&at)
                .is_some_and(|line| line.fence() == fence)
            {
                self.end(held, at);
            }
        }
        for (at, standing) in tended.claimed {
            self.begin(held, at, Line::new(standing));
        }
        self.members = match tended.members {
            Ok(members) => members,
            Err(failure) => {
                tracing::debug!("{}: no sign of life: {failure}", self.at);
                if !failure.may_pass() {
                    self.failed = Some(self.bus("receive", &failure));
                }
                self.tend_at = now + CLAIM_PAUSE;
                // Whatever was to be kept is seen to again.
                self.renew_at = now;
                return;
            }
        };
        let wanted = share(&self.members, &self.who.name, self.bus_partitions);
        let mut missing = wanted.iter().filter(|at| !self.lines.contains_key(at));
        let is_new = missing.clone().any(|at| !tended.tried.contains(at));
        let has_more = self.lines.keys().any(|at| !wanted.contains(at));
        self.tend_at = match missing.next() {
            _ if is_new || has_more => now,
            Some(_) => now + CLAIM_PAUSE,
            None => now + self.sign_interval(),
        };
    }

    /// Asks for more, when there is room for it and nothing is asked.
    fn read(&mut self) {
        if self.reading.is_some() || self.lines.is_empty() || Instant::now() < self.read_at {
            return;
        }
        let queues = self.lines.values().flat_map(Line::queue);
        let bytes: usize = queues.map(|event| event.payload.len()).sum();
        let room = self.limits.max_prefetch_bytes.saturating_sub(bytes);
        let window = self.limits.window();
        let open = self.lines.iter();
        let open = open.filter(|(_, line)| line.queue().len() < window);
        let lines: Vec<_> = open.map(|(at, line)| (*at, line.after())).collect();
        if lines.is_empty() || (room == 0 && bytes > 0) {
            return;
        }
        let longest = self.limits.max_event_bytes.max(1);
        let question = Question {
            topic: self.at.topic.clone(),
            count: (room / longest / lines.len()).clamp(1, window),
            block: match lines.len() == self.lines.len() {
                true => BLOCK,
                false => SHORT_BLOCK,
            },
            lines,
        };
        let (client, tell, term) = (Arc::clone(&self.who.client), self.tell.clone(), self.term);
        let connection = self.connection.take();
        let asking = tokio::spawn(async move {
            let read = question.ask(&client, connection).await;
            let _ = tell.send(Came::Read(term, read));
        });
        self.reading = Some(asking.abort_handle());
    }

    /// Gives up the question that is asked, and its connection, on which the server may wait.
    fn stop_reading(&mut self) {
        self.term += 1;
        if let Some(reading) = self.reading.take() {
            reading.abort();
        }
    }

    fn hear_read(&mut self, read: Result<read::Answer, Failure>) {
        self.reading = None;
        let answer = match read {
            Ok(answer) => answer,
            Err(failure) => {
                tracing::debug!("{}: nothing read: {failure}", self.at);
                if !failure.may_pass() {
                    self.failed = Some(self.bus("receive", &failure));
                }
                self.read_at = read::rest(self.failed_reads);
                self.failed_reads = self.failed_reads.saturating_add(1);
                return;
            }
        };
        self.connection = Some(answer.connection);
        self.failed_reads = 0;
        for entry in answer.entries {
            let bus_partition = entry.event.bus_partition;
            let Some(line) = self.lines.get_mut(&bus_partition) else {
                continue;
            };
            if let Some(gap) = line.take_in(entry) {
                let gone = ConsumeError::Gone {
                    at: self.at.clone(),
                    bus_partition,
                    events: gap.events,
                    before: gap.before,
                };
                tracing::error!(group = self.who.group, "{gone}");
                self.gone.push_back(gone);
            }
        }
    }

    fn hear(&mut self, held: &mut Held, came: Came) {
        match came {
            Came::Tended(tended) => self.hear_tended(held, tended),
            Came::Read(term, read) if term == self.term => self.hear_read(read),
            Came::Read(..) => {}
        }
    }

    /// Moves up to `room` events from the queues to what is held, lines in turn.
    fn hold(&mut self, held: &mut Held, room: usize) -> usize {
        let held_back: Vec<u32> = held.held_back(Instant::now()).collect();
        let mut moved = 0;
        for (at, line) in &mut self.lines {
            if held_back.contains(at) {
                continue;
            }
            for event in line.hand_on(room - moved) {
                held.take(event);
                moved += 1;
            }
        }
        moved
    }

    /// Does what is due, and waits for the next thing to come until `until` at most.
    async fn listen(&mut self, held: &mut Held, until: Instant) {
        self.tend(held);
        self.read();
        let mut until = until;
        if !self.is_tending {
            until = until.min(self.tend_at);
        }
        if self.reading.is_none() && self.read_at > Instant::now() {
            until = until.min(self.read_at);
        }
        // The sender is here too, so this never ends by itself.
        let Ok(Some(came)) = timeout_at(until.into(), self.came.recv()).await else {
            return;
        };
        self.hear(held, came);
        while let Ok(came) = self.came.try_recv() {
            self.hear(held, came);
        }
    }

    /// The lines that a seek moves, with where to; waits until there are some.
    async fn moves(&mut self, held: &mut Held, to: &SeekTo, deadline: Instant) -> Vec<(u32, Aim)> {
        loop {
            let aim = match to {
                SeekTo::Beginning => Aim::Begin,
                SeekTo::End => Aim::End,
                SeekTo::Time(millis) => {
                    Aim::Behind(super::place::of_time(*millis).saturating_sub(1))
                }
                SeekTo::Positions(_) => Aim::Begin,
            };
            let moves: Vec<_> = match to {
                SeekTo::Positions(given) => {
                    let ours = given.iter().filter(|(at, _)| self.lines.contains_key(at));
                    let behind = |position: u64| Aim::Behind(position.saturating_sub(1));
                    ours.map(|(at, position)| (*at, behind(*position)))
                        .collect()
                }
                _ => self.lines.keys().map(|at| (*at, aim)).collect(),
            };
            if !moves.is_empty() || Instant::now() >= deadline {
                return moves;
            }
            self.listen(held, deadline).await;
        }
    }
}

#[async_trait]
impl Source for RedisSource {
    async fn turn(&mut self, held: &mut Held, room: usize, until: Instant) -> Answer<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if room > 0
            && let Some(gone) = self.gone.pop_front()
        {
            return Err(gone);
        }
        if self.hold(held, room) == 0 {
            self.listen(held, until).await;
        } else {
            self.tend(held);
            self.read();
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
        let commits = finished.iter().filter_map(|(at, position)| {
            let line = self.lines.get(at)?;
            let (fence, read) = (line.fence(), line.read_up_to(*position));
            let commit = self.who.commit(*at, fence, *position, read, deadline);
            Some(async move { (*at, *position, commit.await) })
        });
        let commits = join_all(commits).await;
        let mut outcome = Ok(());
        for (at, position, committed) in commits {
            match committed {
                Ok(true) => {
                    held.forget(&[(at, position)]);
                    if let Some(line) = self.lines.get_mut(&at) {
                        line.acknowledged(position);
                    }
                }
                Ok(false) => {
                    self.end(held, at);
                    let why = format!("bus partition {at} went to another consumer of the group");
                    outcome = Err(self.bus(call, why));
                }
                Err(failure) => outcome = Err(self.bus(call, &failure)),
            }
        }
        outcome
    }

    async fn seek(&mut self, held: &mut Held, to: &SeekTo, deadline: Instant) -> Answer<bool> {
        let call = "seek";
        let moves = self.moves(held, to, deadline).await;
        if moves.is_empty() {
            return Ok(false);
        }
        let seeks = moves.iter().filter_map(|(at, aim)| {
            let fence = self.lines.get(at)?.fence();
            let seek = self.who.seek(*at, fence, *aim, deadline);
            Some(async move { (*at, seek.await) })
        });
        let mut outcome = Ok(true);
        for (at, sought) in join_all(seeks).await {
            match sought {
                Ok(Some(standing)) => self.begin(held, at, Line::new(standing)),
                Ok(None) => {
                    self.end(held, at);
                    let why = format!("bus partition {at} went to another consumer of the group");
                    outcome = Err(self.bus(call, why));
                }
                Err(failure) => outcome = Err(self.bus(call, &failure)),
            }
        }
        outcome
    }

    async fn lag(&mut self, held: &mut Held, deadline: Instant) -> Answer<Vec<Lag>> {
        while let Ok(came) = self.came.try_recv() {
            self.hear(held, came);
        }
        let lags = self.lines.keys().map(|at| async {
            let lag = self.who.lag(*at, deadline).await;
            (*at, lag)
        });
        let mut all = Vec::new();
        for (bus_partition, lag) in join_all(lags).await {
            let (events, millis) = lag.map_err(|failure| self.bus("lag", &failure))?;
            all.push(Lag {
                bus_partition,
                events,
                oldest_millis: Some(if events == 0 { 0 } else { millis }),
            });
        }
        Ok(all)
    }
}

impl Drop for RedisSource {
    /// Leaves the group, so that the others need not wait until its leases run out.
    fn drop(&mut self) {
        self.stop_reading();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (who, mut fences) = (self.who.clone(), self.fences());
        let is_tending = self.is_tending;
        let (_, nothing) = unbounded_channel();
        let mut came = std::mem::replace(&mut self.came, nothing);
        runtime.spawn(async move {
            let deadline = who.client.deadline();
            // What a round that is under way takes is given back, too.
            while is_tending && let Ok(Some(came)) = timeout_at(deadline.into(), came.recv()).await
            {
                if let Came::Tended(tended) = came {
                    let claimed = tended.claimed.into_iter();
                    fences.extend(claimed.map(|(at, standing)| (at, standing.fence)));
                    break;
                }
            }
            who.leave(&fences).await;
        });
    }
}
