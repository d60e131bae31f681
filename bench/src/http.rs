//! As much of HTTP as is needed to ask our own servers something now and then.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, bail};

/// Asks for a path, and returns the body as JSON.
pub(crate) fn get(url: &str, path: &str) -> anyhow::Result<serde_json::Value> {
    send(url, |host| {
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")
    })
}

/// Sends JSON to a path, and returns the body as JSON.
pub(crate) fn post(url: &str, path: &str, body: &str) -> anyhow::Result<serde_json::Value> {
    let length = body.len();
    send(url, |host| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
    })
}

/// Sends what is written for a host, and returns the body of the answer as JSON.
fn send(url: &str, request: impl FnOnce(&str) -> String) -> anyhow::Result<serde_json::Value> {
    let address = url.trim_start_matches("http://");
    let mut stream =
        TcpStream::connect(address).with_context(|| format!("{url}: cannot connect"))?;
    stream.write_all(request(address).as_bytes())?;
    let mut answer = BufReader::new(stream);
    let mut body = vec![0; head(&mut answer)?];
    answer.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// Reads the head of an answer and returns the length of the body.
pub(crate) fn head(answers: &mut BufReader<TcpStream>) -> anyhow::Result<usize> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200") {
        bail!("the server answered {}", line.trim_end());
    }
    let mut length = None;
    loop {
        line.clear();
        answers.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse()?);
        }
    }
    length.context("an answer without a length")
}
