//! The commands that are sent, each as the protocol wants it.

use pulsar::message::proto::base_command::Type;
use pulsar::message::proto::command_ack::AckType;
use pulsar::message::proto::command_subscribe::{InitialPosition, SubType};
use pulsar::message::proto::{
    BaseCommand, CommandAck, CommandCloseConsumer, CommandCloseProducer, CommandConnect,
    CommandConsumerStats, CommandFlow, CommandLookupTopic, CommandPartitionedTopicMetadata,
    CommandPing, CommandPong, CommandProducer, CommandSeek, CommandSubscribe, CommandUnsubscribe,
    MessageIdData,
};

use crate::url::Credentials;

/// The protocol's version that acknowledgements are answered from on.
const PROTOCOL_VERSION: i32 = 19;
/// How we call ourselves.
const CLIENT: &str = concat!("acclaim-", env!("CARGO_PKG_VERSION"));

fn base(kind: Type) -> BaseCommand {
    BaseCommand {
        r#type: kind.into(),
        ..BaseCommand::default()
    }
}

/// Who we are, and whom a proxy is to hand us on to.
pub fn connect(credentials: Option<&Credentials>, behind_proxy: Option<String>) -> BaseCommand {
    let (method, data) = match credentials {
        None => (None, None),
        Some(Credentials { user, password }) if user.is_empty() => {
            ("token".into(), password.clone().into())
        }
        Some(Credentials { user, password }) => {
            ("basic".into(), Some(format!("{user}:{password}")))
        }
    };
    BaseCommand {
        connect: Some(CommandConnect {
            client_version: CLIENT.to_owned(),
            auth_method_name: method.map(str::to_owned),
            auth_data: data.map(String::into_bytes),
            protocol_version: Some(PROTOCOL_VERSION),
            proxy_to_broker_url: behind_proxy,
            ..CommandConnect::default()
        }),
        ..base(Type::Connect)
    }
}

/// A sign of life.
pub fn ping() -> BaseCommand {
    BaseCommand {
        ping: Some(CommandPing {}),
        ..base(Type::Ping)
    }
}

/// Its answer.
pub fn pong() -> BaseCommand {
    BaseCommand {
        pong: Some(CommandPong {}),
        ..base(Type::Pong)
    }
}

/// How many partitions has a topic?
pub fn partitions(topic: &str, request_id: u64) -> BaseCommand {
    BaseCommand {
        partition_metadata: Some(CommandPartitionedTopicMetadata {
            topic: topic.to_owned(),
            request_id,
            ..CommandPartitionedTopicMetadata::default()
        }),
        ..base(Type::PartitionedMetadata)
    }
}

/// Which broker has it?
pub fn lookup(topic: &str, authoritative: bool, request_id: u64) -> BaseCommand {
    BaseCommand {
        lookup_topic: Some(CommandLookupTopic {
            topic: topic.to_owned(),
            request_id,
            authoritative: Some(authoritative),
            ..CommandLookupTopic::default()
        }),
        ..base(Type::Lookup)
    }
}

/// A producer, and the subscription that keeps what it sends.
pub fn producer(
    topic: &str,
    name: &str,
    keeper: Option<&str>,
    producer_id: u64,
    request_id: u64,
) -> BaseCommand {
    BaseCommand {
        producer: Some(CommandProducer {
            topic: topic.to_owned(),
            producer_id,
            request_id,
            producer_name: Some(name.to_owned()),
            initial_subscription_name: keeper.map(str::to_owned),
            ..CommandProducer::default()
        }),
        ..base(Type::Producer)
    }
}

/// The end of a producer.
pub fn close_producer(producer_id: u64, request_id: u64) -> BaseCommand {
    BaseCommand {
        close_producer: Some(CommandCloseProducer {
            producer_id,
            request_id,
        }),
        ..base(Type::CloseProducer)
    }
}

/// A consumer of a group, of which one is active.
pub fn subscribe(
    topic: &str,
    group: &str,
    name: &str,
    consumer_id: u64,
    request_id: u64,
) -> BaseCommand {
    BaseCommand {
        subscribe: Some(CommandSubscribe {
            topic: topic.to_owned(),
            subscription: group.to_owned(),
            sub_type: SubType::Failover.into(),
            consumer_id,
            request_id,
            consumer_name: Some(name.to_owned()),
            durable: Some(true),
            initial_position: Some(InitialPosition::Earliest.into()),
            force_topic_creation: Some(false),
            ..CommandSubscribe::default()
        }),
        ..base(Type::Subscribe)
    }
}

/// The end of a consumer.
pub fn close_consumer(consumer_id: u64, request_id: u64) -> BaseCommand {
    BaseCommand {
        close_consumer: Some(CommandCloseConsumer {
            consumer_id,
            request_id,
        }),
        ..base(Type::CloseConsumer)
    }
}

/// The end of a consumer's group.
pub fn unsubscribe(consumer_id: u64, request_id: u64) -> BaseCommand {
    BaseCommand {
        unsubscribe: Some(CommandUnsubscribe {
            consumer_id,
            request_id,
        }),
        ..base(Type::Unsubscribe)
    }
}

/// So many more messages may come.
pub fn flow(consumer_id: u64, message_permits: u32) -> BaseCommand {
    BaseCommand {
        flow: Some(CommandFlow {
            consumer_id,
            message_permits,
        }),
        ..base(Type::Flow)
    }
}

/// Everything up to here is done with.
pub fn acknowledge(consumer_id: u64, id: MessageIdData, request_id: u64) -> BaseCommand {
    BaseCommand {
        ack: Some(CommandAck {
            consumer_id,
            ack_type: AckType::Cumulative.into(),
            message_id: vec![id],
            request_id: Some(request_id),
            ..CommandAck::default()
        }),
        ..base(Type::Ack)
    }
}

/// Go on from a message.
pub fn seek_message(consumer_id: u64, id: MessageIdData, request_id: u64) -> BaseCommand {
    seek(CommandSeek {
        consumer_id,
        request_id,
        message_id: Some(id),
        message_publish_time: None,
    })
}

/// Go on from a time.
pub fn seek_time(consumer_id: u64, millis: u64, request_id: u64) -> BaseCommand {
    seek(CommandSeek {
        consumer_id,
        request_id,
        message_id: None,
        message_publish_time: Some(millis),
    })
}

fn seek(seek: CommandSeek) -> BaseCommand {
    BaseCommand {
        seek: Some(seek),
        ..base(Type::Seek)
    }
}

/// How far is the group?
pub fn stats(consumer_id: u64, request_id: u64) -> BaseCommand {
    BaseCommand {
        consumer_stats: Some(CommandConsumerStats {
            request_id,
            consumer_id,
        }),
        ..base(Type::ConsumerStats)
    }
}
