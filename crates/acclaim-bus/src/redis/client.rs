//! One server, by a connection that all calls share and that is made anew when it breaks. Where there
//! are Sentinels, each new connection leads to whom they call the master then.
//!
//! Nothing is ever sent twice from here: who calls knows what may be repeated.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ClientTlsConfig, Cmd, ConnectionAddr, FromRedisValue,
    IntoConnectionInfo, RedisConnectionInfo, TlsCertificates, Value, cmd,
};
use tokio::sync::Mutex;
use tokio::time::timeout_at;

use super::failure::Failure;
use super::script::Call;
use crate::error::{OpenError, TopicAt};
use crate::limits::Limits;
use crate::url::{Address, BusUrl, Credentials, Tls};

/// A server.
pub struct Client {
    access: Access,
    hosts: Vec<Address>,
    /// By which name Sentinels know the master, where there are some.
    master: Option<String>,
    limits: Limits,
    link: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    made: u64,
    current: Option<MultiplexedConnection>,
}

/// A connection, and which one it is.
struct Link {
    number: u64,
    connection: MultiplexedConnection,
}

impl Client {
    /// Nothing is connected yet.
    pub fn new(url: &BusUrl, limits: &Limits) -> Result<Self, OpenError> {
        let settings = |why| OpenError::Settings {
            at: TopicAt::events(url),
            why,
        };
        let client = Self {
            access: Access::new(url).map_err(settings)?,
            hosts: url.hosts.clone(),
            master: url.master.clone(),
            limits: limits.clone(),
            link: Mutex::default(),
        };
        // What the library does not take is known now and not at the first call.
        let taken = client.access.server(&client.hosts[0], Login::Full);
        taken.map_err(settings)?;
        Ok(client)
    }

    /// The limits that it was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A connection of one's own.
    pub async fn connect(&self, deadline: Instant) -> Result<MultiplexedConnection, Failure> {
        let Some(name) = &self.master else {
            // A URL has at least one host.
            return self.connect_to(&self.hosts[0], Login::Full, deadline).await;
        };
        let address = self.find_master(name, deadline).await?;
        let mut connection = self.connect_to(&address, Login::Full, deadline).await?;
        let question = cmd("ROLE");
        let asked = question.query_async::<Vec<Value>>(&mut connection);
        let role = timeout_at(deadline.into(), asked).await;
        let role = role.map_err(|_elapsed| Failure::Silent)?;
        let role = role.map_err(|error| Failure::of_call(&error))?;
        // Sentinels may name a server that is none yet, or no longer.
        match role.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(connection),
            _ => Err(Failure::Away(format!(
                "the Sentinels name {address} for {name:?}, which is not a master"
            ))),
        }
    }

    async fn connect_to(
        &self,
        address: &Address,
        login: Login,
        deadline: Instant,
    ) -> Result<MultiplexedConnection, Failure> {
        let server = self
            .access
            .server(address, login)
            .map_err(Failure::Refused)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let connecting = server.get_multiplexed_async_connection_with_config(&config);
        let connected = timeout_at(deadline.into(), connecting).await;
        let connected = connected.map_err(|_elapsed| Failure::Away("no answer".to_owned()))?;
        connected.map_err(|error| Failure::of_connecting(&error))
    }

    /// Whom the first Sentinel that answers calls the master.
    async fn find_master(&self, name: &str, deadline: Instant) -> Result<Address, Failure> {
        let mut failure = Failure::Silent;
        for host in &self.hosts {
            let others = u32::try_from(self.hosts.len()).unwrap_or(1);
            let left = deadline.saturating_duration_since(Instant::now());
            // One that hangs leaves some of the time to the others.
            let share = Instant::now() + left / others;
            // Sentinels often ask for no password, and refuse one that is given then.
            let mut found = self.ask_sentinel(host, Login::Nobody, name, share).await;
            if matches!(found, Err(Failure::Distrust(_))) && self.access.has_password() {
                found = self
                    .ask_sentinel(host, Login::NoDatabase, name, share)
                    .await;
            }
            match found {
                Ok(Some(address)) => return Ok(address),
                Ok(None) => {
                    failure = Failure::Away(format!("no Sentinel knows a master {name:?}"));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn ask_sentinel(
        &self,
        host: &Address,
        login: Login,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<Address>, Failure> {
        let mut connection = self.connect_to(host, login, deadline).await?;
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let asked = question.query_async::<Option<(String, u16)>>(&mut connection);
        let asked = timeout_at(deadline.into(), asked).await;
        let told = asked.map_err(|_elapsed| Failure::Silent)?;
        let told = told.map_err(|error| Failure::of_call(&error))?;
        Ok(told.map(|(host, port)| Address { host, port }))
    }

    async fn link(&self, deadline: Instant) -> Result<Link, Failure> {
        let locked = timeout_at(deadline.into(), self.link.lock()).await;
        let mut links = locked.map_err(|_elapsed| Failure::Away("no answer".to_owned()))?;
        let connection = match &links.current {
            Some(connection) => connection.clone(),
            None => {
                let connection = self.connect(deadline).await?;
                links.made += 1;
                links.current.insert(connection).clone()
            }
        };
        Ok(Link {
            number: links.made,
            connection,
        })
    }

    /// Gives a connection up, unless another is in its place already.
    async fn give_up(&self, number: u64) {
        // Who connects at this moment has given it up, too.
        if let Ok(mut links) = self.link.try_lock()
            && links.made == number
        {
            links.current = None;
        }
    }

    async fn answered<T>(
        &self,
        number: u64,
        deadline: Instant,
        asked: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, Failure> {
        let failure = match timeout_at(deadline.into(), asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Failure::of_call(&error),
            Err(_elapsed) => Failure::Silent,
        };
        if failure.ends_connection() {
            self.give_up(number).await;
        }
        Err(failure)
    }

    /// Calls a script.
    pub async fn call<T: FromRedisValue>(
        &self,
        call: &Call,
        deadline: Instant,
    ) -> Result<T, Failure> {
        let mut link = self.link(deadline).await?;
        let asked = call.invocation().invoke_async(&mut link.connection);
        self.answered(link.number, deadline, asked).await
    }

    /// Asks something.
    pub async fn ask<T: FromRedisValue>(&self, cmd: &Cmd, deadline: Instant) -> Result<T, Failure> {
        let mut link = self.link(deadline).await?;
        let asked = cmd.query_async(&mut link.connection);
        self.answered(link.number, deadline, asked).await
    }

    /// The end of a call that begins now.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.limits.question_time()
    }

    /// For how long whoever gives no sign of life is taken to live.
    pub fn session(&self) -> Duration {
        Duration::from_millis(self.limits.session_timeout_millis)
    }
}

/// How servers are connected to.
struct Access {
    credentials: Option<Credentials>,
    database: u16,
    /// Where TLS is spoken.
    tls: Option<TlsCertificates>,
}

/// As whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Login {
    /// User, password and database.
    Full,
    /// User and password.
    NoDatabase,
    Nobody,
}

impl Access {
    fn new(url: &BusUrl) -> Result<Self, String> {
        Ok(Self {
            credentials: url.credentials.clone(),
            database: url.database,
            tls: url.tls.as_ref().map(certificates).transpose()?,
        })
    }

    fn has_password(&self) -> bool {
        self.credentials.is_some()
    }

    /// A server, or why it cannot be one.
    fn server(&self, address: &Address, login: Login) -> Result<redis::Client, String> {
        let mut settings = RedisConnectionInfo::default();
        if login == Login::Full {
            settings = settings.set_db(self.database.into());
        }
        if let Some(credentials) = self.credentials.as_ref().filter(|_| login != Login::Nobody) {
            settings = settings.set_password(&credentials.password);
            if !credentials.user.is_empty() {
                settings = settings.set_username(&credentials.user);
            }
        }
        let Address { host, port } = address.clone();
        let place = match &self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
        };
        let said = |error: redis::RedisError| error.to_string();
        let info = place.into_connection_info().map_err(said)?;
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_tcp_settings(tcp).set_redis_settings(settings);
        match &self.tls {
            Some(tls) => redis::Client::build_with_tls(info, tls.clone()).map_err(said),
            None => redis::Client::open(info).map_err(said),
        }
    }
}

fn certificates(tls: &Tls) -> Result<TlsCertificates, String> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let client_tls = match &tls.certificate {
        None => None,
        Some((certificate, key)) => Some(ClientTlsConfig {
            client_cert: read(certificate)?,
            client_key: read(key)?,
        }),
    };
    Ok(TlsCertificates {
        client_tls,
        root_cert: tls.ca.as_ref().map(read).transpose()?,
    })
}
