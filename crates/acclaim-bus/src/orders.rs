//! A consumer as its owner sees it, the same for every bus: the ends of the calls, and the dead
//! letters. What is a member of the group stands behind it, on a thread or a task of its own, and is
//! given [`Order`]s; so a call that hangs or is dropped halfway harms nobody but its caller.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::error::{ConsumeError, PublishError, TopicAt};
use crate::held::{Held, Returned};
use crate::limits::{Limits, MAX_BATCH_EVENTS, MAX_BATCH_WAIT_MILLIS};
use crate::port::{Acknowledged, Consumer, GivenBack, Lag, Received, SeekTo};

/// Calls that may wait for the member. More than one do only where calls were given up.
pub const MAX_WAITING_CALLS: usize = 16;

/// The answer to an order.
pub type Answer<T> = Result<T, ConsumeError>;

/// What the owner wants.
pub enum Order {
    Receive {
        max_events: usize,
        until: Instant,
        reply: oneshot::Sender<Answer<Vec<Received>>>,
    },
    Acknowledge {
        events: Vec<Received>,
        reply: oneshot::Sender<Answer<Acknowledged>>,
    },
    /// What concerns only what the member holds.
    Held(HeldOrder),
    Seek {
        to: SeekTo,
        reply: oneshot::Sender<Answer<()>>,
    },
    Lag {
        reply: oneshot::Sender<Answer<Vec<Lag>>>,
    },
}

/// What the owner wants of what the member holds. The bus is not asked.
pub enum HeldOrder {
    GiveBack {
        events: Vec<Received>,
        reply: oneshot::Sender<Answer<Returned>>,
    },
    /// They could not be buried.
    TakeBack {
        events: Vec<Received>,
        reply: oneshot::Sender<Answer<()>>,
    },
}

impl HeldOrder {
    /// Carries it out. Whoever waits for the answer may be gone.
    pub fn carry_out(self, held: &mut Held, limits: &Limits) {
        let now = Instant::now();
        match self {
            Self::GiveBack { events, reply } => {
                let until = |tries| now + limits.backoff(tries);
                let returned = held.give_back(&events, limits.max_tries, until);
                let _ = reply.send(Ok(returned));
            }
            Self::TakeBack { events, reply } => {
                held.take_back(&events, Some(now + limits.backoff(limits.max_tries)));
                let _ = reply.send(Ok(()));
            }
        }
    }
}

/// Why a member takes no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many wait as may.
    Full,
    /// It has ended.
    Gone,
}

/// The way to a member. Its end is the end of the member.
pub trait Orders: Send + Sync {
    /// Gives an order.
    fn give(&self, order: Order) -> Result<(), Refused>;
}

impl Orders for SyncSender<Order> {
    fn give(&self, order: Order) -> Result<(), Refused> {
        self.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Full,
            TrySendError::Disconnected(_) => Refused::Gone,
        })
    }
}

impl Orders for mpsc::Sender<Order> {
    fn give(&self, order: Order) -> Result<(), Refused> {
        self.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Full,
            mpsc::error::TrySendError::Closed(_) => Refused::Gone,
        })
    }
}

/// Where dead letters are written.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Writes events as they are, with the reason and where they stood.
    async fn write(
        &self,
        events: &[Received],
        reason: &str,
        from: &TopicAt,
    ) -> Result<(), PublishError>;
}

/// The property of a dead letter that says why it is one.
pub const REASON: &str = "acclaim-reason";
/// The property of a dead letter that says where it comes from.
pub const ORIGIN: &str = "acclaim-origin";

/// Topic, bus partition and position.
pub fn origin(event: &Received, from: &TopicAt) -> String {
    format!("{} {} {}", from.topic, event.bus_partition, event.position)
}

/// One of a group.
pub struct GroupConsumer<O, D> {
    orders: O,
    dead_letters: D,
    limits: Limits,
    at: TopicAt,
}

impl<O: Orders, D: DeadLetters> GroupConsumer<O, D> {
    /// One whose member is there.
    pub fn new(orders: O, dead_letters: D, limits: Limits, at: TopicAt) -> Self {
        Self {
            orders,
            dead_letters,
            limits,
            at,
        }
    }

    async fn call<T>(
        &self,
        call: &'static str,
        wait: Duration,
        order: impl FnOnce(oneshot::Sender<Answer<T>>) -> Order,
    ) -> Answer<T> {
        let limit = wait + self.limits.call_timeout();
        let (reply, answer) = oneshot::channel();
        let ended = |why: &str| ConsumeError::Bus {
            at: self.at.clone(),
            call,
            why: why.to_owned(),
        };
        match self.orders.give(order(reply)) {
            Ok(()) => {}
            Err(Refused::Full) => {
                return Err(ended("calls that were given up are still under way"));
            }
            Err(Refused::Gone) => return Err(ended("the consumer has ended")),
        }
        match timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_gone)) => Err(ended("the consumer has ended")),
            Err(_elapsed) => Err(ConsumeError::Timeout {
                at: self.at.clone(),
                call,
                // It was made from milliseconds that fit.
                after_millis: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }
}

#[async_trait]
impl<O: Orders, D: DeadLetters> Consumer for GroupConsumer<O, D> {
    async fn receive(
        &mut self,
        max_events: usize,
        max_wait: Duration,
    ) -> Result<Vec<Received>, ConsumeError> {
        if !(1..=MAX_BATCH_EVENTS).contains(&max_events) {
            return Err(ConsumeError::BatchEvents { given: max_events });
        }
        if max_wait > Duration::from_millis(MAX_BATCH_WAIT_MILLIS) {
            let given_millis = max_wait.as_millis();
            return Err(ConsumeError::BatchWait { given_millis });
        }
        let until = Instant::now() + max_wait;
        let order = |reply| Order::Receive {
            max_events,
            until,
            reply,
        };
        self.call("receive", max_wait, order).await
    }

    async fn acknowledge(&mut self, events: &[Received]) -> Result<Acknowledged, ConsumeError> {
        let events = events.to_vec();
        let order = |reply| Order::Acknowledge { events, reply };
        self.call("acknowledge", Duration::ZERO, order).await
    }

    async fn give_back(
        &mut self,
        events: &[Received],
        reason: &str,
    ) -> Result<GivenBack, ConsumeError> {
        let events = events.to_vec();
        let order = |reply| Order::Held(HeldOrder::GiveBack { events, reply });
        let returned = self.call("give_back", Duration::ZERO, order).await?;
        let buried = returned.exhausted;
        if !buried.is_empty() {
            let written = self.dead_letters.write(&buried, reason, &self.at).await;
            if let Err(error) = written {
                let events = buried;
                let order = |reply| Order::Held(HeldOrder::TakeBack { events, reply });
                self.call("give_back", Duration::ZERO, order).await?;
                return Err(ConsumeError::DeadLetter(error));
            }
            self.acknowledge(&buried).await?;
        }
        Ok(GivenBack {
            again: returned.again,
            buried,
            lost: returned.lost,
        })
    }

    async fn bury(&mut self, event: &Received, reason: &str) -> Result<(), ConsumeError> {
        let events = std::slice::from_ref(event);
        let written = self.dead_letters.write(events, reason, &self.at).await;
        written.map_err(ConsumeError::DeadLetter)?;
        self.acknowledge(events).await.map(|_| ())
    }

    async fn seek(&mut self, to: &SeekTo) -> Result<(), ConsumeError> {
        let to = to.clone();
        let order = |reply| Order::Seek { to, reply };
        self.call("seek", Duration::ZERO, order).await
    }

    async fn lag(&mut self) -> Result<Vec<Lag>, ConsumeError> {
        let order = |reply| Order::Lag { reply };
        self.call("lag", Duration::ZERO, order).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::BusUrl;

    struct Nowhere;

    #[async_trait]
    impl DeadLetters for Nowhere {
        async fn write(&self, _: &[Received], _: &str, _: &TopicAt) -> Result<(), PublishError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn sixteen_calls_that_were_given_up_may_wait_for_the_member() {
        let (orders, mut queue) = mpsc::channel(MAX_WAITING_CALLS);
        let at = TopicAt::events(&BusUrl::parse("kafka://a").unwrap());
        let mut consumer = GroupConsumer::new(orders, Nowhere, Limits::default(), at);
        for _ in 0..MAX_WAITING_CALLS {
            let given_up = timeout(Duration::from_millis(1), consumer.lag()).await;
            assert!(given_up.is_err(), "nobody answers");
        }
        let told = consumer.lag().await.unwrap_err().to_string();
        assert!(told.contains("calls that were given up"), "{told}");

        // The member took one: there is room for one.
        queue.recv().await.unwrap();
        let given_up = timeout(Duration::from_millis(1), consumer.lag()).await;
        assert!(given_up.is_err(), "it waits");
        drop(queue);
        let told = consumer.lag().await.unwrap_err().to_string();
        assert!(told.contains("the consumer has ended"), "{told}");
    }
}
