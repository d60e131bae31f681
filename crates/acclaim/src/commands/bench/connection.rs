//! One connection: a request, its answer, the next.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::Endpoint;

use super::ANSWER_TIMEOUT;
use super::answer::Head;

/// The longest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;
const READ_BYTES: usize = 16 * 1024;
/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lost {
    /// Nobody took the connection.
    Connect,
    /// It broke, or the answer was no HTTP.
    Broken,
    /// No answer in time.
    Timeout,
}

impl Lost {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "cannot connect",
            Self::Broken => "connection broke",
            Self::Timeout => "no answer in time",
        }
    }
}

/// An answer: its status and its body.
pub(super) struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

/// A connection that is made when it is needed.
pub(super) struct Connection {
    authority: String,
    stream: Option<TcpStream>,
    /// What was read; holds one answer at most, since one request is under way at most.
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        Self {
            authority: endpoint.authority().to_owned(),
            stream: None,
            buffer: Vec::with_capacity(READ_BYTES),
        }
    }

    /// Connects, if there is no connection.
    pub(super) async fn open(&mut self) -> Result<(), Lost> {
        if self.stream.is_none() {
            let connecting = TcpStream::connect(self.authority.as_str());
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
            let stream = connected
                .map_err(|_| Lost::Connect)?
                .map_err(|_| Lost::Connect)?;
            stream.set_nodelay(true).map_err(|_| Lost::Connect)?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>, Lost> {
        self.open().await?;
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(request)).await;
        let head = match asked.unwrap_or(Err(Lost::Timeout)) {
            Ok(head) => head,
            Err(lost) => {
                self.stream = None;
                return Err(lost);
            }
        };
        if head.closes {
            self.stream = None;
        }
        let body = &self.buffer[head.body_start..head.body_start + head.body_bytes];
        Ok(Answer {
            status: head.status,
            body,
        })
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Head, Lost> {
        let stream = self.stream.as_mut().ok_or(Lost::Connect)?;
        stream.write_all(request).await.map_err(|_| Lost::Broken)?;
        self.buffer.clear();
        let mut head = None;
        loop {
            self.buffer.reserve(READ_BYTES);
            let read = stream.read_buf(&mut self.buffer).await;
            if read.map_err(|_| Lost::Broken)? == 0 {
                return Err(Lost::Broken);
            }
            if head.is_none() {
                head = Head::parse(&self.buffer).map_err(|_| Lost::Broken)?;
            }
            match head {
                Some(head) if self.buffer.len() >= head.body_start + head.body_bytes => {
                    return Ok(head);
                }
                _ if self.buffer.len() > MAX_ANSWER_BYTES => return Err(Lost::Broken),
                _ => {}
            }
        }
    }
}
