//! Which bus, where, and how it is talked to: the URL as it is configured, taken apart.
//!
//! `kafka://[user:password@]host[:port][,host[:port]…][?option=value&…]`, and the same with
//! `pulsar` and `rocketmq` (whose hosts are name servers). `redis://[[user]:password@]host[:port]
//! [/database][?…]` is one server, `redis+sentinel://…host[:port],…/master-name[/database][?…]` the
//! master that Sentinels know by that name, and `rediss` in the place of `redis` the same over TLS.
//! [`OPTIONS`] are the options. What would part the URL is written in percent-encoding inside user,
//! password and options.
//!
//! An error names the part that is wrong. No text that could be a piece of a password is ever
//! shown: not in an error, not by `Debug`.

mod options;

use std::fmt;
use std::path::PathBuf;

use acclaim_core::address::AddressError;
use percent_encoding::percent_decode_str;

pub use acclaim_core::address::Address;
use options::Options;

/// Every option, for the message about one that there is not.
pub const OPTIONS: &[&str] = &[
    "topic",
    "dead",
    "create",
    "partitions",
    "replicas",
    "tls",
    "ca",
    "certificate",
    "key",
    "sasl",
    "admin",
];
/// The topic where none is named.
pub const DEFAULT_TOPIC: &str = "acclaim";
/// What the name of the dead-letter topic adds to the topic's where it is not named.
pub const DEAD_SUFFIX: &str = "-dead";
/// The partitions of a topic that is made, where nothing is said.
pub const DEFAULT_PARTITIONS: u16 = 16;
/// The most partitions of a topic that is made.
pub const MAX_PARTITIONS: u16 = 1_024;
/// The ports of Pulsar's administration where nothing is said.
pub const ADMIN_PORT: u16 = 8_080;
/// The same over TLS.
pub const ADMIN_TLS_PORT: u16 = 8_443;
/// The port of a Sentinel that names none.
pub const SENTINEL_PORT: u16 = 26_379;
/// The longest name of a topic or group, in bytes: what every bus takes.
pub const MAX_NAME_BYTES: usize = 127;

/// Which bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BusKind {
    /// Apache Kafka, and what speaks its protocol.
    Kafka,
    /// Apache Pulsar.
    Pulsar,
    /// Apache RocketMQ 5, through its name server.
    RocketMq,
    /// Redis Streams.
    Redis,
}

impl BusKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kafka, Self::Pulsar, Self::RocketMq, Self::Redis];

    /// The scheme of its URLs.
    #[must_use]
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Pulsar => "pulsar",
            Self::RocketMq => "rocketmq",
            Self::Redis => "redis",
        }
    }

    /// The port of a host that names none.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Kafka => 9_092,
            Self::Pulsar => 6_650,
            Self::RocketMq => 9_876,
            Self::Redis => 6_379,
        }
    }
}

impl fmt::Display for BusKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kafka => "Kafka",
            Self::Pulsar => "Pulsar",
            Self::RocketMq => "RocketMQ",
            Self::Redis => "Redis",
        })
    }
}

/// How a user of Kafka proves who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sasl {
    /// The password as it is; only over TLS does nobody else read it.
    #[default]
    Plain,
    /// A challenge, by SHA-256.
    ScramSha256,
    /// A challenge, by SHA-512.
    ScramSha512,
}

/// Files of TLS, in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who may sign the bus's certificate; without it those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its key, where the bus asks for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// A user and their password (Pulsar: its token; RocketMQ: access key and secret key).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user; empty where the bus knows only a token.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("password", &"…")
            .finish()
    }
}

/// Which bus, where, and how it is talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusUrl {
    /// Which one.
    pub kind: BusKind,
    /// Its brokers, or name servers, or the one server of Redis, or its Sentinels. At least one.
    pub hosts: Vec<Address>,
    /// As whom; nobody where `None`.
    pub credentials: Option<Credentials>,
    /// How they prove it. Kafka's.
    pub sasl: Sasl,
    /// TLS, where it is spoken.
    pub tls: Option<Tls>,
    /// The topic of the events.
    pub topic: String,
    /// The topic of the dead letters.
    pub dead_topic: String,
    /// Whether topics that are not there are made.
    pub create: bool,
    /// How many partitions a topic that is made gets.
    pub partitions: u16,
    /// How many copies a topic that is made gets; as the bus is configured where `None`. Kafka's.
    pub replicas: Option<u16>,
    /// Where it is administered, which is where topics are made. Pulsar's; beside its first broker
    /// where `None`.
    pub admin: Option<Address>,
    /// The number of the database. Redis's.
    pub database: u16,
    /// By which name Sentinels know the master; none where there are no Sentinels. Redis's.
    pub master: Option<String>,
}

/// The part of a URL that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusUrlError {
    /// It does not begin with the scheme of a bus.
    #[error(
        "the URL of the bus begins with none of kafka://, pulsar://, rocketmq://, redis://, \
         rediss://, redis+sentinel://, rediss+sentinel://"
    )]
    Scheme,
    /// A Cluster of Redis.
    #[error(
        "the URL of the bus begins with {0}://, but the bus on Redis Streams is one server, or the \
         master that Sentinels know: redis://host:port or \
         redis+sentinel://host:port,host:port/master-name"
    )]
    Cluster(&'static str),
    /// Sentinels are asked for a master by its name.
    #[error(
        "the URL of the bus has no name of a master: \
         redis+sentinel://host:port,host:port/master-name"
    )]
    MasterName,
    /// More than one server of Redis.
    #[error("the URL of the bus names {0} hosts, but redis:// takes one")]
    Hosts(usize),
    /// The database is none.
    // Its text is not shown either: it may be a part of a password.
    #[error("the database in the URL of the bus is not a number from 0 to 65535")]
    Database,
    /// User or password cannot be read.
    #[error(
        "user and password in the URL of the bus cannot be read; they are UTF-8, and / ? # @ in \
         them and in options are written %2F %3F %23 %40"
    )]
    Credentials,
    /// A user without a password, or the other way round where the bus has users.
    #[error("the URL of the bus has {0} without {1}: user:password@host:port")]
    HalfCredentials(&'static str, &'static str),
    /// There is a path or a fragment.
    #[error("the URL of the bus has {0:?} behind its hosts; only ? and options may come there")]
    Path(char),
    /// A host is none.
    #[error("in the URL of the bus {0}")]
    Host(#[from] AddressError),
    /// An option that there is not.
    #[error("the URL of the bus has the option {given:?}; there are {}", OPTIONS.join(", "))]
    Option {
        /// Its name.
        given: String,
    },
    /// An option comes twice.
    #[error("the URL of the bus has the option {0} twice")]
    Twice(&'static str),
    /// An option of another bus.
    #[error("the URL of the bus has the option {option}, which {kind} does not have")]
    NotOfThisBus {
        /// The option.
        option: &'static str,
        /// The bus.
        kind: BusKind,
    },
    /// An option says what it cannot.
    #[error("the option {option} in the URL of the bus is {given:?}; it is {expected}")]
    Value {
        /// The option.
        option: &'static str,
        /// What it says.
        given: String,
        /// What it would have to be.
        expected: &'static str,
    },
    /// An option asks for another one.
    #[error("the URL of the bus has the option {0} without {1}")]
    Needs(&'static str, &'static str),
}

impl BusUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`BusUrlError`] names the part that is wrong.
    pub fn parse(url: &str) -> Result<Self, BusUrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(BusUrlError::Scheme)?;
        let Scheme {
            kind,
            over_tls,
            has_sentinels,
        } = read_scheme(scheme)?;
        // Whatever is before the last @ may be secret, so it is taken off before anything that is
        // wrong is shown.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (read_credentials(credentials, kind)?, rest),
            None => (None, rest),
        };
        let (hosts, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, path) = match kind {
            BusKind::Redis => hosts.split_once('/').unwrap_or((hosts, "")),
            _ => (hosts, ""),
        };
        if let Some(mark) = hosts.chars().find(|c| matches!(c, '/' | '#')) {
            return Err(BusUrlError::Path(mark));
        }
        if query.contains('#') {
            return Err(BusUrlError::Path('#'));
        }
        let default_port = match has_sentinels {
            true => SENTINEL_PORT,
            false => kind.default_port(),
        };
        let hosts = Address::read_list(hosts, default_port)?;
        if kind == BusKind::Redis && !has_sentinels && hosts.len() != 1 {
            return Err(BusUrlError::Hosts(hosts.len()));
        }
        let (master, database) = match has_sentinels {
            true => read_master(path)?,
            false => (None, read_database(path)?),
        };
        let mut options = Options::read(query)?;
        options.refuse_of_others(kind, credentials.is_some())?;
        let topic = options
            .name("topic")?
            .unwrap_or_else(|| DEFAULT_TOPIC.to_owned());
        let dead = options.name("dead")?;
        let partitions = options.number("partitions", MAX_PARTITIONS, "a number from 1 to 1024")?;
        let tls = options.tls(over_tls)?;
        Ok(Self {
            kind,
            hosts,
            credentials,
            sasl: options.sasl()?,
            dead_topic: dead.unwrap_or_else(|| format!("{topic}{DEAD_SUFFIX}")),
            topic,
            create: options.flag("create")?.unwrap_or(true),
            partitions: partitions.unwrap_or(DEFAULT_PARTITIONS),
            replicas: options.number("replicas", 32, "a number from 1 to 32")?,
            admin: options.address("admin", tls.is_some())?,
            tls,
            database,
            master,
        })
    }

    /// The hosts, joined by commas.
    #[must_use]
    pub fn host_list(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(Address::to_string).collect();
        hosts.join(",")
    }
}

/// Whether a text can be the name of a topic or group on every bus.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.chars().all(allowed)
}

fn decode(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    (!text.contains('\0')).then(|| text.into_owned())
}

/// What a scheme says.
struct Scheme {
    kind: BusKind,
    over_tls: bool,
    has_sentinels: bool,
}

fn read_scheme(scheme: &str) -> Result<Scheme, BusUrlError> {
    let (kind, over_tls, has_sentinels) = match scheme {
        "rediss" => (BusKind::Redis, true, false),
        "redis+sentinel" => (BusKind::Redis, false, true),
        "rediss+sentinel" => (BusKind::Redis, true, true),
        "redis+cluster" => return Err(BusUrlError::Cluster("redis+cluster")),
        "rediss+cluster" => return Err(BusUrlError::Cluster("rediss+cluster")),
        scheme => {
            let mut kinds = BusKind::ALL.into_iter();
            let kind = kinds.find(|kind| kind.scheme() == scheme);
            (kind.ok_or(BusUrlError::Scheme)?, false, false)
        }
    };
    Ok(Scheme {
        kind,
        over_tls,
        has_sentinels,
    })
}

/// The name of a master, and the database behind it.
fn read_master(path: &str) -> Result<(Option<String>, u16), BusUrlError> {
    let (name, database) = path.split_once('/').unwrap_or((path, ""));
    let name = decode(name).filter(|name| !name.is_empty());
    let name = name.ok_or(BusUrlError::MasterName)?;
    Ok((Some(name), read_database(database)?))
}

fn read_database(text: &str) -> Result<u16, BusUrlError> {
    match text {
        "" => Ok(0),
        text => text.parse().map_err(|_| BusUrlError::Database),
    }
}

fn read_credentials(text: &str, kind: BusKind) -> Result<Option<Credentials>, BusUrlError> {
    if text.contains(['/', '?', '#', '@']) {
        return Err(BusUrlError::Credentials);
    }
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let user = decode(user).ok_or(BusUrlError::Credentials)?;
    let password = decode(password).ok_or(BusUrlError::Credentials)?;
    match (user.is_empty(), password.is_empty()) {
        (true, true) => Ok(None),
        (false, true) => Err(BusUrlError::HalfCredentials("a user", "a password")),
        (true, false) if !matches!(kind, BusKind::Pulsar | BusKind::Redis) => {
            Err(BusUrlError::HalfCredentials("a password", "a user"))
        }
        _ => Ok(Some(Credentials { user, password })),
    }
}

/// Reads `host[:port]`, where the port of the administration is that of HTTP by default.
fn read_admin(text: &str, tls: bool) -> Option<Address> {
    let port = if tls { ADMIN_TLS_PORT } else { ADMIN_PORT };
    let plain = !text.contains(['/', '@', '?', '#', ',']);
    let mut read = Address::read_list(text, port).ok().filter(|_| plain)?;
    read.pop()
}

#[cfg(test)]
mod tests;
