//! The buses: how transitions leave the journal and reach whoever wants them.
//!
//! [`event`] is the contract with every consumer: one transition as a CloudEvent. [`port`] is what
//! every bus does for Acclaim; each bus has a file or folder of its own behind a feature, and one
//! suite of tests holds them all to the same promises.
//!
//! This crate knows what an event is and how it travels. It may not know: journals, the Redis that
//! decides, SQL, what a consumer does with an event.
#![forbid(unsafe_code)]

pub mod error;
pub mod event;
pub mod held;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod limits;
#[cfg(any(feature = "pulsar", feature = "redis", feature = "rocketmq"))]
mod member;
#[cfg(any(
    feature = "kafka",
    feature = "pulsar",
    feature = "redis",
    feature = "rocketmq"
))]
mod orders;
#[cfg(any(feature = "pulsar", feature = "redis", feature = "rocketmq"))]
mod parts;
#[cfg(any(feature = "pulsar", feature = "redis", feature = "rocketmq"))]
mod persist;
pub mod port;
#[cfg(feature = "pulsar")]
pub mod pulsar;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "rocketmq")]
pub mod rocketmq;
#[cfg(any(feature = "pulsar", feature = "redis", feature = "rocketmq"))]
mod room;
#[cfg(any(feature = "pulsar", feature = "rocketmq"))]
mod tls;
pub mod url;

pub use error::{ConsumeError, OpenError, PublishError, TopicAt};
pub use limits::Limits;
pub use port::{Bus, Consumer, Publisher};
pub use url::{BusKind, BusUrl, BusUrlError};

/// The bus of a URL. Nothing is connected yet; [`Bus::check`] says whether it is there.
///
/// # Errors
/// [`OpenError::NotBuilt`] where this program has no client of it.
pub fn open(url: &BusUrl, limits: &Limits) -> Result<Box<dyn Bus>, OpenError> {
    match url.kind {
        #[cfg(feature = "kafka")]
        BusKind::Kafka => Ok(Box::new(kafka::KafkaBus::new(url.clone(), limits.clone()))),
        #[cfg(feature = "pulsar")]
        BusKind::Pulsar => Ok(Box::new(pulsar::PulsarBus::new(
            url.clone(),
            limits.clone(),
        ))),
        #[cfg(feature = "redis")]
        BusKind::Redis => Ok(Box::new(redis::RedisBus::new(url.clone(), limits.clone()))),
        #[cfg(feature = "rocketmq")]
        BusKind::RocketMq => Ok(Box::new(rocketmq::RocketMqBus::new(
            url.clone(),
            limits.clone(),
        ))),
        #[cfg(not(all(
            feature = "kafka",
            feature = "pulsar",
            feature = "redis",
            feature = "rocketmq"
        )))]
        other => {
            let _unused = limits;
            Err(OpenError::NotBuilt(other))
        }
    }
}
