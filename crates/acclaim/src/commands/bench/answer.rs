//! Answers, as far as a load generator reads them.

use serde::Deserialize;

/// The most header lines of an answer.
const MAX_HEADERS: usize = 32;

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub status: u16,
    /// Where the body begins.
    pub body_start: usize,
    pub body_bytes: usize,
    /// Whether the server closes the connection after it.
    pub closes: bool,
}

/// An answer that is no HTTP, or none that this client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

impl Head {
    /// The head at the start of `bytes`, or `None` while it is not complete.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, Unreadable> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let body_start = match response.parse(bytes) {
            Ok(httparse::Status::Complete(body_start)) => body_start,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Unreadable),
        };
        let mut body_bytes = None;
        let mut closes = false;
        for header in response.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                let text = std::str::from_utf8(header.value).map_err(|_| Unreadable)?;
                body_bytes = Some(text.trim().parse().map_err(|_| Unreadable)?);
            } else if header.name.eq_ignore_ascii_case("connection") {
                closes = header.value.eq_ignore_ascii_case(b"close");
            }
        }
        Ok(Some(Self {
            status: response.code.ok_or(Unreadable)?,
            body_start,
            // Every answer of the calls used here has a length; one in chunks is none of them.
            body_bytes: body_bytes.ok_or(Unreadable)?,
            closes,
        }))
    }
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Written {
    pub active: bool,
    pub rev: u64,
}

/// One result of a batch.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum BatchResult {
    Written(Written),
    Failed { error: Problem },
}

#[derive(Deserialize)]
pub(super) struct Batch {
    pub results: Vec<BatchResult>,
}

#[derive(Deserialize)]
pub(super) struct Problem {
    pub code: String,
}

/// One answer of a batch of statuses.
#[derive(Deserialize)]
pub(super) struct Status {
    pub active: bool,
    pub since: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Statuses {
    pub items: Vec<Status>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_come() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        for end in 0..answer.len() - 2 {
            assert_eq!(Head::parse(&answer[..end]), Ok(None));
        }
        let head = Head::parse(answer).unwrap().unwrap();
        assert_eq!((head.status, head.body_bytes, head.closes), (200, 2, true));
        assert_eq!(&answer[head.body_start..], b"{}");
        assert_eq!(Head::parse(b"HTTP/1.1 200 OK\r\n\r\n"), Err(Unreadable));
        assert_eq!(Head::parse(b"SSH-2.0\r\n"), Err(Unreadable));
    }
}
