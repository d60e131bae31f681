//! Finding the broker of a topic, and being connected to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pulsar::message::proto::command_lookup_topic_response::LookupType;
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::command;
use super::connection::{Connection, Stream};
use super::failure::Failure;
use crate::error::{OpenError, TopicAt};
use crate::limits::Limits;
use crate::tls;
use crate::url::{Address, BusUrl};

/// How often a broker may send us to another one for one topic.
const MAX_REDIRECTS: usize = 10;

/// Connections to the brokers of a Pulsar. Dropping it closes those that nobody else has.
pub struct Client {
    url: BusUrl,
    limits: Limits,
    tls: Option<TlsConnector>,
    connections: Mutex<HashMap<Place, Arc<Connection>>>,
}

/// Whom a connection leads to: an address, and a broker behind it if a proxy answers there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    address: String,
    behind_proxy: Option<String>,
}

impl Client {
    /// Nothing is connected yet.
    pub fn new(url: &BusUrl, limits: &Limits) -> Result<Self, OpenError> {
        let tls = url.tls.as_ref().map(tls::connector).transpose();
        Ok(Self {
            url: url.clone(),
            limits: limits.clone(),
            tls: tls.map_err(|why| OpenError::Settings {
                at: TopicAt::events(url),
                why,
            })?,
            connections: Mutex::default(),
        })
    }

    /// How TLS is spoken, where it is.
    pub fn tls(&self) -> Option<&TlsConnector> {
        self.tls.as_ref()
    }

    /// How many partitions a topic has; none where there is no such topic, or one without.
    pub async fn partitions(&self, topic: &str, deadline: Instant) -> Result<u32, Failure> {
        let connection = self.entrance(deadline).await?;
        let answer = connection.request(deadline, |number| command::partitions(topic, number));
        let answer = match answer.await {
            Err(Failure::Refused {
                code: pulsar::message::proto::ServerError::TopicNotFound,
                ..
            }) => return Ok(0),
            answer => answer?,
        };
        let metadata = answer.partition_metadata_response;
        Ok(metadata.and_then(|m| m.partitions).unwrap_or(0))
    }

    /// A connection to the broker that has a topic.
    pub async fn broker_of(
        &self,
        topic: &str,
        deadline: Instant,
    ) -> Result<Arc<Connection>, Failure> {
        let mut connection = self.entrance(deadline).await?;
        let mut authoritative = false;
        let mut redirects = 0;
        loop {
            let request = |number| command::lookup(topic, authoritative, number);
            let answer = connection.request(deadline, request).await?;
            let unclear = || Failure::Broken(format!("where {topic} is was not told"));
            let found = answer.lookup_topic_response.ok_or_else(unclear)?;
            let url = match self.tls {
                Some(_) => found.broker_service_url_tls,
                None => found.broker_service_url,
            };
            let url = url.filter(|url| !url.is_empty()).ok_or_else(unclear)?;
            let broker = url.split_once("://").map_or(url.as_str(), |(_, at)| at);
            let is_redirect = found.response == Some(LookupType::Redirect.into());
            if is_redirect {
                redirects = sent_on(topic, redirects)?;
            }
            let next = match found.proxy_through_service_url {
                Some(true) => {
                    let place = Place {
                        address: self.first_host().to_string(),
                        behind_proxy: Some(broker.to_owned()),
                    };
                    self.connected(place, deadline).await?
                }
                _ => self.connected(direct(broker), deadline).await?,
            };
            if !is_redirect {
                return Ok(next);
            }
            authoritative = found.authoritative.unwrap_or(false);
            connection = next;
        }
    }

    fn first_host(&self) -> &Address {
        // A URL has at least one.
        &self.url.hosts[0]
    }

    /// A connection to the first host that answers.
    async fn entrance(&self, deadline: Instant) -> Result<Arc<Connection>, Failure> {
        let mut failure = Failure::Silent;
        for host in &self.url.hosts {
            let others = u32::try_from(self.url.hosts.len()).unwrap_or(1);
            let left = deadline.saturating_duration_since(Instant::now());
            // One that hangs leaves some of the time to the others.
            let share = Instant::now() + left / others;
            match self.connected(direct(&host.to_string()), share).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn connected(&self, place: Place, deadline: Instant) -> Result<Arc<Connection>, Failure> {
        {
            let mut connections = self.connections.lock();
            connections.retain(|_, connection| !connection.is_broken());
            if let Some(connection) = connections.get(&place) {
                return Ok(Arc::clone(connection));
            }
        }
        let connecting = timeout_at(deadline.into(), self.connect(&place)).await;
        let connection = Arc::new(connecting.map_err(|_elapsed| Failure::Silent)??);
        let mut connections = self.connections.lock();
        // Somebody else may have been faster; then this one is closed.
        let kept = connections.entry(place).or_insert(connection);
        Ok(Arc::clone(kept))
    }

    async fn connect(&self, place: &Place) -> Result<Connection, Failure> {
        let broken = |error: std::io::Error| Failure::Broken(error.to_string());
        let stream = TcpStream::connect(&place.address).await.map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let distrust = |error: String| Failure::Distrust(error);
                let host = place.address.rsplit_once(':').map_or("", |(host, _)| host);
                let host = host
                    .trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned();
                let name =
                    ServerName::try_from(host).map_err(|error| distrust(error.to_string()))?;
                let shaken = tls.connect(name, stream).await;
                Box::new(shaken.map_err(|error| distrust(error.to_string()))?)
            }
        };
        let credentials = self.url.credentials.as_ref();
        let greeting = command::connect(credentials, place.behind_proxy.clone());
        let silence = Duration::from_millis(self.limits.session_timeout_millis);
        Connection::greet(stream, greeting, silence).await
    }
}

/// How often brokers have sent us on for a topic, with this time. They may send us round in circles.
fn sent_on(topic: &str, before: usize) -> Result<usize, Failure> {
    if before < MAX_REDIRECTS {
        return Ok(before + 1);
    }
    let why = format!("brokers sent us more than {MAX_REDIRECTS} times to others for {topic}");
    Err(Failure::Broken(why))
}

fn direct(address: &str) -> Place {
    Place {
        address: address.to_owned(),
        behind_proxy: None,
    }
}

/// The topic that is one of the partitions of a topic.
pub fn partition_topic(topic: &str, partition: u32) -> String {
    format!("{topic}-partition-{partition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_may_send_us_on_so_often_and_no_more() {
        assert_eq!(sent_on("t", MAX_REDIRECTS - 1), Ok(MAX_REDIRECTS));
        let refused = sent_on("t", MAX_REDIRECTS).unwrap_err();
        assert!(matches!(refused, Failure::Broken(_)), "{refused}");
        assert!(
            refused.to_string().ends_with("to others for t"),
            "{refused}"
        );
    }
}
