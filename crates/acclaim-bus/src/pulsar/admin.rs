//! Making a topic, which Pulsar does only in its administration, over HTTP.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::connection::Stream;
use crate::url::{ADMIN_PORT, ADMIN_TLS_PORT, Address, BusUrl, Credentials};

/// What a topic without a namespace is in.
const NAMESPACE: &str = "public/default";
/// The most that is read of an answer.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// What the administration answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Made {
    /// The topic is there now.
    Now,
    /// Something of that name was there already.
    Before,
}

/// Where a bus is administered.
pub fn address(url: &BusUrl) -> Address {
    let port = match url.tls {
        Some(_) => ADMIN_TLS_PORT,
        None => ADMIN_PORT,
    };
    let host = || url.hosts[0].host.clone();
    let default = || Address { host: host(), port };
    url.admin.clone().unwrap_or_else(default)
}

/// Makes a topic with partitions. The error is for people.
pub async fn make(
    url: &BusUrl,
    tls: Option<&TlsConnector>,
    topic: &str,
    deadline: Instant,
) -> Result<Made, String> {
    let at = address(url);
    let request = request(url, topic, &at);
    let answer = timeout_at(deadline.into(), exchange(&at, tls, &request)).await;
    let told = |why: String| format!("its administration at {at} (option admin): {why}");
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(told(error.to_string())),
        Err(_elapsed) => return Err(told("no answer".to_owned())),
    };
    match status(&answer) {
        Some(200..=299) => Ok(Made::Now),
        Some(409) => Ok(Made::Before),
        _ => Err(told(answer.lines().next().unwrap_or("nothing").to_owned())),
    }
}

fn request(url: &BusUrl, topic: &str, at: &Address) -> String {
    let who = url.credentials.as_ref().map(|credentials| {
        let Credentials { user, password } = credentials;
        match user.is_empty() {
            true => format!("authorization: Bearer {password}\r\n"),
            false => {
                let both = STANDARD.encode(format!("{user}:{password}"));
                format!("authorization: Basic {both}\r\n")
            }
        }
    });
    let body = url.partitions.to_string();
    // The version in which an answer is never in chunks, and ends with its connection.
    format!(
        "PUT /admin/v2/persistent/{NAMESPACE}/{topic}/partitions HTTP/1.0\r\nhost: {at}\r\n{}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        who.unwrap_or_default(),
        body.len()
    )
}

async fn exchange(
    at: &Address,
    tls: Option<&TlsConnector>,
    request: &str,
) -> std::io::Result<String> {
    let stream = TcpStream::connect(at.to_string()).await?;
    let mut stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(tls) => {
            let name = ServerName::try_from(at.host.clone());
            let name = name.map_err(std::io::Error::other)?;
            Box::new(tls.connect(name, stream).await?)
        }
    };
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    read_answer(stream).await
}

/// What is longer is cut: only its first line says anything.
async fn read_answer(stream: impl AsyncRead + Unpin) -> std::io::Result<String> {
    let mut answer = Vec::new();
    stream
        .take(MAX_ANSWER_BYTES)
        .read_to_end(&mut answer)
        .await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn status(answer: &str) -> Option<u16> {
    answer.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> BusUrl {
        BusUrl::parse(url).unwrap()
    }

    #[test]
    fn the_administration_is_beside_the_broker_or_where_the_url_says() {
        let at = |url: &str| address(&parsed(url)).to_string();
        assert_eq!(at("pulsar://a,b:1"), "a:8080");
        assert_eq!(at("pulsar://a?tls=yes"), "a:8443");
        assert_eq!(at("pulsar://a?admin=b"), "b:8080");
        assert_eq!(at("pulsar://a?admin=[%3A%3A1]:1"), "[::1]:1");
    }

    #[test]
    fn it_is_told_who_asks() {
        let asked = |url: &str| {
            let url = parsed(url);
            request(&url, "t", &address(&url))
        };
        let nobody = asked("pulsar://a?partitions=7");
        assert!(nobody.starts_with("PUT /admin/v2/persistent/public/default/t/partitions "));
        assert!(nobody.ends_with("\r\n\r\n7") && !nobody.contains("authorization"));
        assert!(asked("pulsar://:abc@a").contains("authorization: Bearer abc\r\n"));
        assert!(asked("pulsar://u:p@a").contains("authorization: Basic dTpw\r\n"));
    }

    #[test]
    fn answers_have_a_status() {
        assert_eq!(status("HTTP/1.1 204 No Content\r\n\r\n"), Some(204));
        assert_eq!(status("what"), None);
    }

    #[tokio::test]
    async fn of_an_answer_so_much_is_read() {
        let longest = usize::try_from(MAX_ANSWER_BYTES).unwrap();
        for (bytes, read) in [(longest, longest), (longest + 1, longest)] {
            let answer = vec![b'x'; bytes];
            assert_eq!(read_answer(&answer[..]).await.unwrap().len(), read);
        }
    }
}
