//! Sending over HTTP.
//!
//! A name is looked up, every address it stands for is held against the rule, and the connection is
//! made to an address that passed, so what is checked is what is reached. Nothing is redirected, no
//! proxy is used, no connection is kept. The name only serves TLS and the `host` header.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use acclaim_core::notify::WebhookLimits;
use acclaim_core::notify::address::is_public;
use acclaim_core::notify::endpoint::read_url;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::sender::{Message, Outcome, Sender};

/// Addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;
/// Who sends.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("acclaim/", env!("CARGO_PKG_VERSION")));

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS for webhooks cannot be set up: {0}")]
pub struct TlsError(#[from] rustls::Error);

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("{0}")]
    Url(#[from] acclaim_core::notify::endpoint::BadEndpoint),
    #[error("the name {name} cannot be looked up: {error}")]
    Name { name: String, error: io::Error },
    #[error("the name {0} stands for no address")]
    NoAddress(String),
    #[error(
        "{name} stands for {address}, which is not a public address; deliveries go there only \
         where webhooks.allow_private_addresses is true"
    )]
    Private { name: String, address: IpAddr },
    #[error("cannot connect to {address}: {error}")]
    Connect {
        address: SocketAddr,
        error: io::Error,
    },
    #[error("no TLS with {name}: {error}")]
    Tls { name: String, error: io::Error },
    #[error("the request cannot be made: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("the connection failed: {}", whole(.0))]
    Http(#[from] hyper::Error),
}

/// An error with what it came from.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

/// Sends over HTTP and HTTPS.
pub struct HttpSender {
    limits: WebhookLimits,
    tls: TlsConnector,
}

impl HttpSender {
    /// One that trusts the certificates that the system trusts.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(limits: WebhookLimits) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a certificate of the system cannot be read");
        }
        roots.add_parsable_certificates(found.certs);
        Self::trusting(limits, roots)
    }

    /// One that trusts these certificates.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn trusting(limits: WebhookLimits, roots: RootCertStore) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            limits,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    async fn attempt(&self, message: Message) -> Result<Outcome, SendError> {
        let allow = self.limits.allow_private_addresses;
        let url = read_url(&message.url, allow)?;
        let name = url.host_str().unwrap_or_default().to_owned();
        let stream = self.connect(&url, &name).await?;
        if url.scheme() == "http" {
            return self.exchange(stream, &url, message).await;
        }
        let failed = |error| SendError::Tls {
            name: name.clone(),
            error,
        };
        let server = match url.host() {
            Some(Host::Ipv4(address)) => ServerName::from(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => ServerName::from(IpAddr::V6(address)),
            _ => ServerName::try_from(name.clone())
                .map_err(|error| failed(io::Error::other(error)))?,
        };
        let stream = self.tls.connect(server, stream).await.map_err(failed)?;
        self.exchange(stream, &url, message).await
    }

    /// Connects to an address that may be reached.
    async fn connect(&self, url: &Url, name: &str) -> Result<TcpStream, SendError> {
        // Both schemes that pass have one.
        let port = url.port_or_known_default().unwrap_or(443);
        let found: Vec<SocketAddr> = match url.host() {
            Some(Host::Ipv4(address)) => vec![(address, port).into()],
            Some(Host::Ipv6(address)) => vec![(address, port).into()],
            _ => {
                let found = tokio::net::lookup_host((name, port)).await;
                let failed = |error| SendError::Name {
                    name: name.to_owned(),
                    error,
                };
                found.map_err(failed)?.collect()
            }
        };
        let may_reach = |address: IpAddr| self.limits.allow_private_addresses || is_public(address);
        let private = |address| SendError::Private {
            name: name.to_owned(),
            address,
        };
        let Some(first) = found.first() else {
            return Err(SendError::NoAddress(name.to_owned()));
        };
        let mut failed = private(first.ip());
        let allowed = found.iter().filter(|address| may_reach(address.ip()));
        for address in allowed.take(MAX_ADDRESSES) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let peer = stream.peer_addr().map_or(address.ip(), |peer| peer.ip());
                    return if may_reach(peer) {
                        Ok(stream)
                    } else {
                        Err(private(peer))
                    };
                }
                Err(error) => {
                    failed = SendError::Connect {
                        address: *address,
                        error,
                    };
                }
            }
        }
        Err(failed)
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        url: &Url,
        message: Message,
    ) -> Result<Outcome, SendError> {
        let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = request(url, message)?;
        let answered = async {
            let response = requests.send_request(request).await?;
            Ok(self.read(response).await)
        };
        // The connection does its work while the answer is waited for, and is dropped with it.
        tokio::pin!(connection);
        tokio::pin!(answered);
        tokio::select! {
            biased;
            outcome = &mut answered => outcome,
            ended = &mut connection => match (answered.await, ended) {
                // Many close without ado after they have answered.
                (Ok(outcome), _) => Ok(outcome),
                (Err(_), Err(why)) => Err(why.into()),
                (Err(why), Ok(())) => Err(why),
            },
        }
    }

    /// Judges an answer. Its body is read as far as the limit, so that the other side can write it.
    async fn read(&self, response: Response<hyper::body::Incoming>) -> Outcome {
        let (parts, mut body) = response.into_parts();
        let mut read = 0;
        while read < self.limits.response_max_bytes {
            match body.frame().await {
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
                // What counts is the status.
                Some(Err(_)) | None => break,
            }
        }
        let retry_after = parts.headers.get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        judge(parts.status, retry_after.map(Duration::from_secs))
    }
}

fn judge(status: StatusCode, retry_after: Option<Duration>) -> Outcome {
    if status.is_success() {
        return Outcome::Taken(status.as_u16());
    }
    if status == StatusCode::GONE {
        return Outcome::Gone;
    }
    let error = if status.is_redirection() {
        format!("it answered {status}; redirects are not followed")
    } else {
        format!("it answered {status}")
    };
    Outcome::Failed {
        status: Some(status.as_u16()),
        error,
        retry_after,
    }
}

fn request(url: &Url, message: Message) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let host = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, USER_AGENT)
        .header("webhook-id", message.id)
        .header("webhook-timestamp", message.seconds)
        .header("webhook-signature", message.signature)
        .body(Full::new(Bytes::from(message.body)))
}

#[async_trait]
impl Sender for HttpSender {
    async fn send(&self, message: Message) -> Outcome {
        let limit = Duration::from_millis(self.limits.timeout_millis);
        match tokio::time::timeout(limit, self.attempt(message)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::failed(error.to_string()),
            Err(_) => Outcome::failed(format!(
                "no answer within {} ms",
                self.limits.timeout_millis
            )),
        }
    }
}
