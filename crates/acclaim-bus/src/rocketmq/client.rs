//! Being connected to name servers and brokers, and asking them.
//!
//! Brokers are known by their names; where they are the name servers say, and are asked again after
//! a broker has not answered.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::connection::{Answer, Connection, Request, Stream};
use super::failure::{Failure, TOPIC_NOT_EXIST};
use super::route::{Queue, Route};
use super::sign::sign;
use crate::error::{OpenError, TopicAt};
use crate::tls;
use crate::url::BusUrl;

const ROUTE: i32 = 105;
/// The part of a request's time that finding its broker again may take.
const FIND_SHARE: u32 = 4;

/// What is known of the brokers.
struct Known {
    addresses: BTreeMap<String, String>,
    /// The topic that they are found by.
    topic: String,
    /// Whether one of them did not answer since.
    doubted: bool,
}

/// Connections to the servers of a RocketMQ. Dropping it closes those that nobody else has.
pub struct Client {
    url: BusUrl,
    tls: Option<TlsConnector>,
    connections: Mutex<HashMap<String, Arc<Connection>>>,
    known: Mutex<Known>,
    /// Told when a broker says that the members of a group are others now.
    pub members_changed: Arc<Notify>,
}

impl Client {
    /// Nothing is connected yet, and brokers are found by this topic.
    pub fn new(url: &BusUrl, topic: &str) -> Result<Self, OpenError> {
        let tls = url.tls.as_ref().map(tls::connector).transpose();
        Ok(Self {
            url: url.clone(),
            tls: tls.map_err(|why| OpenError::Settings {
                at: TopicAt::events(url),
                why,
            })?,
            connections: Mutex::default(),
            known: Mutex::new(Known {
                addresses: BTreeMap::new(),
                topic: topic.to_owned(),
                doubted: false,
            }),
            members_changed: Arc::default(),
        })
    }

    /// The queues of a topic that may be written, in their order; nothing where there is no such
    /// topic.
    pub async fn queues(
        &self,
        topic: &str,
        deadline: Instant,
    ) -> Result<Option<Vec<Queue>>, Failure> {
        let fields = [
            ("topic", topic.to_owned()),
            ("acceptStandardJsonOnly", "true".to_owned()),
        ];
        let answer = self
            .ask_name_servers(Request::new(ROUTE, fields), deadline)
            .await?;
        if answer.code == TOPIC_NOT_EXIST {
            return Ok(None);
        }
        let answer = answer.success()?;
        let route: Route = serde_json::from_slice(&answer.body).map_err(|error| {
            Failure::Unreadable(format!("where {topic} is cannot be read: {error}"))
        })?;
        let mut known = self.known.lock();
        known.addresses.extend(route.masters());
        topic.clone_into(&mut known.topic);
        known.doubted = false;
        Ok(Some(route.queues()))
    }

    async fn ask_name_servers(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let mut failure = Failure::Silent;
        for host in &self.url.hosts {
            let others = u32::try_from(self.url.hosts.len()).unwrap_or(1);
            let left = deadline.saturating_duration_since(Instant::now());
            // One that hangs leaves some of the time to the others.
            let share = Instant::now() + left / others;
            match self.ask_at(&host.to_string(), request.clone(), share).await {
                Ok(answer) => return Ok(answer),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Asks a broker.
    pub async fn ask(
        &self,
        broker: &str,
        request: Request,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let address = self.address(broker, deadline).await?;
        let answer = self.ask_at(&address, request, deadline).await;
        if let Err(Failure::Broken(_) | Failure::Silent) = answer {
            self.known.lock().doubted = true;
        }
        answer
    }

    /// Connects to a broker, where that is not done.
    pub async fn reach(&self, broker: &str, deadline: Instant) -> Result<(), Failure> {
        let address = self.address(broker, deadline).await?;
        let connected = self.connected(&address, deadline).await;
        if connected.is_err() {
            self.known.lock().doubted = true;
        }
        connected.map(|_| ())
    }

    /// Where a broker is.
    async fn address(&self, broker: &str, deadline: Instant) -> Result<String, Failure> {
        let doubted = {
            let known = self.known.lock();
            let doubted = known.doubted || !known.addresses.contains_key(broker);
            doubted.then(|| known.topic.clone())
        };
        if let Some(topic) = doubted {
            let left = deadline.saturating_duration_since(Instant::now());
            let asked = self.queues(&topic, Instant::now() + left / FIND_SHARE);
            // Without an answer it may still be where it was.
            if let Err(failure) = asked.await {
                tracing::debug!("RocketMQ: where {broker} is now is not known: {failure}");
            }
        }
        let address = self.known.lock().addresses.get(broker).cloned();
        address.ok_or_else(|| Failure::Broken(format!("no name server knows the broker {broker}")))
    }

    /// Asks the server at an address. One that is silent is connected to anew the next time.
    async fn ask_at(
        &self,
        address: &str,
        mut request: Request,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        if let Some(credentials) = &self.url.credentials {
            sign(&mut request, credentials)?;
        }
        let connection = self.connected(address, deadline).await?;
        let answer = connection.ask(&request, deadline).await;
        if let Err(Failure::Silent) = answer {
            connection.give_up();
        }
        answer
    }

    /// A connection to the server at an address.
    async fn connected(
        &self,
        address: &str,
        deadline: Instant,
    ) -> Result<Arc<Connection>, Failure> {
        {
            let mut connections = self.connections.lock();
            connections.retain(|_, connection| !connection.is_broken());
            if let Some(connection) = connections.get(address) {
                return Ok(Arc::clone(connection));
            }
        }
        let connecting = timeout_at(deadline.into(), self.connect(address)).await;
        let connection = Arc::new(connecting.map_err(|_elapsed| Failure::Silent)??);
        let mut connections = self.connections.lock();
        // Somebody else may have been faster; then this one is closed.
        let kept = connections.entry(address.to_owned()).or_insert(connection);
        Ok(Arc::clone(kept))
    }

    async fn connect(&self, address: &str) -> Result<Connection, Failure> {
        let broken = |error: std::io::Error| Failure::Broken(error.to_string());
        let stream = TcpStream::connect(address).await.map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
                let host = host
                    .trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned();
                let name = ServerName::try_from(host);
                let name = name.map_err(|error| Failure::Distrust(error.to_string()))?;
                let shaken = tls.connect(name, stream).await;
                Box::new(shaken.map_err(shaking)?)
            }
        };
        Ok(Connection::new(stream, Arc::clone(&self.members_changed)))
    }
}

/// A server that goes away while it shakes hands is not one that is not trusted.
fn shaking(error: std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe => {
            Failure::Broken(error.to_string())
        }
        _ => Failure::Distrust(error.to_string()),
    }
}
