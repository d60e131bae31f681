//! A request to Pulsar's administration, over HTTP/1.0: the version in which an answer is never in
//! chunks, and ends with its connection.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long one request may take. The first one to a topic has the broker load it.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
const ANSWER_MAX_BYTES: u64 = 16 << 20;

/// Sends one request with a body of JSON, as whoever this token is of, and gives status and body of
/// the answer.
pub async fn request(
    port: u16,
    token: Option<&str>,
    (method, path): (&str, &str),
    body: &str,
) -> Result<(u16, String), String> {
    let what = format!("{method} {path} on port {port}");
    let who = token.map(|token| format!("authorization: Bearer {token}\r\n"));
    let head = format!(
        "{method} {path} HTTP/1.0\r\nhost: 127.0.0.1:{port}\r\n{}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        who.unwrap_or_default(),
        body.len()
    );
    match tokio::time::timeout(ANSWER_LIMIT, exchange(port, head + body)).await {
        Ok(Ok(answer)) => read(&answer).ok_or_else(|| format!("{what}: {answer:?}")),
        Ok(Err(error)) => Err(format!("{what}: {error}")),
        Err(_) => Err(format!("{what} was not answered within {ANSWER_LIMIT:?}")),
    }
}

async fn exchange(port: u16, sent: String) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(sent.as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_MAX_BYTES)
        .read_to_end(&mut answer)
        .await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn read(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
