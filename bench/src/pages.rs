//! Pages: asking for the first twenty who like a random target, as often as they are answered.
//!
//! What counts here is the server's processor time a page; the client is only fast enough.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::edges::TARGET_TYPE;
use crate::http::head;
use crate::process::Server;

/// Connections, each with one request at a time.
const CONNECTIONS: u64 = 8;

/// The server's processor time a page of twenty, in microseconds.
pub(crate) fn cpu_micros(server: &Server, targets: u64, seconds: u64) -> anyhow::Result<f64> {
    let before = server.cpu()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let pages = thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|first| scope.spawn(move || ask(&server.url, first, targets, end)))
            .collect();
        let mut pages = 0;
        for client in clients {
            match client.join() {
                Ok(asked) => pages += asked?,
                Err(_) => bail!("a client of pages panicked"),
            }
        }
        anyhow::Ok(pages)
    })?;
    let used = server.cpu()? - before;
    Ok(used.as_secs_f64() * 1e6 / pages as f64)
}

/// Asks until `end`; returns how often.
fn ask(url: &str, first: u64, targets: u64, end: Instant) -> anyhow::Result<u64> {
    let address = url.trim_start_matches("http://");
    let stream = TcpStream::connect(address).context("pages: cannot connect")?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream);
    let mut body = Vec::new();
    let mut pages = 0;
    while Instant::now() < end {
        // A large odd step visits targets that lie far apart.
        let target = (first + pages * CONNECTIONS).wrapping_mul(2_654_435_761) % targets + 1;
        let request = format!(
            "GET /api/v2/likes/users?targetType={TARGET_TYPE}&targetId={target}&size=20 HTTP/1.1\r\n\
             host: {address}\r\n\r\n"
        );
        answers.get_mut().write_all(request.as_bytes())?;
        let length = head(&mut answers)?;
        body.resize(length, 0);
        answers.read_exact(&mut body)?;
        pages += 1;
    }
    Ok(pages)
}
