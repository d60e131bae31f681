//! Where Redis is: the URL as it is configured, taken apart.
//!
//! | URL | |
//! |---|---|
//! | `redis://[user[:password]@]host[:port][/db]` | one server |
//! | `redis+cluster://[user[:password]@]host[:port],host[:port]` | some nodes of a Cluster; the others are found |
//! | `redis+sentinel://[user[:password]@]host[:port],host[:port]/master-name[/db]` | Sentinels that know a master |
//!
//! With `rediss` in the place of `redis` everything is TLS. An error names the part of the URL that
//! is wrong. No text that could be a piece of a password is ever shown: not in an error, not by
//! `Debug`.

use std::fmt;

pub use acclaim_core::address::Address;
use acclaim_core::address::AddressError;
use percent_encoding::percent_decode_str;

const DEFAULT_REDIS_PORT: u16 = 6_379;
const DEFAULT_SENTINEL_PORT: u16 = 26_379;

/// How the servers belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One server.
    Single,
    /// A Cluster.
    Cluster,
    /// A master that Sentinels know by this name.
    Sentinel(String),
}

/// Where Redis is and how it is talked to.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// How the servers belong together.
    pub shape: Shape,
    /// The server; some nodes of the Cluster; the Sentinels. At least one.
    pub hosts: Vec<Address>,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The user, where one is named.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The number of the database. A Cluster has only 0.
    pub database: u16,
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "…");
        f.debug_struct("RedisUrl")
            .field("shape", &self.shape)
            .field("hosts", &self.hosts)
            .field("tls", &self.tls)
            .field("user", &self.user)
            .field("password", &password)
            .field("database", &self.database)
            .finish()
    }
}

/// The part of a URL that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// It does not begin with a scheme that Redis has.
    #[error(
        "the URL of Redis begins with none of redis://, rediss://, redis+cluster://, \
         rediss+cluster://, redis+sentinel://, rediss+sentinel://"
    )]
    Scheme,
    /// The user cannot be read.
    #[error("the user in the URL of Redis is not UTF-8 in percent-encoding")]
    User,
    /// The password cannot be read.
    #[error(
        "the password in the URL of Redis cannot be read; write / ? # and @ in it in \
         percent-encoding: %2F %3F %23 %40"
    )]
    Password,
    /// A host is none.
    #[error("in the URL of Redis {0}")]
    Host(#[from] AddressError),
    /// A `redis://` URL has more than one host.
    #[error(
        "the URL of Redis names {0} hosts, but redis:// takes one; \
         several are written redis+cluster:// or redis+sentinel://"
    )]
    Hosts(usize),
    /// The database is none.
    #[error("the database {0:?} in the URL of Redis is not a number from 0 to 65535")]
    Database(String),
    /// A Cluster has no databases.
    #[error("the URL of Redis asks for database {0:?}, but a Cluster has only one")]
    ClusterDatabase(String),
    /// Sentinels are asked for a master by its name.
    #[error(
        "the URL of Redis has no name of a master: \
         redis+sentinel://host:port,host:port/master-name"
    )]
    MasterName,
    /// There is something behind `?` or `#`.
    #[error("the URL of Redis has options behind {0:?}, but there are none")]
    Options(char),
}

impl RedisUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`RedisUrlError`] names the part that is wrong.
    pub fn parse(url: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(RedisUrlError::Scheme)?;
        let (tls, kind) = match scheme.strip_prefix("rediss") {
            Some(kind) => (true, kind),
            None => (
                false,
                scheme.strip_prefix("redis").ok_or(RedisUrlError::Scheme)?,
            ),
        };
        // Whatever is before the last @ may be secret, so it is taken off before anything that is
        // wrong is shown.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (user, password) = read_credentials(credentials)?;
        if let Some(mark) = rest.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(RedisUrlError::Options(mark));
        }
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (shape, database) = match kind {
            "" => (Shape::Single, read_database(path)?),
            "+cluster" => match path {
                "" | "0" => (Shape::Cluster, 0),
                other => return Err(RedisUrlError::ClusterDatabase(other.to_owned())),
            },
            "+sentinel" => {
                let (name, database) = path.split_once('/').unwrap_or((path, ""));
                if name.is_empty() {
                    return Err(RedisUrlError::MasterName);
                }
                (Shape::Sentinel(name.to_owned()), read_database(database)?)
            }
            _ => return Err(RedisUrlError::Scheme),
        };
        let default_port = match shape {
            Shape::Sentinel(_) => DEFAULT_SENTINEL_PORT,
            Shape::Single | Shape::Cluster => DEFAULT_REDIS_PORT,
        };
        let hosts = Address::read_list(hosts, default_port)?;
        if shape == Shape::Single && hosts.len() != 1 {
            return Err(RedisUrlError::Hosts(hosts.len()));
        }
        Ok(Self {
            shape,
            hosts,
            tls,
            user,
            password,
            database,
        })
    }
}

type Credentials = (Option<String>, Option<String>);

fn read_credentials(text: Option<&str>) -> Result<Credentials, RedisUrlError> {
    let Some(text) = text else {
        return Ok((None, None));
    };
    if text.contains(['/', '?', '#', '@']) {
        return Err(RedisUrlError::Password);
    }
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (text, None),
    };
    let decode = |text: &str| percent_decode_str(text).decode_utf8().map(String::from);
    let user = decode(user).map_err(|_| RedisUrlError::User)?;
    let password = password.map(decode).transpose();
    let password = password.map_err(|_| RedisUrlError::Password)?;
    Ok((
        (!user.is_empty()).then_some(user),
        password.filter(|password| !password.is_empty()),
    ))
}

fn read_database(text: &str) -> Result<u16, RedisUrlError> {
    match text {
        "" => Ok(0),
        text => text
            .parse()
            .map_err(|_| RedisUrlError::Database(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Vec<String> {
        let url = RedisUrl::parse(url).unwrap();
        url.hosts.iter().map(Address::to_string).collect()
    }

    #[test]
    fn one_server() {
        let url = RedisUrl::parse("redis://an%3Ana:p%40ss:word@cache.example:6380/7").unwrap();
        assert_eq!(
            (url.shape, url.tls, url.database),
            (Shape::Single, false, 7)
        );
        assert_eq!(url.user.as_deref(), Some("an:na"));
        assert_eq!(url.password.as_deref(), Some("p@ss:word"));
        assert_eq!(url.hosts[0].to_string(), "cache.example:6380");
        let url = RedisUrl::parse("rediss://:secret@[::1]").unwrap();
        assert_eq!((url.tls, url.user), (true, None));
        assert_eq!(url.hosts[0].to_string(), "[::1]:6379");
    }

    #[test]
    fn several() {
        let nodes = "redis+cluster://a:1,b,[fe80::1]:3";
        assert_eq!(hosts(nodes), ["a:1", "b:6379", "[fe80::1]:3"]);
        let url = RedisUrl::parse("rediss+sentinel://u:p@a,b:2/main/3").unwrap();
        assert_eq!(url.shape, Shape::Sentinel("main".to_owned()));
        assert_eq!((url.tls, url.database), (true, 3));
        assert_eq!(hosts("redis+sentinel://a,b:2/main"), ["a:26379", "b:2"]);
    }

    #[test]
    fn an_error_names_the_part() {
        use RedisUrlError as Wrong;
        for (url, wrong) in [
            ("", Wrong::Scheme),
            ("http://a", Wrong::Scheme),
            ("redis+other://a", Wrong::Scheme),
            ("redis://%ff@a", Wrong::User),
            ("redis://u:%ff@a", Wrong::Password),
            ("redis://u:pa/ss@a", Wrong::Password),
            ("redis://u:pa#ss@a", Wrong::Password),
            ("redis://", Wrong::Host(AddressError::Host(1))),
            ("redis+cluster://a,,b", Wrong::Host(AddressError::Host(2))),
            ("redis://a,b", Wrong::Hosts(2)),
            ("redis://a:x", Wrong::Host(AddressError::Port(1))),
            ("redis+cluster://a,b:0", Wrong::Host(AddressError::Port(2))),
            ("redis://a:65536", Wrong::Host(AddressError::Port(1))),
            ("redis://a/x", Wrong::Database("x".to_owned())),
            (
                "redis+cluster://a/1",
                Wrong::ClusterDatabase("1".to_owned()),
            ),
            ("redis+sentinel://a", Wrong::MasterName),
            ("redis+sentinel://a/", Wrong::MasterName),
            ("redis://a?protocol=resp2", Wrong::Options('?')),
        ] {
            assert_eq!(RedisUrl::parse(url), Err(wrong), "{url}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        for url in [
            "redis://user:hunter2@a",
            "redis://user:hunter2/hunter2@a:x",
            "redis://user:hun@hunter2@a:x",
            "redis+cluster://:hunter2@a,b/9",
            "redis+sentinel://:hunter2@a",
            "redis://user:hunter2",
        ] {
            let shown = match RedisUrl::parse(url) {
                Ok(parsed) => format!("{parsed:?}"),
                Err(error) => format!("{error:?} {error}"),
            };
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
