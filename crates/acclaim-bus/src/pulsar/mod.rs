//! Pulsar, through its binary protocol.
//!
//! | File | |
//! |---|---|
//! | `connection.rs` | one connection; what the messages mean is in `command.rs` and `failure.rs` |
//! | `client.rs` | finding the broker of a topic |
//! | `check.rs`, `admin.rs` | whether the topics are there, and making them |
//! | `batch.rs`, `place.rs` | batches of messages, and where a message stands |
//! | `producer.rs`, `publish.rs` | publishing in order |
//! | `source.rs` | where a member of a group gets its events |
//! | `seat.rs`, `link.rs`, `window.rs` | one partition of a member: what came, its consumer, how far ahead that reads |
//!
//! The topic is partitioned, and the bus partition is chosen here. A group is a Failover
//! subscription. A broker that acknowledges parts of a batch
//! (`acknowledgmentAtBatchIndexLevelEnabled`) gives out less again after a failure; without it a
//! whole batch comes again.
//!
//! `session_timeout_millis` is after how much silence a connection counts as broken. When a consumer
//! that is silent itself has left its group is the broker's to say (`keepAliveIntervalSeconds`).

mod admin;
mod batch;
mod check;
mod client;
mod command;
mod connection;
mod failure;
mod link;
mod place;
mod producer;
mod publish;
mod seat;
mod source;
mod window;

use async_trait::async_trait;

use crate::error::{OpenError, TopicAt};
use crate::limits::Limits;
use crate::member::join;
use crate::port::{Bus, Checked, Consumer, Publisher, allow_group};
use crate::url::BusUrl;
use client::Client;
use publish::{PulsarDeadLetters, PulsarPublisher};
use source::PulsarSource;

/// A Pulsar, as a URL says.
#[derive(Clone, Debug)]
pub struct PulsarBus {
    url: BusUrl,
    limits: Limits,
}

impl PulsarBus {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(url: BusUrl, limits: Limits) -> Self {
        Self { url, limits }
    }
}

#[async_trait]
impl Bus for PulsarBus {
    async fn check(&self) -> Result<Checked, OpenError> {
        check::check(&self.url, &self.limits).await
    }

    async fn keep_for(&self, group: &str) -> Result<(), OpenError> {
        allow_group(group)?;
        check::keep_for(&self.url, &self.limits, group).await
    }

    async fn forget_group(&self, group: &str) -> Result<(), OpenError> {
        allow_group(group)?;
        check::forget_group(&self.url, &self.limits, group).await
    }

    async fn publisher(&self) -> Result<Box<dyn Publisher>, OpenError> {
        let checked = self.check().await?;
        let publisher = PulsarPublisher::new(&self.url, &self.limits, checked.bus_partitions);
        Ok(Box::new(publisher))
    }

    async fn consumer(&self, group: &str) -> Result<Box<dyn Consumer>, OpenError> {
        allow_group(group)?;
        let Checked { bus_partitions, .. } = self.check().await?;
        let (url, limits) = (&self.url, &self.limits);
        let at = TopicAt::events(url);
        let client = Client::new(url, limits)?;
        let source = PulsarSource::new(client, limits, at.clone(), group, bus_partitions);
        let dead_letters = PulsarDeadLetters::new(url, limits);
        Ok(join(source, dead_letters, limits, group, at))
    }
}
