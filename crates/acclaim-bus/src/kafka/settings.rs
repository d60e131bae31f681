//! The URL and the limits as librdkafka's settings.

use rdkafka::ClientConfig;

use crate::limits::Limits;
use crate::url::{BusUrl, Sasl};

/// The longest name that a broker sees of us.
const CLIENT_ID: &str = "acclaim";
/// The bounds that librdkafka has for `socket.timeout.ms` and `socket.connection.setup.timeout.ms`.
const SOCKET_MILLIS: (u64, u64) = (1_000, 300_000);
/// Messages that a producer keeps at once; bytes bound it before.
const MAX_QUEUED_MESSAGES: usize = 1_000_000;
/// How long a message waits for others to share a request with.
const LINGER_MILLIS: u64 = 5;
/// How often a member tells its coordinator that it lives, as a part of the session's time.
const HEARTBEATS_A_SESSION: u64 = 4;
/// The longest that a member may be without a poll; the thread behind it polls far more often.
const MAX_POLL_MILLIS: u64 = 300_000;

/// What every client has.
pub fn client(url: &BusUrl, limits: &Limits) -> ClientConfig {
    let mut config = ClientConfig::new();
    let (min, max) = SOCKET_MILLIS;
    let socket = limits.call_timeout_millis.clamp(min, max).to_string();
    config
        .set("bootstrap.servers", url.host_list())
        .set("client.id", CLIENT_ID)
        .set("socket.timeout.ms", &socket)
        .set("socket.connection.setup.timeout.ms", &socket)
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("enable.metrics.push", "false")
        .set("allow.auto.create.topics", "false");
    let protocol = match (&url.tls, &url.credentials) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &url.tls {
        if let Some(ca) = &tls.ca {
            config.set("ssl.ca.location", ca.display().to_string());
        }
        if let Some((certificate, key)) = &tls.certificate {
            config.set(
                "ssl.certificate.location",
                certificate.display().to_string(),
            );
            config.set("ssl.key.location", key.display().to_string());
        }
    }
    if let Some(credentials) = &url.credentials {
        config.set("sasl.mechanism", mechanism(url.sasl));
        config.set("sasl.username", &credentials.user);
        config.set("sasl.password", &credentials.password);
    }
    config
}

fn mechanism(sasl: Sasl) -> &'static str {
    match sasl {
        Sasl::Plain => "PLAIN",
        Sasl::ScramSha256 => "SCRAM-SHA-256",
        Sasl::ScramSha512 => "SCRAM-SHA-512",
    }
}

/// A producer that keeps order through its own repetitions.
///
/// A message never times out by itself: then the one behind it would overtake it. Whoever publishes
/// has an end of their own, and gives up the whole producer at it.
pub fn producer(url: &BusUrl, limits: &Limits) -> ClientConfig {
    let mut config = client(url, limits);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "0")
        .set("compression.type", "lz4")
        .set("linger.ms", LINGER_MILLIS.to_string())
        .set(
            "message.max.bytes",
            (limits.max_event_bytes + (1 << 20)).to_string(),
        )
        .set(
            "queue.buffering.max.messages",
            MAX_QUEUED_MESSAGES.to_string(),
        )
        .set(
            "queue.buffering.max.kbytes",
            kilobytes(limits.max_queued_bytes),
        );
    config
}

/// A member of a group.
pub fn member(url: &BusUrl, limits: &Limits, group: &str) -> ClientConfig {
    let mut config = client(url, limits);
    let session = limits.session_timeout_millis;
    config
        .set("group.id", group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("session.timeout.ms", session.to_string())
        .set(
            "heartbeat.interval.ms",
            (session / HEARTBEATS_A_SESSION).max(1).to_string(),
        )
        .set(
            "max.poll.interval.ms",
            MAX_POLL_MILLIS.max(session).to_string(),
        )
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "100")
        .set(
            "queued.min.messages",
            limits.max_held_events.clamp(1, 10_000_000).to_string(),
        )
        .set(
            "queued.max.messages.kbytes",
            kilobytes(limits.max_prefetch_bytes),
        );
    config
}

fn kilobytes(bytes: usize) -> String {
    (bytes >> 10).clamp(1, 2_097_151).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, names: &[&str]) -> Vec<String> {
        let config = client(&BusUrl::parse(url).unwrap(), &Limits::default());
        let value = |name: &&str| config.get(name).unwrap_or("-").to_owned();
        names.iter().map(value).collect()
    }

    #[test]
    fn tls_and_users_are_passed_on() {
        let names = [
            "security.protocol",
            "sasl.mechanism",
            "sasl.username",
            "sasl.password",
            "ssl.ca.location",
            "ssl.certificate.location",
            "ssl.key.location",
        ];
        let plain = settings("kafka://a", &names);
        assert_eq!(plain, ["plaintext", "-", "-", "-", "-", "-", "-"]);
        let user = settings("kafka://u:p%40@a?sasl=scram-sha-256", &names[..4]);
        assert_eq!(user, ["sasl_plaintext", "SCRAM-SHA-256", "u", "p@"]);
        let user = settings("kafka://u:p@a?sasl=scram-sha-512", &names[1..2]);
        assert_eq!(user, ["SCRAM-SHA-512"]);
        let url = "kafka://u:p@a?tls=yes&ca=/ca&certificate=/c&key=/k";
        let both = settings(url, &names);
        assert_eq!(both, ["sasl_ssl", "PLAIN", "u", "p", "/ca", "/c", "/k"]);
        assert_eq!(settings("kafka://a?tls=yes", &names[..1]), ["ssl"]);
    }

    #[test]
    fn the_client_takes_all_of_it_at_the_edges() {
        use rdkafka::consumer::BaseConsumer;
        use rdkafka::producer::FutureProducer;

        let url = BusUrl::parse("kafka://u:p@127.0.0.1:1?sasl=scram-sha-512&tls=yes").unwrap();
        let tiny = Limits {
            max_event_bytes: 1,
            max_queued_bytes: 1,
            max_held_events: 1,
            max_prefetch_bytes: 1,
            call_timeout_millis: 1,
            session_timeout_millis: 1,
            ..Limits::default()
        };
        let huge = Limits {
            max_event_bytes: 64 << 20,
            max_queued_bytes: usize::MAX,
            max_held_events: usize::MAX,
            max_prefetch_bytes: usize::MAX,
            call_timeout_millis: u64::MAX,
            session_timeout_millis: 3_600_000,
            ..Limits::default()
        };
        for limits in [tiny, Limits::default(), huge] {
            let _producer: FutureProducer = producer(&url, &limits).create().unwrap();
            let _member: BaseConsumer = member(&url, &limits, "g").create().unwrap();
        }
    }
}
