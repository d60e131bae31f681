//! RocketMQ 5, through its name server, by its remoting protocol.
//!
//! | File | |
//! |---|---|
//! | `connection.rs` | one connection; what codes mean is in `failure.rs` |
//! | `route.rs`, `sign.rs`, `client.rs` | where queues are; who asks; asking |
//! | `group.rs`, `check.rs` | what a group is called; whether topics and group are there, and making them |
//! | `message.rs`, `publish.rs` | how messages are written and read; publishing in order |
//! | `seat.rs` | what a member of a group says to brokers |
//! | `lane.rs`, `source.rs` | a queue; where a member gets its events |
//!
//! The bus partition is a queue, chosen here. A topic that is made is on one broker, so that the
//! number of its queues does not change when another one is away; one over several brokers keeps its
//! number if it is made as an ordered one (`orderTopicConf`).
//!
//! `published_at_millis` is by the broker's clock, as are the times that a group is moved to. The
//! end of a queue, for a seek or a lag, is behind what the broker has put in its index, which it
//! does a moment after it has acknowledged a message.
//!
//! The protocol is spoken here and not by a client that others keep, since of those for Rust
//! `rocketmq-client-rust` 1.0.0 sends the place of a group without asking for an answer
//! (`RemoteBrokerOffsetStore::persist`), so that nobody knows whether an acknowledgement was taken,
//! and it is 360 packages; and `rocketmq` 5.0.0 speaks to the proxy, not through the name server, and
//! has only a simple consumer, whose queues are not told.

mod check;
mod client;
mod connection;
mod failure;
mod group;
mod lane;
mod message;
mod publish;
mod route;
mod seat;
mod sign;
mod source;

use async_trait::async_trait;

use crate::error::{OpenError, TopicAt};
use crate::limits::Limits;
use crate::member::join;
use crate::port::{Bus, Checked, Consumer, Publisher, allow_group};
use crate::url::BusUrl;
use client::Client;
use publish::{RocketMqDeadLetters, RocketMqPublisher};
use source::RocketMqSource;

/// A RocketMQ, as a URL says.
#[derive(Clone, Debug)]
pub struct RocketMqBus {
    url: BusUrl,
    limits: Limits,
}

impl RocketMqBus {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(url: BusUrl, limits: Limits) -> Self {
        Self { url, limits }
    }
}

#[async_trait]
impl Bus for RocketMqBus {
    async fn check(&self) -> Result<Checked, OpenError> {
        let (queues, made) = check::check(&self.url, &self.limits, None).await?;
        Ok(Checked {
            // There are far fewer.
            bus_partitions: u32::try_from(queues.len()).unwrap_or(u32::MAX),
            made,
        })
    }

    async fn publisher(&self) -> Result<Box<dyn Publisher>, OpenError> {
        let (queues, _) = check::check(&self.url, &self.limits, None).await?;
        let publisher = RocketMqPublisher::new(&self.url, &self.limits, queues)?;
        Ok(Box::new(publisher))
    }

    async fn consumer(&self, group: &str) -> Result<Box<dyn Consumer>, OpenError> {
        allow_group(group)?;
        let (url, limits) = (&self.url, &self.limits);
        let own = group::name(&url.topic, group);
        let (queues, _) = check::check(url, limits, Some(&own)).await?;
        let at = TopicAt::events(url);
        let client = Client::new(url, &url.topic)?;
        let source = RocketMqSource::new(client, limits, at.clone(), &own, queues);
        let dead_letters = RocketMqDeadLetters::new(url, limits)?;
        Ok(join(source, dead_letters, limits, group, at))
    }
}
