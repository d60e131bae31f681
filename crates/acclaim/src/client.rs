//! A client for one server: HTTP/1.1 over TCP, or over the control socket of a data directory.
//!
//! One connection, one request at a time, made again when the server closed it between requests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::{TcpStream, UnixStream};

/// The most of an error's body that is read.
const MAX_PROBLEM_BYTES: usize = 64 * 1024;

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Over TCP.
    Tcp {
        /// `host:port`, also for the Host header.
        authority: String,
        /// What comes before every path; empty, or `/prefix`.
        prefix: String,
    },
    /// Over a socket in the file system.
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads `http://host:port`, with a path if the server stands behind one.
    ///
    /// # Errors
    /// When it is something else.
    pub fn of_url(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url
            .parse()
            .with_context(|| format!("{url:?} is not a URL such as http://127.0.0.1:7700"))?;
        if uri.scheme_str() != Some("http") {
            bail!("{url:?} does not begin with http://, the one scheme that is spoken");
        }
        let host = uri
            .host()
            .with_context(|| format!("{url:?} names no host"))?;
        let port = uri.port_u16().unwrap_or(80);
        if uri.query().is_some() {
            bail!("{url:?} has a query; give the server's address only");
        }
        Ok(Self::Tcp {
            authority: format!("{host}:{port}"),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The name for the Host header.
    pub fn authority(&self) -> &str {
        match self {
            Self::Tcp { authority, .. } => authority,
            Self::Unix(_) => "localhost",
        }
    }

    /// What comes before every path.
    pub fn prefix(&self) -> &str {
        match self {
            Self::Tcp { prefix, .. } => prefix,
            Self::Unix(_) => "",
        }
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        match self {
            Self::Tcp { authority, .. } => {
                let connecting = TcpStream::connect(authority.as_str());
                let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
                    .await
                    .with_context(|| format!("{authority} does not answer"))?
                    .with_context(|| format!("cannot connect to {authority}"))?;
                stream.set_nodelay(true)?;
                spawn(TokioIo::new(stream)).await
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                let stream =
                    stream.with_context(|| format!("cannot connect to {}", path.display()))?;
                spawn(TokioIo::new(stream)).await
            }
        }
    }
}

async fn spawn<T>(io: T) -> anyhow::Result<SendRequest<Full<Bytes>>>
where
    T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(io).await?;
    // Its error reaches the request that was under way.
    tokio::spawn(connection);
    Ok(sender)
}

/// A problem as the server answers it.
#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

/// Why a request was not answered 200.
#[derive(Debug, thiserror::Error)]
#[error("the server answered {status} {code}: {detail}")]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// The problem's code; empty when the answer was no problem.
    pub code: String,
    /// The problem's detail.
    pub detail: String,
    /// When the server says to try again.
    pub retry_after: Option<Duration>,
}

/// A connection to one server.
pub struct Client {
    endpoint: Endpoint,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody answers there.
    pub async fn connect(endpoint: Endpoint) -> anyhow::Result<Self> {
        let sender = endpoint.connect().await?;
        Ok(Self { endpoint, sender })
    }

    /// Connects to the server that runs on a data directory, if one does.
    pub async fn of_data(data: &Path) -> Option<Self> {
        let socket = data.join(crate::control::SOCKET_NAME);
        Self::connect(Endpoint::Unix(socket)).await.ok()
    }

    /// Sends a request and waits for the head of a 200 answer.
    ///
    /// # Errors
    /// [`Refused`] for another answer; otherwise what happened to the connection.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        if self.sender.ready().await.is_err() {
            self.sender = self.endpoint.connect().await?;
        }
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.endpoint.prefix()))
            .header("host", self.endpoint.authority());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let request = request.body(Full::new(body))?;
        let answer = self.sender.send_request(request).await;
        let answer = answer.context("the connection to the server broke")?;
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        Err(refused(answer).await.into())
    }

    /// Sends a request and reads the JSON of a 200 answer.
    ///
    /// # Errors
    /// As [`Client::send`], or when the answer is no such JSON.
    pub async fn send_json<T: for<'de> Deserialize<'de>>(
        &mut self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<T> {
        let answer = self.send(method, path, content_type, body).await?;
        let body = answer.into_body().collect().await;
        let body = body.context("the server's answer broke off")?.to_bytes();
        serde_json::from_slice(&body)
            .with_context(|| format!("{path} did not answer as an Acclaim server does"))
    }
}

async fn refused(answer: Response<Incoming>) -> Refused {
    let status = answer.status();
    let retry_after = answer.headers().get("retry-after");
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = http_body_util::Limited::new(answer.into_body(), MAX_PROBLEM_BYTES);
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let problem = serde_json::from_slice(&body.unwrap_or_default());
    let problem = problem.unwrap_or_else(|_| Problem {
        code: String::new(),
        detail: "no reason was given".to_owned(),
    });
    Refused {
        status,
        code: problem.code,
        detail: problem.detail,
        retry_after: retry_after.map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_others_refused() {
        let endpoint = Endpoint::of_url("http://127.0.0.1:7700/likes/").unwrap();
        assert_eq!(endpoint.authority(), "127.0.0.1:7700");
        assert_eq!(endpoint.prefix(), "/likes");
        assert_eq!(Endpoint::of_url("http://h").unwrap().authority(), "h:80");
        for url in ["", "h:1", "https://h", "http://h/?a=1", "ftp://h"] {
            assert!(Endpoint::of_url(url).is_err(), "{url}");
        }
    }
}
