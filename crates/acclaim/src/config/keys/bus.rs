//! The keys of the bus.

use super::cluster::without_password;
use super::{Key, MAX_MILLIS};
use crate::config::value::{Allowed, Value};

/// The longest that an event is kept: ten years.
const MAX_STREAM_KEEP_MILLIS: u64 = 10 * 365 * 24 * 3_600_000;

/// Whether a text may name a topic or a group: empty where that is the same as naming none.
fn name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.len() <= acclaim_bus::url::MAX_NAME_BYTES && text.bytes().all(is_part)
}

pub(super) fn keys() -> Vec<Key> {
    let mut keys = place();
    keys.extend(limits());
    keys
}

fn place() -> Vec<Key> {
    vec![
        text!(
            bus.url,
            Allowed::Text("a URL such as kafka://127.0.0.1:9092"),
            "The bus: `kafka://[user:password@]host:port,host:port[?option=value&…]`, and the same with `pulsar` and `rocketmq` (hosts: its name servers; user and password: access key and secret key). Redis Streams: `redis://[[user]:password@]host:port[/database]` or `redis+sentinel://host:port,host:port/master-name[/database]` (`rediss` over TLS). Options: `topic`, `dead` (the topic of the dead letters), `create` (`no` makes no topics and groups that are not there), `partitions` of a topic that is made, `tls`, `ca`, `certificate`, `key`; Kafka has `replicas` of a topic that is made and `sasl`, Pulsar `admin` (where it is administered). Empty: the workers write the ledger themselves. All processes of a cluster have the same. Shown without its password. Flag `--bus`.",
            |url: &String| without_password(url),
            |text: &str| Some(text.to_owned())
        ),
        text!(
            bus.topic,
            Allowed::Text("a name of at most 127 of A-Z a-z 0-9 - _"),
            "The topic of the events. Empty: as the URL says, else `acclaim`.",
            |topic: &String| topic.clone(),
            |text: &str| name(text).then(|| text.to_owned())
        ),
        text!(
            bus.group,
            Allowed::Text("a name of 1 to 127 of A-Z a-z 0-9 - _"),
            "The group of the consumers that write the ledger, the same for all processes of a cluster.",
            |group: &String| group.clone(),
            |text: &str| (!text.is_empty() && name(text)).then(|| text.to_owned())
        ),
        integer!(
            bus.batch_max_events,
            Integer(1..=1_000),
            "Events from the bus that go into the ledger in one transaction."
        ),
        integer!(
            bus.batch_max_millis,
            Integer(1..=10_000),
            "How long such a batch is waited for. Nobody of the same process who waits for the ledger waits for this."
        ),
        integer!(
            bus.recorders,
            Integer(1..=64),
            "Consumers of the group in each process that has a worker."
        ),
    ]
}

fn limits() -> Vec<Key> {
    vec![
        integer!(
            bus.max_event_bytes at bus.limits.max_event_bytes,
            Bytes(2_048..=16_384),
            "The longest event that is published."
        ),
        integer!(
            bus.max_publish_events at bus.limits.max_publish_events,
            Integer(1..=100_000),
            "Events of one call to publish."
        ),
        integer!(
            bus.max_queued_bytes at bus.limits.max_queued_bytes,
            Bytes(1 << 20..=1 << 30),
            "What a process keeps in memory until the bus has acknowledged it."
        ),
        integer!(
            bus.max_held_events at bus.limits.max_held_events,
            Integer(1_000..=1_000_000),
            "Events that a consumer has received and not acknowledged."
        ),
        integer!(
            bus.max_prefetch_bytes at bus.limits.max_prefetch_bytes,
            Bytes(1 << 20..=1 << 30),
            "What a consumer fetches ahead."
        ),
        integer!(
            bus.publish_timeout_millis at bus.limits.publish_timeout_millis,
            Integer(100..=600_000),
            "The end of a call to publish; then the same is published again."
        ),
        integer!(
            bus.call_timeout_millis at bus.limits.call_timeout_millis,
            Integer(100..=600_000),
            "The end of every other call to the bus."
        ),
        integer!(
            bus.session_timeout_millis at bus.limits.session_timeout_millis,
            Integer(1_000..=600_000),
            "A consumer that the bus has not heard of for so long has left its group."
        ),
        integer!(
            bus.max_tries at bus.limits.max_tries,
            Integer(1..=100),
            "How often a message that cannot be read is delivered before it becomes a dead letter."
        ),
        integer!(
            bus.backoff_min_millis at bus.limits.backoff_min_millis,
            Integer(1..=60_000),
            "How long the first delivery again waits; each further one twice as long."
        ),
        integer!(
            bus.backoff_max_millis at bus.limits.backoff_max_millis,
            Integer(1..=MAX_MILLIS),
            "The longest that a delivery again waits."
        ),
        integer!(
            bus.max_reason_bytes at bus.limits.max_reason_bytes,
            Bytes(16..=10_000),
            "How much of the reason stands in a dead letter of the bus."
        ),
        integer!(
            bus.stream_keep_millis at bus.limits.stream_keep_millis,
            Integer(60_000..=MAX_STREAM_KEEP_MILLIS),
            "Redis Streams only: how long an event is kept, for whoever subscribes. The other buses have a configuration of their own."
        ),
        integer!(
            bus.stream_max_events at bus.limits.stream_max_events,
            Integer(1_000..=1_000_000_000),
            "Redis Streams only: events that are kept in each partition of the topic; what is older goes, received or not. An event takes some 700 bytes of Redis's memory."
        ),
    ]
}
