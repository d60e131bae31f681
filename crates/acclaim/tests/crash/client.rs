//! One connection that says of every call whether it was answered, never sent, or unknown.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

const CALL_LIMIT: Duration = Duration::from_secs(30);

/// What is sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub method: Method,
    /// After `/api/v2`.
    pub path: String,
    pub body: Option<Value>,
    /// The idempotency key.
    pub key: Option<String>,
}

impl Sent {
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: None,
            key: None,
        }
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answered {
    pub status: u16,
    pub replayed: bool,
    pub text: String,
}

impl Answered {
    /// The body, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The `code` of a problem.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// No connection could be made: the server never saw it.
    NotSent,
    /// The connection broke after something was sent.
    Unknown,
}

/// One connection, made when it is needed.
pub struct Client {
    address: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
        }
    }

    /// One call.
    pub async fn call(&mut self, sent: &Sent) -> Result<Answered, Lost> {
        let connection = self.connection().await.map_err(|_| Lost::NotSent)?;
        let answered = tokio::time::timeout(CALL_LIMIT, exchange(connection, sent)).await;
        match answered.expect("a call is answered or its connection breaks") {
            Ok(answered) => Ok(answered),
            Err(_) => {
                self.connection = None;
                Err(Lost::Unknown)
            }
        }
    }

    /// A call that has to be answered with 200.
    pub async fn ask(&mut self, path: &str) -> Answered {
        let answered = self.call(&Sent::get(path)).await;
        let answered = answered.unwrap_or_else(|lost| panic!("{path}: {lost:?}"));
        assert_eq!(answered.status, 200, "{path}: {answered:?}");
        answered
    }

    async fn connection(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, Lost> {
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            let stream = TcpStream::connect(self.address).await;
            let stream = stream.map_err(|_| Lost::NotSent)?;
            stream.set_nodelay(true).map_err(|_| Lost::NotSent)?;
            let stream = TokioIo::new(stream);
            let (sender, driver) = handshake(stream).await.map_err(|_| Lost::NotSent)?;
            tokio::spawn(driver);
            self.connection = Some(sender);
        }
        self.connection.as_mut().ok_or(Lost::NotSent)
    }
}

async fn exchange(
    connection: &mut SendRequest<Full<Bytes>>,
    sent: &Sent,
) -> Result<Answered, hyper::Error> {
    let mut request = Request::builder()
        .method(&sent.method)
        .uri(format!("/api/v2{}", sent.path))
        .header(header::HOST, "localhost");
    if sent.body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    if let Some(key) = &sent.key {
        request = request.header("idempotency-key", key);
    }
    let body = sent.body.as_ref().map(Value::to_string).unwrap_or_default();
    let request = request.body(Full::from(body)).unwrap();
    connection.ready().await?;
    let response = connection.send_request(request).await?;
    let status = response.status().as_u16();
    let replayed = response.headers().contains_key("idempotency-replayed");
    let body = response.into_body().collect().await?.to_bytes();
    Ok(Answered {
        status,
        replayed,
        text: String::from_utf8(body.to_vec()).unwrap(),
    })
}
