//! Redis Streams: a bus for whoever has a Redis already and wants no other server.
//!
//! | File | |
//! |---|---|
//! | `client.rs`, `failure.rs` | one server, and what may go wrong with it |
//! | `keys.rs`, `place.rs` | what its keys are called, and where an event stands |
//! | `script.rs`, `scripts/` | everything that must happen at once |
//! | `check.rs`, `settings.rs` | whether the topics are there, and what the server keeps |
//! | `publish.rs` | publishing in order |
//! | `source.rs`, `line.rs`, `tend.rs`, `read.rs` | where a member of a group gets its events: what it has, how it keeps it, how it reads |
//!
//! A bus partition is a stream, and their number is fixed in a key of its own when the topic is made.
//! Each entry carries its number in the stream (`n`), so that what trimming took away before a group
//! read it is noticed and counted, and lag is exact. An entry's id begins with the time, so a seek to
//! a time is exact too.
//!
//! A group is one of Redis (`XGROUP`): its last delivered id is what is acknowledged. Members read
//! with `XREAD` from where they stand themselves and leave nothing pending. A bus partition is one
//! member's at a time, by a lease with a fence that rises with each owner: whoever has not got the
//! fence any more moves nothing. Members tell that they live in a sorted set, and each takes its
//! share by its place among them; so all agree without asking each other.
//!
//! An acknowledgement is the server's answer. What that survives is the server's configuration:
//! [`settings`] says it when the bus is looked at for the first time.
//!
//! One server, or the master that Sentinels know; not a Cluster.

mod check;
mod client;
mod failure;
mod keys;
mod line;
mod place;
mod publish;
mod read;
mod script;
mod settings;
mod source;
mod tend;

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use crate::error::{OpenError, TopicAt};
use crate::limits::Limits;
use crate::member::join;
use crate::port::{Bus, Checked, Consumer, Publisher, allow_group};
use crate::url::BusUrl;
use client::Client;
use publish::{RedisDeadLetters, RedisPublisher};
use source::RedisSource;

/// Redis Streams, as a URL says.
#[derive(Debug)]
pub struct RedisBus {
    url: BusUrl,
    limits: Limits,
    /// What an acknowledgement survives was said.
    has_warned: AtomicBool,
}

impl RedisBus {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(url: BusUrl, limits: Limits) -> Self {
        Self {
            url,
            limits,
            has_warned: AtomicBool::new(false),
        }
    }
}

#[async_trait]
impl Bus for RedisBus {
    async fn check(&self) -> Result<Checked, OpenError> {
        let (checked, settings) = check::check(&self.url, &self.limits).await?;
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            settings.say(&TopicAt::events(&self.url));
        }
        Ok(checked)
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
        let Checked { bus_partitions, .. } = self.check().await?;
        let publisher = RedisPublisher::new(&self.url, &self.limits, bus_partitions)?;
        Ok(Box::new(publisher))
    }

    async fn consumer(&self, group: &str) -> Result<Box<dyn Consumer>, OpenError> {
        allow_group(group)?;
        let Checked { bus_partitions, .. } = self.check().await?;
        let (url, limits) = (&self.url, &self.limits);
        let at = TopicAt::events(url);
        let client = Client::new(url, limits)?;
        let source = RedisSource::new(client, limits, at.clone(), group, bus_partitions);
        let dead_letters = RedisDeadLetters::new(url, limits)?;
        Ok(join(source, dead_letters, limits, group, at))
    }
}
