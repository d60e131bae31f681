//! A broker of our own, whichever bus is measured.

use acclaim_servers::{AppendFsync, Kafka, Pulsar, Redis, RedisOptions, RocketMq};

/// Which bus is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Name {
    Kafka,
    Pulsar,
    Rocketmq,
    /// Redis Streams, on a server of their own with an append-only file written each second
    Redis,
}

/// A running broker. It ends when dropped.
pub(super) enum Broker {
    Kafka(Kafka),
    Pulsar(Pulsar),
    RocketMq(Box<RocketMq>),
    Redis(Redis),
}

impl Broker {
    /// Starts one.
    pub(super) async fn start(name: Name) -> anyhow::Result<Self> {
        Ok(match name {
            Name::Kafka => {
                Self::Kafka(Kafka::try_start(acclaim_servers::KafkaOptions::default()).await?)
            }
            Name::Pulsar => {
                Self::Pulsar(Pulsar::try_start(acclaim_servers::PulsarOptions::default()).await?)
            }
            Name::Rocketmq => {
                let options = acclaim_servers::RocketMqOptions::default();
                Self::RocketMq(Box::new(RocketMq::try_start(options).await?))
            }
            Name::Redis => {
                let options = RedisOptions::default().append_only(AppendFsync::EverySec);
                Self::Redis(Redis::try_start(options).await?)
            }
        })
    }

    /// What `--bus` is given, with a topic that nobody else uses.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Kafka(kafka) => format!("{}?topic={}", kafka.url(), kafka.topic()),
            Self::Pulsar(pulsar) => {
                let admin = pulsar.admin_url();
                let admin = admin.trim_start_matches("http://");
                format!("{}?topic={}&admin={admin}", pulsar.url(), pulsar.topic())
            }
            Self::RocketMq(rocketmq) => {
                format!("{}?topic={}", rocketmq.url(), rocketmq.topic())
            }
            Self::Redis(redis) => format!("{}?topic=acclaim", redis.url()),
        }
    }

    /// Takes it away, as a crash would.
    pub(super) fn kill(&self) {
        match self {
            Self::Kafka(kafka) => kafka.kill(),
            Self::Pulsar(pulsar) => pulsar.kill(),
            Self::RocketMq(rocketmq) => rocketmq.kill(),
            Self::Redis(redis) => redis.kill(),
        }
    }

    /// Has it back.
    pub(super) async fn restart(&self) {
        match self {
            Self::Kafka(kafka) => kafka.restart().await,
            Self::Pulsar(pulsar) => pulsar.restart().await,
            Self::RocketMq(rocketmq) => rocketmq.restart().await,
            Self::Redis(redis) => redis.restart().await,
        }
    }
}
