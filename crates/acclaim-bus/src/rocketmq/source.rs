//! Where a member's events come from: the queues of the topic that it has locked.
//!
//! Every member tells the brokers that it lives and asks them who else does. Each works out by the
//! same rule which queues are whose (members by their names, queues by turns), lets go of what is
//! another's, and locks what is its own at the queue's broker. A queue is a member's bus partition
//! while it has the lock. Each beginning is a new line.
//!
//! A broker keeps a lock for a minute after it was last renewed, and says to nobody whose it is. So
//! that nobody waits so long for what a dead member had: who could not renew its locks for two
//! thirds of a session lets go by itself, and who is refused its queue for a whole one, while the
//! brokers answer, takes it without the lock. Nobody who lives has it then: whoever can still tell
//! the brokers so has seen us among the members, and let go.
//!
//! What waits for an answer runs on tasks of its own, and tells what came of it; a turn only listens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::try_join_all;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, timeout_at};

use super::client::Client;
use super::failure::Failure;
use super::lane::Lane;
use super::route::Queue;
use super::seat::{Seat, Wanted, Wish};
use crate::error::{ConsumeError, TopicAt};
use crate::held::Held;
use crate::limits::Limits;
use crate::member::{Source, moves};
use crate::orders::Answer;
use crate::persist::Passing;
use crate::port::{Lag, Received, SeekTo};

/// How often a member tells that it lives and looks who else does.
const TICK: Duration = Duration::from_millis(1_000);
/// The longest that a lock counts as ours without being renewed: brokers keep it for a minute, and
/// say so nowhere.
const MAX_LOCK_LIFE: Duration = Duration::from_secs(45);
/// The pause after a pull that failed.
const PULL_PAUSE: Duration = Duration::from_millis(200);
/// The most messages of one answer. Brokers give 32 unless they are told to give more.
const PULL_MESSAGES: usize = 256;

/// What came from a task.
enum Came {
    /// Who the members are.
    Members(Result<BTreeSet<String>, Failure>),
    /// What came of the wishes for queues, by line, and when they were asked for.
    Locked(Instant, Vec<(u32, Wish)>),
    /// Of which line in which term, and what came.
    Pulled(u32, u64, Result<(Vec<Received>, u64), Failure>),
}

/// The queues of a member.
pub struct RocketMqSource {
    seat: Arc<Seat>,
    at: TopicAt,
    lanes: Vec<Lane>,
    came: UnboundedReceiver<Came>,
    tell: UnboundedSender<Came>,
    tasks: JoinSet<()>,
    /// Said once, by the next turn.
    failed: Option<ConsumeError>,
}

impl RocketMqSource {
    /// Joins a group, which goes on in the background.
    pub fn new(
        client: Client,
        limits: &Limits,
        at: TopicAt,
        group: &str,
        queues: Vec<Queue>,
    ) -> Self {
        // What is bounded by the windows and one task a queue needs no bound of its own.
        let (tell, came) = unbounded_channel();
        let mut source = Self {
            seat: Arc::new(Seat::new(client, limits, &at.topic, group)),
            at,
            lanes: queues.into_iter().map(Lane::new).collect(),
            came,
            tell,
            tasks: JoinSet::new(),
            failed: None,
        };
        source.tick(Duration::ZERO);
        source
    }

    fn bus(&self, call: &'static str, why: impl ToString) -> ConsumeError {
        ConsumeError::Bus {
            at: self.at.clone(),
            call,
            why: why.to_string(),
        }
    }

    fn session(&self) -> Duration {
        Duration::from_millis(self.seat.limits.session_timeout_millis)
    }

    fn spawn(&mut self, task: impl Future<Output = Came> + Send + 'static) {
        let tell = self.tell.clone();
        self.tasks.spawn(async move { drop(tell.send(task.await)) });
        while self.tasks.try_join_next().is_some() {}
    }

    /// Asks who the members are, after a while or when a broker says that they changed. What comes
    /// of it ends with the next tick, so there is one at a time.
    fn tick(&mut self, after: Duration) {
        let seat = Arc::clone(&self.seat);
        let lanes = self.lanes.iter();
        let brokers: BTreeSet<_> = lanes.map(|lane| lane.queue.broker.clone()).collect();
        self.spawn(async move {
            // Either is a reason to look.
            let _ = timeout(after, seat.client.members_changed.notified()).await;
            Came::Members(seat.members(&brokers).await)
        });
    }

    /// Takes in what came.
    fn hear(&mut self, held: &mut Held, came: Came) {
        match came {
            Came::Members(Ok(members)) => self.share(held, &members),
            Came::Members(Err(failure)) => {
                self.lanes.iter_mut().for_each(Lane::forget_refusal);
                if !failure.may_pass() {
                    self.failed = Some(self.bus("receive", &failure));
                }
                tracing::debug!("{}: the members are not known: {failure}", self.at);
                self.tick(TICK);
            }
            Came::Locked(asked, wishes) => {
                self.take_over(held, asked, wishes);
                self.tick(TICK);
                self.pull();
            }
            Came::Pulled(line, term, pulled) => {
                self.take_in(line, term, pulled);
                self.pull();
            }
        }
    }

    /// Gives up what is another's, and begins to lock what is ours.
    fn share(&mut self, held: &mut Held, members: &BTreeSet<String>) {
        let ours = members.iter().position(|member| *member == self.seat.name);
        let count = members.len().max(1);
        let session = self.session();
        let (mut leave, mut want) = (Vec::new(), Vec::new());
        for (line, lane) in (0..).zip(&mut self.lanes) {
            if ours == Some(line as usize % count) {
                want.push(Wanted {
                    line,
                    queue: lane.queue.clone(),
                    ours: lane.is_ours(),
                    left: lane.is_left(session),
                });
            } else if lane.end() {
                held.end(line);
                leave.push(lane.queue.clone());
            }
        }
        let seat = Arc::clone(&self.seat);
        self.spawn(async move {
            let asked = Instant::now();
            Came::Locked(asked, seat.exchange(leave, want).await)
        });
    }

    /// Begins the lines that are locked now, and ends those that should be and are not.
    fn take_over(&mut self, held: &mut Held, asked: Instant, wishes: Vec<(u32, Wish)>) {
        for (line, wish) in wishes {
            let lane = &mut self.lanes[line as usize];
            match wish {
                Wish::Renewed => lane.renew(asked),
                Wish::Begins(next) => {
                    lane.begin(asked, next, false);
                    held.begin(line);
                }
                Wish::Left(next) => {
                    lane.begin(asked, next, true);
                    held.begin(line);
                }
                Wish::Refused => {
                    if lane.refuse(asked) {
                        held.end(line);
                    }
                }
                // What is ours stays so until that was said too long ago.
                Wish::Unclear(failure) => {
                    lane.forget_refusal();
                    tracing::debug!("{}: queue {line} is not locked: {failure}", self.at);
                }
            }
        }
    }

    fn take_in(&mut self, line: u32, term: u64, pulled: Result<(Vec<Received>, u64), Failure>) {
        let lane = &mut self.lanes[line as usize];
        if !lane.pulled(term) {
            return;
        }
        match pulled {
            Ok((received, next)) => lane.take_in(received, next),
            Err(failure) if failure.may_pass() => {
                tracing::debug!("{}: queue {line}: {failure}", self.at);
            }
            Err(failure) => self.failed = Some(self.bus("receive", &failure)),
        }
    }

    /// Has one pull under way for each queue of ours that has room.
    fn pull(&mut self) {
        let window = self.seat.limits.window();
        let bytes: usize = self.lanes.iter().map(Lane::bytes).sum();
        if bytes >= self.seat.limits.max_prefetch_bytes {
            return;
        }
        // Lanes are numbered by u32 on the outside, and there are no more.
        for line in 0..u32::try_from(self.lanes.len()).unwrap_or(u32::MAX) {
            let lane = &mut self.lanes[line as usize];
            let Some(ask) = lane.ask(window, PULL_MESSAGES) else {
                continue;
            };
            let (queue, seat) = (lane.queue.clone(), Arc::clone(&self.seat));
            self.spawn(async move {
                let pulled = seat.pull(line, &queue, ask.from, ask.count).await;
                if pulled.is_err() {
                    sleep(PULL_PAUSE).await;
                }
                Came::Pulled(line, ask.term, pulled)
            });
        }
    }

    /// Moves up to `room` events from the lanes to what is held, lines in turn.
    fn hold(&mut self, held: &mut Held, room: usize) -> usize {
        let held_back: Vec<u32> = held.held_back(Instant::now()).collect();
        let mut moved = 0;
        for (line, lane) in (0..).zip(&mut self.lanes) {
            if held.has(line) && !held_back.contains(&line) {
                for event in lane.take_out(room - moved) {
                    held.take(event);
                    moved += 1;
                }
            }
        }
        if moved > 0 {
            self.pull();
        }
        moved
    }

    /// Lets go of what was not renewed for too long.
    fn drop_stale(&mut self, held: &mut Held) {
        let life = MAX_LOCK_LIFE.min(self.session() * 2 / 3);
        for (line, lane) in (0..).zip(&mut self.lanes) {
            if lane.is_stale(life) {
                lane.end();
                held.end(line);
            }
        }
    }

    /// Waits for the next thing to come. Whether one did.
    async fn listen(&mut self, held: &mut Held, until: Instant) -> bool {
        loop {
            self.drop_stale(held);
            let now = Instant::now();
            // The sender is here too, so this never ends by itself.
            if let Ok(Some(came)) = timeout_at(until.min(now + TICK).into(), self.came.recv()).await
            {
                self.hear(held, came);
                while let Ok(came) = self.came.try_recv() {
                    self.hear(held, came);
                }
                return true;
            }
            if Instant::now() >= until {
                return false;
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

    fn queue(&self, line: u32) -> &Queue {
        // Lines are numbers of lanes.
        &self.lanes[line as usize].queue
    }
}

impl Drop for RocketMqSource {
    fn drop(&mut self) {
        // A lock may be under way, too. Those of others stay.
        let all: Vec<Queue> = self.lanes.iter().map(|lane| lane.queue.clone()).collect();
        let seat = Arc::clone(&self.seat);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move { seat.leave(&all).await });
    }
}

#[async_trait]
impl Source for RocketMqSource {
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
        _held: &mut Held,
        finished: &[(u32, u64)],
        deadline: Instant,
    ) -> Answer<()> {
        let update = finished.iter().map(|(line, position)| {
            let queue = self.queue(*line);
            self.seat.update(queue, position + 1, deadline)
        });
        let updated = try_join_all(update).await;
        updated.map_err(|failure| self.bus("acknowledge", &failure))?;
        Ok(())
    }

    async fn seek(&mut self, held: &mut Held, to: &SeekTo, deadline: Instant) -> Answer<bool> {
        let moves = self.moves(held, to, deadline).await;
        let seat = Arc::clone(&self.seat);
        let moving = moves.iter().map(|(line, given)| {
            let (seat, queue) = (&seat, self.queue(*line));
            async move {
                let next = seat.target(queue, to, *given, deadline).await?;
                seat.update(queue, next, deadline).await?;
                Ok((*line, next))
            }
        });
        let moved = try_join_all(moving).await;
        let moved = moved.map_err(|failure: Failure| self.bus("seek", &failure))?;
        for (line, next) in &moved {
            held.begin(*line);
            self.lanes[*line as usize].restart(*next);
        }
        self.pull();
        Ok(!moved.is_empty())
    }

    async fn lag(&mut self, held: &mut Held, deadline: Instant) -> Answer<Vec<Lag>> {
        while let Ok(came) = self.came.try_recv() {
            self.hear(held, came);
        }
        let lines: Vec<u32> = held.bus_partitions().collect();
        let seat = Arc::clone(&self.seat);
        let ask = lines.into_iter().map(|line| {
            let (seat, queue) = (&seat, self.queue(line));
            async move {
                let place = seat.place(queue, deadline).await?;
                let end = seat.end(queue, deadline).await?;
                Ok((line, end.saturating_sub(place)))
            }
        });
        let lags = try_join_all(ask).await;
        let lags = lags.map_err(|failure: Failure| self.bus("lag", &failure))?;
        Ok(lags
            .into_iter()
            .map(|(line, events)| held.lag(line, events))
            .collect())
    }
}
