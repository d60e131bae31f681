//! How a Pulsar is to be configured.

use super::token;
use crate::certificate::Certificates;
use crate::place::Place;

/// Which of its ports the administration, the storage, and both ways with TLS have.
pub(super) const ADMIN_PORT: usize = 1;
pub(super) const STORAGE_PORT: usize = 2;
pub(super) const TLS_PORT: usize = 3;
pub(super) const ADMIN_TLS_PORT: usize = 4;
/// Whom the harness and the broker's own client say that they are.
pub(super) const SUPERUSER: &str = "harness";
/// Where it keeps its data, below its directory.
pub(super) const METADATA: &str = "metadata";
pub(super) const LEDGERS: &str = "ledgers";

/// How a Pulsar is to be configured. By default anybody may do anything, and a topic that a client
/// names comes into being, with no partitions.
#[derive(Clone, Debug, Default)]
pub struct PulsarOptions {
    settings: String,
    users: Vec<String>,
    pub(super) tls: bool,
}

impl PulsarOptions {
    /// Takes only this user and others that are named so, by their tokens
    /// ([`super::Pulsar::token`]). Each may do everything.
    pub fn user(mut self, name: &str) -> Self {
        self.users.push(name.to_owned());
        self
    }

    /// Speaks TLS too, on ports of its own and with certificates made for it:
    /// [`super::Pulsar::tls_addresses`], [`super::Pulsar::certificates`].
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// A topic that a client names has to be there.
    pub fn without_auto_create(self) -> Self {
        self.set("allowAutoTopicCreation", "false")
    }

    /// Any other line of `standalone.conf`.
    pub fn set(mut self, setting: &str, value: &str) -> Self {
        self.settings.push_str(&format!("{setting}={value}\n"));
        self
    }

    /// The text of `standalone.conf`.
    pub(super) fn configuration(&self, place: &Place) -> String {
        let mut lines = vec![
            format!("brokerServicePort={}", place.port()),
            format!("webServicePort={}", place.further_port(ADMIN_PORT)),
            format!("narExtractionDirectory={}", place.directory().display()),
        ];
        lines.extend(SMALL.iter().map(|line| (*line).to_owned()));
        if self.tls {
            lines.extend(speaking_tls(place));
        }
        if self.has_users() {
            lines.extend(self.knowing_users());
        }
        lines.push(self.settings.clone());
        lines.join("\n") + "\n"
    }

    /// Whether it is to know who comes.
    pub(super) fn has_users(&self) -> bool {
        !self.users.is_empty()
    }

    fn knowing_users(&self) -> Vec<String> {
        let authentication = "org.apache.pulsar.broker.authentication.AuthenticationProviderToken";
        let own = "org.apache.pulsar.client.impl.auth.AuthenticationToken";
        vec![
            "authenticationEnabled=true".to_owned(),
            "authorizationEnabled=true".to_owned(),
            format!("authenticationProviders={authentication}"),
            format!("tokenSecretKey={}", token::secret_url()),
            format!("superUserRoles={SUPERUSER},{}", self.users.join(",")),
            format!("brokerClientAuthenticationPlugin={own}"),
            format!(
                "brokerClientAuthenticationParameters=token:{}",
                token::of(SUPERUSER)
            ),
        ]
    }
}

fn speaking_tls(place: &Place) -> Vec<String> {
    let file = |name: &str| place.directory().join(name).display().to_string();
    vec![
        format!("brokerServicePortTls={}", place.further_port(TLS_PORT)),
        format!("webServicePortTls={}", place.further_port(ADMIN_TLS_PORT)),
        format!(
            "tlsCertificateFilePath={}",
            file(Certificates::CERTIFICATE_FILE)
        ),
        format!("tlsKeyFilePath={}", file(Certificates::KEY_FILE)),
        format!(
            "tlsTrustCertsFilePath={}",
            file(Certificates::AUTHORITY_FILE)
        ),
    ]
}

/// What all in one process on loopback with little memory and disk wants.
const SMALL: &[&str] = &[
    "clusterName=standalone",
    "bindAddress=127.0.0.1",
    "advertisedAddress=127.0.0.1",
    "listeningInterface=lo",
    "allowLoopback=true",
    // Otherwise the storage takes another port than the one it was given.
    "allowEphemeralPorts=true",
    "managedLedgerDefaultEnsembleSize=1",
    "managedLedgerDefaultWriteQuorum=1",
    "managedLedgerDefaultAckQuorum=1",
    "loadManagerClassName=org.apache.pulsar.broker.loadbalance.NoopLoadManager",
    "loadBalancerEnabled=false",
    "webSocketServiceEnabled=false",
    "ledgerStorageClass=org.apache.bookkeeper.bookie.storage.ldb.DbLedgerStorage",
    "dbStorage_writeCacheMaxSizeMb=16",
    "dbStorage_readAheadCacheMaxSizeMb=16",
    "dbStorage_rocksDB_blockCacheSize=8388608",
    "managedLedgerCacheSizeMB=16",
    // What is killed here is the process, not the machine.
    "journalSyncData=false",
    "journalMaxGroupWaitMSec=1",
    "journalPreAllocSizeMB=1",
    "entryLogFilePreallocationEnabled=false",
    "diskUsageThreshold=0.99",
    "diskUsageWarnThreshold=0.99",
    "numIOThreads=2",
    "numHttpServerThreads=8",
    "numOrderedExecutorThreads=2",
    "numExecutorThreadPoolSize=2",
    "topicOrderedExecutorThreadNum=2",
    "brokerShutdownTimeoutMs=3000",
];
