//! Pulsar in one process: a broker, its storage (a bookie) and its metadata (RocksDB), shared by
//! the tests of a process or private.

mod admin;
mod options;
mod token;

use std::process::Command;

use tokio::sync::OnceCell;

pub use options::PulsarOptions;

use crate::certificate::Certificates;
use crate::java::{self, Memory};
use crate::place::Place;
use crate::server::{Program, Server};
use crate::start::Configured;
use crate::topic;
use options::{ADMIN_PORT, ADMIN_TLS_PORT, LEDGERS, METADATA, STORAGE_PORT, SUPERUSER, TLS_PORT};

static SHARED: OnceCell<Pulsar> = OnceCell::const_new();

const CONFIGURATION_FILE: &str = "standalone.conf";
const MENDING_FILE: &str = "mending.conf";
const MEMORY: Memory = Memory {
    heap_max_mib: 320,
    direct_max_mib: 192,
};
/// The namespace that topics are in where a client names none.
const NAMESPACE: &str = "persistent/public/default";

const LOG_CONFIGURATION_FILE: &str = "log4j2.xml";
/// The first one tells at each change that machines have no racks.
const LOG_CONFIGURATION: &str = r#"<Configuration status="ERROR">
  <Appenders><Console name="out">
    <PatternLayout pattern="%d{ABSOLUTE} %-5p %c{1} %m%n"/>
  </Console></Appenders>
  <Loggers>
    <Logger name="org.apache.bookkeeper.client.TopologyAwareEnsemblePlacementPolicy" level="error"/>
    <Root level="warn"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"#;

/// What Pulsar's own scripts give to Java.
const JAVA_OPTIONS: &[&str] = &[
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.util.zip=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.misc=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.platform=ALL-UNNAMED",
    "--add-opens=java.management/sun.management=ALL-UNNAMED",
    "--add-opens=jdk.management/com.sun.management.internal=ALL-UNNAMED",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dlog4j2.is.webapp=false",
    "-Dlog4j.configurationFile=log4j2.xml",
    "-Dbookkeeper.metadata.bookie.drivers=\
     org.apache.pulsar.metadata.bookkeeper.PulsarMetadataBookieDriver",
    "-Dbookkeeper.metadata.client.drivers=\
     org.apache.pulsar.metadata.bookkeeper.PulsarMetadataClientDriver",
];

/// A Pulsar server.
pub type Pulsar = Server<PulsarProgram>;

/// What is particular to Pulsar.
#[derive(Debug)]
pub struct PulsarProgram {
    options: PulsarOptions,
    certificates: Option<Certificates>,
}

impl PulsarProgram {
    /// Whom the harness says that it is, where that is asked.
    fn own_token(&self) -> Option<String> {
        self.options.has_users().then(|| token::of(SUPERUSER))
    }
}

impl Program for PulsarProgram {
    const NAME: &'static str = "pulsar";
    const PORTS: usize = 5;

    async fn prepare(&self, place: &Place) -> Result<(), String> {
        java::prepare(place)?;
        let write = |name: &str, text: &str| {
            let file = place.directory().join(name);
            std::fs::write(file, text).map_err(|error| error.to_string())
        };
        if let Some(certificates) = &self.certificates {
            let written = certificates.write_to(place.directory());
            written.map_err(|error| error.to_string())?;
        }
        write(LOG_CONFIGURATION_FILE, LOG_CONFIGURATION)?;
        write(MENDING_FILE, &mending_configuration(place))?;
        write(CONFIGURATION_FILE, &self.options.configuration(place))
    }

    fn command(&self, place: &Place) -> Result<Command, String> {
        let mut command = java::command(Self::NAME, place, MEMORY, JAVA_OPTIONS)?;
        let storage_port = place.further_port(STORAGE_PORT).to_string();
        command
            .arg("org.apache.pulsar.PulsarStandaloneStarter")
            .args(["-c", CONFIGURATION_FILE, "-a", "127.0.0.1"])
            .args(["--bookkeeper-port", &storage_port, "--metadata-dir"])
            .arg(place.directory().join(METADATA))
            .arg("--bookkeeper-dir")
            .arg(place.directory().join(LEDGERS))
            .args(["--no-functions-worker", "--no-stream-storage"]);
        Ok(command)
    }

    /// The broker's own check writes a message and reads it, which wants the storage too.
    async fn ask(&self, place: &Place) -> Result<(), String> {
        for (path, wanted) in [
            (format!("/admin/v2/{NAMESPACE}"), None),
            ("/admin/v2/brokers/health".to_owned(), Some("ok")),
        ] {
            let port = place.further_port(ADMIN_PORT);
            let token = self.own_token();
            let asked = admin::request(port, token.as_deref(), ("GET", &path), "");
            let (status, body) = asked.await?;
            if status != 200 || wanted.is_some_and(|wanted| wanted != body) {
                return Err(format!("{path}: {status} {body}"));
            }
        }
        Ok(())
    }

    /// A killed process leaves the entry that says its storage is there. The next start takes the
    /// entry for a stranger's, replaces it, hears of the replacement, replaces it again, and so on
    /// for ever: the storage is there and not there ("Not enough non-faulty bookies"), while the
    /// broker's own check may say ok. Whoever lists such entries removes the stale ones, so they
    /// are listed before the start.
    async fn mend(&self, place: &Place) -> Result<(), String> {
        let mut list = java::command(Self::NAME, place, MEMORY, JAVA_OPTIONS)?;
        list.args(["org.apache.bookkeeper.bookie.BookieShell", "-conf"])
            .args([MENDING_FILE, "listbookies", "-rw"]);
        let told = match java::run(list, place).await {
            Ok(told) | Err(told) => told,
        };
        match told.contains("No bookie exists!") {
            true => Ok(()),
            false => Err(told),
        }
    }
}

/// Where the storage's own tool finds what it is about.
fn mending_configuration(place: &Place) -> String {
    let within = |name: &str| place.directory().join(name).display().to_string();
    format!(
        "metadataServiceUri=metadata-store:rocksdb://{}\nledgerDirectories={ledgers}\n\
         journalDirectory={ledgers}\n",
        within(METADATA),
        ledgers = within(LEDGERS)
    )
}

impl Configured for PulsarProgram {
    type Options = PulsarOptions;

    fn with(options: PulsarOptions) -> Self {
        Self {
            certificates: Certificates::wanted(options.tls),
            options,
        }
    }
}

impl Server<PulsarProgram> {
    /// The one that all tests of this process share. Do it no harm: use a [`topic`](Self::topic)
    /// of your own.
    ///
    /// # Panics
    /// If it does not start, with what was tried and its logs.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    /// `pulsar://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("pulsar://{}", self.address())
    }

    /// `http://127.0.0.1:port`, where it is administered.
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.place.further_port(ADMIN_PORT))
    }

    /// The addresses at which it speaks TLS, if it does: of the broker, and of its administration.
    pub fn tls_addresses(&self) -> (String, String) {
        let at = |port| format!("127.0.0.1:{}", self.place.further_port(port));
        (at(TLS_PORT), at(ADMIN_TLS_PORT))
    }

    /// What a client has to trust, where it speaks TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.program.certificates.as_ref()
    }

    /// By what a server that knows users knows this one.
    pub fn token(user: &str) -> String {
        token::of(user)
    }

    /// The token of a user that somebody else signed.
    pub fn forged_token(user: &str) -> String {
        token::forged(user)
    }

    /// The name of a topic that nobody else uses, in the namespace that names belong to where they
    /// say nothing else. It is not made yet.
    pub fn topic(&self) -> String {
        topic::name()
    }

    /// Makes a topic with so many partitions, at least one.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn make_topic(&self, name: &str, partitions: u16) {
        let path = format!("/admin/v2/{NAMESPACE}/{name}/partitions");
        let partitions = partitions.to_string();
        let made = self.try_request("PUT", &path, &partitions);
        let why = match made.await {
            Ok((200..=299, _)) => return,
            Ok((status, body)) => format!("{status} {body}"),
            Err(why) => why,
        };
        panic!("no topic {name} on {}: {why}\n{}", self.url(), self.logs());
    }

    /// How many partitions this topic has; nothing where there is no such topic.
    pub async fn partitions(&self, topic: &str) -> Result<Option<usize>, String> {
        let path = format!("/admin/v2/{NAMESPACE}/{topic}/partitions");
        let (status, body) = self.try_request("GET", &path, "").await?;
        let told = || format!("{path}: {status} {body}");
        match status {
            404 => Ok(None),
            200 => {
                let told = serde_json::from_str::<serde_json::Value>(&body)
                    .map_err(|error| format!("{error}: {}", told()))?;
                let partitions = told["partitions"].as_u64();
                Ok(partitions.and_then(|number| usize::try_from(number).ok()))
            }
            _ => Err(told()),
        }
    }

    /// One request to its administration: status and body of the answer.
    pub async fn try_request(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<(u16, String), String> {
        let token = self.program.own_token();
        let port = self.place.further_port(ADMIN_PORT);
        admin::request(port, token.as_deref(), (method, path), body).await
    }
}
