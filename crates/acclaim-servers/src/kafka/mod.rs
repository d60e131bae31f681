//! Kafka: one broker that is its own controller (KRaft), shared by the tests of a process or
//! private.
//!
//! It listens on three ports. Clients come to the first, as [`KafkaOptions`] say: with TLS, with
//! users. The controller has the second. On the third the harness asks, always in plain text, so
//! that a server with users is as easily asked as one without.

mod options;
mod wire;

use std::process::Command;
use std::time::Duration;

use tokio::sync::OnceCell;

pub use options::KafkaOptions;

use crate::certificate::Certificates;
use crate::java::{self, Memory};
use crate::place::Place;
use crate::server::{Program, Server};
use crate::start::Configured;
use crate::topic;
use crate::wait::try_until;
use options::{DATA, HARNESS_PORT, KEY_STORE_FILE};
use wire::Metadata;

static SHARED: OnceCell<Kafka> = OnceCell::const_new();

const CONFIGURATION_FILE: &str = "server.properties";
const CLUSTER_ID: &str = "AAAAAAAAAAAAAAAAAAAAAQ";
const MEMORY: Memory = Memory {
    heap_max_mib: 256,
    direct_max_mib: 128,
};
/// How long a new topic may take until all of its partitions have a leader.
const TOPIC_LIMIT: Duration = Duration::from_secs(30);

/// A Kafka broker.
pub type Kafka = Server<KafkaProgram>;

/// What is particular to Kafka.
#[derive(Debug)]
pub struct KafkaProgram {
    options: KafkaOptions,
    certificates: Option<Certificates>,
}

impl Program for KafkaProgram {
    const NAME: &'static str = "kafka";
    const PORTS: usize = 3;

    async fn prepare(&self, place: &Place) -> Result<(), String> {
        java::prepare(place)?;
        let written = || {
            if let Some(certificates) = &self.certificates {
                let store = certificates.key_and_certificate_pem();
                std::fs::write(place.directory().join(KEY_STORE_FILE), store)?;
            }
            let configuration = self.options.configuration(place);
            std::fs::write(place.directory().join(CONFIGURATION_FILE), configuration)
        };
        written().map_err(|error| error.to_string())?;
        let mut format = java::command(Self::NAME, place, MEMORY, &[])?;
        format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]);
        format.arg(CONFIGURATION_FILE);
        java::run(format, place).await?;
        // Where the data went elsewhere, a restart would find them gone.
        match place.directory().join(DATA).is_dir() {
            true => Ok(()),
            false => Err(format!("its data are not below {DATA}")),
        }
    }

    fn command(&self, place: &Place) -> Result<Command, String> {
        let mut command = java::command(Self::NAME, place, MEMORY, &[])?;
        command.args(["kafka.Kafka", CONFIGURATION_FILE]);
        Ok(command)
    }

    /// A broker answers before the controller has let it in, and it leads nothing until then.
    async fn ask(&self, place: &Place) -> Result<(), String> {
        let port = place.further_port(HARNESS_PORT);
        let Metadata {
            broker_ports,
            topics,
        } = wire::metadata(port).await?;
        if broker_ports != [port] {
            return Err(format!("the brokers that are up: {broker_ports:?}"));
        }
        match topics.iter().find(|topic| topic.led.contains(&false)) {
            Some(topic) => Err(format!("{} has partitions without leader", topic.name)),
            None => Ok(()),
        }
    }
}

impl Configured for KafkaProgram {
    type Options = KafkaOptions;

    fn with(options: KafkaOptions) -> Self {
        Self {
            certificates: Certificates::wanted(options.tls),
            options,
        }
    }
}

impl Server<KafkaProgram> {
    /// The one that all tests of this process share. Do it no harm: use a [`topic`](Self::topic)
    /// of your own.
    ///
    /// # Panics
    /// If it does not start, with what was tried and its logs.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    /// `kafka://127.0.0.1:port`, without user and password.
    pub fn url(&self) -> String {
        format!("kafka://{}", self.address())
    }

    /// What a client has to trust, where it speaks TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.program.certificates.as_ref()
    }

    /// The name of a topic that nobody else uses. It is not made yet.
    pub fn topic(&self) -> String {
        topic::name()
    }

    /// Makes a topic with so many partitions, and waits until it takes records.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn make_topic(&self, name: &str, partitions: u16) {
        let port = self.place.further_port(HARNESS_PORT);
        let made = async {
            wire::create_topic(port, name, partitions.into()).await?;
            try_until(TOPIC_LIMIT, || async {
                match self.partitions(name).await? {
                    made if made == Some(partitions.into()) => Ok(()),
                    other => Err(format!("of its partitions are there: {other:?}")),
                }
            })
            .await
        };
        if let Err(why) = made.await {
            panic!("no topic {name} on {}: {why}\n{}", self.url(), self.logs());
        }
    }

    /// How many partitions this topic has that take records; nothing where there is no such topic.
    pub async fn partitions(&self, topic: &str) -> Result<Option<usize>, String> {
        let metadata = wire::metadata(self.place.further_port(HARNESS_PORT)).await?;
        let mut topics = metadata.topics.iter();
        let found = topics.find(|one| one.name == topic);
        Ok(found.map(|topic| topic.led.iter().filter(|led| **led).count()))
    }

    /// One request of Kafka's protocol, by number and version of its kind, and the body of the
    /// answer. No user is asked for.
    pub async fn try_request(
        &self,
        api: i16,
        version: i16,
        body: &[u8],
    ) -> Result<Vec<u8>, String> {
        wire::request(self.place.further_port(HARNESS_PORT), api, version, body).await
    }
}
