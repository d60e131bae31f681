//! A member of a group on a task of its own, for clients that are asynchronous. What differs from
//! bus to bus is its [`Source`]; what is held, delivered and counted is here, once.
//!
//! The member listens to its source at all times, also while its owner is busy with a batch: a bus
//! partition that goes away in that time goes at once, and what of it is out is not acknowledged any
//! more.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::select;
use tokio::sync::{mpsc, oneshot};

use crate::error::{ConsumeError, TopicAt};
use crate::held::Held;
use crate::limits::Limits;
use crate::orders::{Answer, DeadLetters, GroupConsumer, MAX_WAITING_CALLS, Order};
use crate::port::{Acknowledged, Consumer, Lag, Received, SeekTo};

/// How long one turn of a member may last that has nothing to do.
const IDLE: Duration = Duration::from_secs(60);

/// Where a member's events come from. It begins and ends the lines of what is held.
#[async_trait]
pub trait Source: Send + 'static {
    /// Takes up to `room` events into lines that are not held back. Where there are none, waits
    /// until something changed or `until`. Dropping it halfway loses nothing.
    async fn turn(&mut self, held: &mut Held, room: usize, until: Instant) -> Answer<()>;

    /// Tells the bus that these bus partitions are done up to these positions.
    async fn commit(
        &mut self,
        held: &mut Held,
        finished: &[(u32, u64)],
        deadline: Instant,
    ) -> Answer<()>;

    /// Moves the group, and begins the lines anew. False where there is none to be moved.
    async fn seek(&mut self, held: &mut Held, to: &SeekTo, deadline: Instant) -> Answer<bool>;

    /// How far behind the lines are.
    async fn lag(&mut self, held: &mut Held, deadline: Instant) -> Answer<Vec<Lag>>;
}

/// The lines that a seek moves, each with its position where the seek gives one.
#[cfg(any(feature = "pulsar", feature = "rocketmq"))]
pub fn moves(held: &Held, to: &SeekTo) -> Vec<(u32, Option<u64>)> {
    match to {
        SeekTo::Positions(given) => {
            let ours = given.iter().filter(|(line, _)| held.has(*line));
            ours.map(|(line, position)| (*line, Some(*position)))
                .collect()
        }
        _ => held.bus_partitions().map(|line| (line, None)).collect(),
    }
}

/// A member of a group.
struct Member<S> {
    source: S,
    held: Held,
    limits: Limits,
    group: String,
    at: TopicAt,
}

/// A consumer with its member on a task of its own. It leaves the group when it is dropped.
pub fn join<S: Source, D: DeadLetters + 'static>(
    source: S,
    dead_letters: D,
    limits: &Limits,
    group: &str,
    at: TopicAt,
) -> Box<dyn Consumer> {
    let member = Member::new(source, limits.clone(), group, at.clone());
    let (orders, queue) = mpsc::channel(MAX_WAITING_CALLS);
    // It ends when the sender of orders goes.
    tokio::spawn(member.run(queue));
    Box::new(GroupConsumer::new(orders, dead_letters, limits.clone(), at))
}

impl<S: Source> Member<S> {
    /// One that has nothing yet.
    fn new(source: S, limits: Limits, group: &str, at: TopicAt) -> Self {
        Self {
            source,
            held: Held::default(),
            limits,
            group: group.to_owned(),
            at,
        }
    }

    /// Lives until its owner is gone. The end of its source leaves the group.
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let until = Instant::now() + IDLE;
            select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                turned = self.source.turn(&mut self.held, 0, until) => {
                    if let Err(error) = turned {
                        tracing::warn!("{error}");
                    }
                }
            }
        }
    }

    /// Whoever waits for an answer may be gone; only received events have to go back then.
    async fn obey(&mut self, order: Order) {
        let deadline = Instant::now() + self.limits.question_time();
        match order {
            Order::Receive {
                max_events,
                until,
                mut reply,
            } => {
                let batch = self.receive(max_events, until, &mut reply).await;
                if let Err(Ok(batch)) = reply.send(batch) {
                    self.held.take_back(&batch, None);
                }
            }
            Order::Acknowledge { events, reply } => {
                let _ = reply.send(self.acknowledge(&events, deadline).await);
            }
            Order::Held(order) => order.carry_out(&mut self.held, &self.limits),
            Order::Seek { to, reply } => {
                let sought = self.source.seek(&mut self.held, &to, deadline).await;
                let nowhere = || ConsumeError::NoPartition {
                    at: self.at.clone(),
                    group: self.group.clone(),
                };
                let moved = |moved: bool| moved.then_some(()).ok_or_else(nowhere);
                let _ = reply.send(sought.and_then(moved));
            }
            Order::Lag { reply } => {
                let _ = reply.send(self.source.lag(&mut self.held, deadline).await);
            }
        }
    }

    async fn receive<T>(
        &mut self,
        max_events: usize,
        until: Instant,
        reply: &mut oneshot::Sender<T>,
    ) -> Answer<Vec<Received>> {
        let mut batch = Vec::new();
        loop {
            let now = Instant::now();
            batch.extend(self.held.deliver(max_events - batch.len(), now));
            if batch.len() == max_events || now >= until || reply.is_closed() {
                return Ok(batch);
            }
            let limit = self.limits.max_held_events;
            let held = self.held.events();
            let room = limit.saturating_sub(held);
            let due = self.held.next_due(now);
            if room == 0 && !batch.is_empty() {
                return Ok(batch);
            }
            if room == 0 && due.is_none() {
                return Err(ConsumeError::TooManyHeld { held, limit });
            }
            let wanted = room.min(max_events - batch.len());
            let until = due.map_or(until, |due| due.min(until));
            let turned = select! {
                turned = self.source.turn(&mut self.held, wanted, until) => turned,
                () = reply.closed() => Ok(()),
            };
            if let Err(error) = turned {
                // What was delivered so far is not lost: it goes back and comes with the next call.
                self.held.take_back(&batch, None);
                return Err(error);
            }
        }
    }

    async fn acknowledge(
        &mut self,
        events: &[Received],
        deadline: Instant,
    ) -> Answer<Acknowledged> {
        let acknowledged = self.held.finish(events);
        let finished = self.held.finished();
        if !finished.is_empty() {
            let committed = self.source.commit(&mut self.held, &finished, deadline);
            committed.await?;
            self.held.forget(&finished);
        }
        Ok(acknowledged)
    }
}

#[cfg(all(test, any(feature = "pulsar", feature = "rocketmq")))]
mod tests {
    use super::*;

    #[test]
    fn a_seek_moves_what_is_ours() {
        let mut held = Held::default();
        assert_eq!(moves(&held, &SeekTo::End), []);
        held.begin(1);
        held.begin(2);
        assert_eq!(moves(&held, &SeekTo::End), [(1, None), (2, None)]);
        let given = SeekTo::Positions(vec![(2, 7), (3, 8)]);
        assert_eq!(moves(&held, &given), [(2, Some(7))]);
    }
}
