//! How a Kafka is to be configured.

use crate::place::Place;

/// Where a server keeps its data, below its directory.
pub(crate) const DATA: &str = "data";
/// Key and certificate, where it speaks TLS.
pub(crate) const KEY_STORE_FILE: &str = "keystore.pem";
/// Which of its ports the controller and the harness come to.
const CONTROLLER_PORT: usize = 1;
pub(crate) const HARNESS_PORT: usize = 2;

/// How a Kafka is to be configured. By default anybody may do anything, in plain text, and a topic
/// that a client names comes into being, with three partitions.
#[derive(Clone, Debug, Default)]
pub struct KafkaOptions {
    settings: Vec<(String, String)>,
    users: Vec<(String, String)>,
    pub(super) tls: bool,
}

impl KafkaOptions {
    /// Takes only this user and others that are named so (SASL/PLAIN). Each may do everything. Name
    /// and password are of letters and digits.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Speaks TLS only, with certificates made for it: [`super::Kafka::certificates`].
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// A topic that a client names has to be there.
    pub fn without_auto_create(self) -> Self {
        self.set("auto.create.topics.enable", "false")
    }

    /// Any other line of `server.properties`.
    pub fn set(mut self, setting: &str, value: &str) -> Self {
        self.settings.push((setting.to_owned(), value.to_owned()));
        self
    }

    /// The text of `server.properties`.
    pub(super) fn configuration(&self, place: &Place) -> String {
        let clients = place.port();
        let harness = place.further_port(HARNESS_PORT);
        let controller = place.further_port(CONTROLLER_PORT);
        let mut lines = vec![
            "process.roles=broker,controller".to_owned(),
            "node.id=1".to_owned(),
            format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
            "controller.listener.names=CONTROLLER".to_owned(),
            format!(
                "listeners=CLIENTS://127.0.0.1:{clients},HARNESS://127.0.0.1:{harness},\
                 CONTROLLER://127.0.0.1:{controller}"
            ),
            format!(
                "advertised.listeners=CLIENTS://127.0.0.1:{clients},HARNESS://127.0.0.1:{harness}"
            ),
            format!(
                "listener.security.protocol.map=CLIENTS:{},HARNESS:PLAINTEXT,CONTROLLER:PLAINTEXT",
                self.protocol()
            ),
            "inter.broker.listener.name=HARNESS".to_owned(),
            format!("log.dirs={}", place.directory().join(DATA).display()),
        ];
        lines.extend(SMALL.iter().map(|line| (*line).to_owned()));
        if self.tls {
            let store = place.directory().join(KEY_STORE_FILE);
            lines.extend([
                "listener.name.clients.ssl.keystore.type=PEM".to_owned(),
                format!(
                    "listener.name.clients.ssl.keystore.location={}",
                    store.display()
                ),
            ]);
        }
        if !self.users.is_empty() {
            let users = self.users.iter();
            let users: String = users
                .map(|(name, password)| format!(" user_{name}=\"{password}\""))
                .collect();
            lines.extend([
                "listener.name.clients.sasl.enabled.mechanisms=PLAIN".to_owned(),
                format!(
                    "listener.name.clients.plain.sasl.jaas.config=\
                     org.apache.kafka.common.security.plain.PlainLoginModule required{users};"
                ),
            ]);
        }
        let further = self.settings.iter();
        lines.extend(further.map(|(setting, value)| format!("{setting}={value}")));
        lines.join("\n") + "\n"
    }

    fn protocol(&self) -> &'static str {
        match (self.users.is_empty(), self.tls) {
            (true, false) => "PLAINTEXT",
            (true, true) => "SSL",
            (false, false) => "SASL_PLAINTEXT",
            (false, true) => "SASL_SSL",
        }
    }
}

/// What one broker with little memory wants.
const SMALL: &[&str] = &[
    "num.partitions=3",
    "offsets.topic.replication.factor=1",
    "offsets.topic.num.partitions=1",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "transaction.state.log.num.partitions=1",
    "share.coordinator.state.topic.replication.factor=1",
    "share.coordinator.state.topic.min.isr=1",
    "share.coordinator.state.topic.num.partitions=1",
    "group.initial.rebalance.delay.ms=0",
    "log.cleaner.dedupe.buffer.size=2097152",
    // A broker that was killed is not let in again before its last session has ended: 9 s by
    // default. The other side of it is that a broker which was paused for longer is out for a
    // moment when it goes on.
    "broker.session.timeout.ms=2000",
    "broker.heartbeat.interval.ms=300",
];
