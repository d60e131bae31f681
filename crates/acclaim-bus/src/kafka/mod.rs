//! Kafka, through librdkafka.
//!
//! | File | |
//! |---|---|
//! | `settings.rs` | the URL and the limits as librdkafka's settings |
//! | `ears.rs` | what librdkafka says by itself: logs, errors, rebalances |
//! | `check.rs` | whether the topics are there, and making them |
//! | `publish.rs` | publishing in order |
//! | `consume.rs` | joining a group |
//! | `member.rs` | the thread behind a consumer, which is the member of the group |
//! | `commit.rs` | the thread that waits for commits |
//! | `places.rs` | where a group stands, and moving it |
//!
//! The bus partition is chosen here and not by Kafka: the store's partition modulo the partitions of
//! the topic. Adding partitions to a topic therefore changes where a store's partition goes; let the
//! topic run empty before.

mod check;
mod commit;
mod consume;
mod ears;
mod member;
mod places;
mod publish;
mod settings;

use async_trait::async_trait;

use crate::error::OpenError;
use crate::limits::Limits;
use crate::port::{Bus, Checked, Consumer, Publisher, allow_group};
use crate::url::BusUrl;
use publish::KafkaPublisher;

/// A Kafka, as a URL says.
#[derive(Clone, Debug)]
pub struct KafkaBus {
    url: BusUrl,
    limits: Limits,
}

impl KafkaBus {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(url: BusUrl, limits: Limits) -> Self {
        Self { url, limits }
    }
}

#[async_trait]
impl Bus for KafkaBus {
    async fn check(&self) -> Result<Checked, OpenError> {
        check::check(&self.url, &self.limits).await
    }

    async fn publisher(&self) -> Result<Box<dyn Publisher>, OpenError> {
        let checked = self.check().await?;
        let publisher = KafkaPublisher::new(&self.url, &self.limits, checked.bus_partitions);
        Ok(Box::new(publisher))
    }

    async fn consumer(&self, group: &str) -> Result<Box<dyn Consumer>, OpenError> {
        allow_group(group)?;
        self.check().await?;
        let consumer = consume::join(&self.url, &self.limits, group)?;
        Ok(Box::new(consumer))
    }
}
