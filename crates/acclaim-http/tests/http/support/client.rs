//! A client of HTTP/1.1 that hides nothing: what is sent is what the test wrote.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};

/// A request to be sent.
#[derive(Clone)]
pub struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &'static str, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("content-type", content_type)
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn bytes(&self) -> Vec<u8> {
        let head = format!("{} {} HTTP/1.1\r\nhost: test\r\n", self.method, self.path);
        let mut bytes = head.into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        if let Some(body) = &self.body {
            bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body of a 200.
    #[track_caller]
    pub fn ok(&self) -> Value {
        self.json(200)
    }

    /// The JSON body of an answer with this status.
    #[track_caller]
    pub fn json(&self, status: u16) -> Value {
        let shown = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{shown}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Checks that this is a problem of this code, whole, and gives its detail and field.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> (String, Option<String>) {
        let shown = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{shown}");
        let kind = self.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{shown}");
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["type"], format!("urn:acclaim:problem:{code}"));
        assert_eq!(body["status"], status);
        assert_eq!(body["code"], code, "{shown}");
        assert!(!body["title"].as_str().unwrap().is_empty());
        assert_eq!(body["requestId"].as_str(), self.header("x-request-id"));
        let detail = body["detail"].as_str().unwrap().to_owned();
        assert!(!detail.is_empty());
        (detail, body["field"].as_str().map(str::to_owned))
    }

    /// Checks that this is a 400 about this field.
    #[track_caller]
    pub fn bad(&self, field: &str) -> String {
        let (detail, found) = self.problem(400, "bad_request");
        assert_eq!(found.as_deref(), Some(field), "{detail}");
        detail
    }
}

/// A connection that is kept open.
pub struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// Whether the last request was one whose answer has no body.
    bodiless: bool,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// A connection whose side of the socket holds as little as it can.
    pub async fn narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        Self::over(socket.connect(address).await.unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader: BufReader::new(reader),
            writer,
            bodiless: false,
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.unwrap();
    }

    /// Writes, and says whether the other side still took it.
    pub async fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.writer.write_all(bytes).await.is_ok()
    }

    pub async fn send(&mut self, request: Request) -> Reply {
        self.bodiless = request.method == "HEAD";
        self.write(&request.bytes()).await;
        self.reply().await
    }

    /// Reads a whole answer.
    pub async fn reply(&mut self) -> Reply {
        let mut reply = self.head().await.expect("an answer");
        if self.bodiless {
            return reply;
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                reply.body.extend(chunk);
            }
        } else if let Some(length) = reply.header("content-length") {
            reply.body = vec![0; length.parse().unwrap()];
            self.reader.read_exact(&mut reply.body).await.unwrap();
        }
        reply
    }

    /// Reads the head of an answer; `None` at the end of the connection.
    pub async fn head(&mut self) -> Option<Reply> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).expect("a status line");
        let mut reply = Reply {
            status: status.parse().unwrap(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(reply);
            }
            let (name, value) = line.split_once(": ").expect("a header");
            reply.headers.push((name.to_lowercase(), value.to_owned()));
        }
    }

    /// Reads one chunk; `None` at the end of the body or of the connection.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.line().await?, 16).expect("a chunk size");
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).await.ok()?;
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// Reads a line without its end; `None` at the end of the connection.
    pub async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }

    /// Reads until the other side closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = self.reader.read_to_end(&mut rest).await;
        rest
    }
}
