//! The two programs of RocketMQ: the name server, and the broker that tells it where topics are.

use std::path::Path;
use std::process::Command;

use super::options::{TLS_CONFIGURATION_FILE, write_tls};
use super::remoting;
use crate::certificate::Certificates;
use crate::java::{self, Memory};
use crate::place::Place;
use crate::server::Program;

/// What `.ci/servers` calls both.
const FETCHED: &str = "rocketmq";
const CONFIGURATION_FILE: &str = "rocketmq.conf";
/// A topic that every broker has.
const OWN_TOPIC: &str = "SELF_TEST_TOPIC";
/// Which of a broker's ports its replicas would come to.
const REPLICAS_PORT: usize = 1;

const NAME_SERVER_MEMORY: Memory = Memory {
    heap_max_mib: 64,
    direct_max_mib: 64,
};
const BROKER_MEMORY: Memory = Memory {
    heap_max_mib: 192,
    direct_max_mib: 128,
};

/// Otherwise each start writes 300 lines about logging, and the log itself into a dozen files.
const LOG_CONFIGURATION_FILE: &str = "rmq.logback-test.xml";
const LOG_CONFIGURATION: &str = r#"<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5p %c{0} %m%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"#;

/// What is particular to the name server.
#[derive(Debug)]
pub struct NameServerProgram {
    pub(super) certificates: Option<Certificates>,
}

/// What is particular to the broker.
#[derive(Debug)]
pub struct BrokerProgram {
    pub(super) name_server_port: u16,
    /// Further lines of its configuration.
    pub(super) settings: String,
    pub(super) certificates: Option<Certificates>,
}

impl Program for NameServerProgram {
    const NAME: &'static str = "rocketmq-name-server";
    const PORTS: usize = 1;

    async fn prepare(&self, place: &Place) -> Result<(), String> {
        let port = place.port();
        let configuration = format!("listenPort={port}\nbindAddress=127.0.0.1\n");
        prepare(place, &configuration, self.certificates.as_ref())
    }

    fn command(&self, place: &Place) -> Result<Command, String> {
        let main = "org.apache.rocketmq.namesrv.NamesrvStartup";
        command(place, NAME_SERVER_MEMORY, main, self.certificates.is_some())
    }

    async fn ask(&self, place: &Place) -> Result<(), String> {
        // Whether it knows a broker does not matter.
        let no_broker = 0;
        let answer = remoting::queues(place.port(), no_broker, OWN_TOPIC).await;
        answer.map(|_| ())
    }
}

impl Program for BrokerProgram {
    const NAME: &'static str = "rocketmq-broker";
    const PORTS: usize = 2;
    /// A second door for producers.
    const PORTS_BELOW: &'static [u16] = &[2];

    async fn prepare(&self, place: &Place) -> Result<(), String> {
        let configuration = self.configuration(place);
        prepare(place, &configuration, self.certificates.as_ref())
    }

    fn command(&self, place: &Place) -> Result<Command, String> {
        let main = "org.apache.rocketmq.broker.BrokerStartup";
        command(place, BROKER_MEMORY, main, self.certificates.is_some())
    }

    /// Clients find a broker by the name server, so it is there when that says so.
    async fn ask(&self, place: &Place) -> Result<(), String> {
        let broker = place.port();
        let known = remoting::queues(self.name_server_port, broker, OWN_TOPIC).await?;
        if known.is_some() {
            return Ok(());
        }
        remoting::announce(broker).await?;
        Err("the name server does not know it".to_owned())
    }
}

impl BrokerProgram {
    fn configuration(&self, place: &Place) -> String {
        let mut lines = vec![
            "brokerClusterName=test".to_owned(),
            "brokerName=broker".to_owned(),
            "brokerId=0".to_owned(),
            format!("namesrvAddr=127.0.0.1:{}", self.name_server_port),
            format!("listenPort={}", place.port()),
            // This one is open to all interfaces, whatever is configured.
            format!("haListenPort={}", place.further_port(REPLICAS_PORT)),
            format!("storePathRootDir={}", within(place, "store")),
        ];
        lines.extend(SMALL.iter().map(|line| (*line).to_owned()));
        lines.push(self.settings.clone());
        lines.join("\n") + "\n"
    }
}

/// What one broker on loopback with little memory and disk wants.
const SMALL: &[&str] = &[
    "bindAddress=127.0.0.1",
    // What clients are sent to; otherwise the address of some interface.
    "brokerIP1=127.0.0.1",
    "brokerIP2=127.0.0.1",
    "autoCreateTopicEnable=true",
    "autoCreateSubscriptionGroup=true",
    "defaultTopicQueueNums=4",
    "mappedFileSizeCommitLog=16777216",
    "mappedFileSizeConsumeQueue=300000",
    "mappedFileSizeTimerLog=1048576",
    "diskMaxUsedSpaceRatio=99",
    // The shortest that it takes.
    "registerNameServerPeriod=10000",
];

fn within(place: &Place, name: &str) -> String {
    place.directory().join(name).display().to_string()
}

fn prepare(
    place: &Place,
    configuration: &str,
    certificates: Option<&Certificates>,
) -> Result<(), String> {
    java::prepare(place)?;
    if let Some(certificates) = certificates {
        write_tls(place.directory(), certificates).map_err(|error| error.to_string())?;
    }
    let write = |name: &str, text: &str| {
        let file = place.directory().join(name);
        std::fs::write(file, text).map_err(|error| error.to_string())
    };
    write(LOG_CONFIGURATION_FILE, LOG_CONFIGURATION)?;
    write(CONFIGURATION_FILE, configuration)
}

fn command(place: &Place, memory: Memory, main: &str, tls: bool) -> Result<Command, String> {
    let mut command = java::command(FETCHED, place, memory, JAVA_OPTIONS)?;
    let mode = if tls { "permissive" } else { "disabled" };
    command
        .arg(format!("-Dtls.server.mode={mode}"))
        .arg(format!("-Dtls.config.file={TLS_CONFIGURATION_FILE}"))
        .env("ROCKETMQ_HOME", place.directory())
        .args([main, "-c"])
        .arg(Path::new(CONFIGURATION_FILE));
    Ok(command)
}

const JAVA_OPTIONS: &[&str] = &[
    "-Dtls.test.mode.enable=false",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
];
