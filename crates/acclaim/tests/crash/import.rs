//! Imports as jobs: over deaths at named places, and on a disk without room.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Client, Sent};

const LIMIT: Duration = Duration::from_secs(60);

/// Sends a text. `None` where there is no answer.
pub fn import(address: SocketAddr, text: Vec<u8>, as_a_job: bool) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(address).unwrap();
    let prefer = if as_a_job {
        "prefer: respond-async\r\n"
    } else {
        ""
    };
    let head = format!(
        "POST /api/v2/import HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{prefer}content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        text.len()
    );
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        // A server that refuses or dies takes less than all of it.
        let _ = writer.write_all(head.as_bytes());
        let _ = writer.write_all(&text);
    });
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut answer);
    drop(stream);
    writing.join().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1)?.parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some((status, serde_json::from_str(body).ok()?))
}

/// A job once it has ended.
pub async fn ended(address: SocketAddr, id: u64) -> Value {
    let mut client = Client::new(address);
    let begin = Instant::now();
    loop {
        let job = client.ask(&format!("/jobs/{id}")).await.json();
        if job["state"] == "done" || job["state"] == "failed" {
            return job;
        }
        assert!(begin.elapsed() < LIMIT, "{job}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether there is such a job.
pub async fn is_known(address: SocketAddr, id: u64) -> bool {
    let asked = Sent::get(format!("/jobs/{id}"));
    Client::new(address).call(&asked).await.unwrap().status == 200
}

/// Waits until no text of an import is left.
pub async fn no_text(data: &Path) {
    let begin = Instant::now();
    while std::fs::read_dir(data.join("spool")).unwrap().count() > 0 {
        assert!(begin.elapsed() < LIMIT, "a text is left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(feature = "failpoints")]
mod deaths {
    use std::os::unix::process::ExitStatusExt;
    use std::path::PathBuf;

    use rand::Rng;
    use tempfile::TempDir;

    use super::*;
    use crate::seeded;
    use crate::server::{Server, check_is_clean};

    const FEW: (&str, &str) = ("ACCLAIM_ENGINE__JOB_STEP_EDGES", "3");

    /// Lines of which some repeat others, some are wrong and some are empty.
    fn text() -> Vec<u8> {
        let line = |n: u64| match n % 9 {
            7 => "{}\n".to_owned(),
            8 => "\n".to_owned(),
            _ => format!(
                "{{\"kind\":\"likes\",\"userId\":{},\"targetType\":\"POST\",\"targetId\":{},\"at\":\"2025-01-01T00:00:00Z\"}}\n",
                n % 31,
                n % 13
            ),
        };
        (0..500).map(line).collect::<String>().into_bytes()
    }

    struct Home(TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn data(&self) -> PathBuf {
            self.0.path().join("data")
        }

        /// Starts the import on a server that dies at a place, and starts the server again.
        fn die_at(&self, place: &str) -> Server {
            let armed = [("ACCLAIM_FAILPOINT", place), FEW];
            let server = Server::try_start(&self.data(), &armed).unwrap();
            // The answer may be lost with the server.
            let _ = import(server.address, text(), true);
            let status = server.wait();
            assert_eq!(status.signal(), Some(9), "{status}");
            Server::try_start(&self.data(), &[FEW]).unwrap()
        }
    }

    /// What a stream of the same text answers, on a store of its own.
    fn streamed() -> Value {
        let home = Home::new();
        let server = Server::start(&home.data());
        let (status, summary) = import(server.address, text(), false).unwrap();
        assert_eq!(status, 200);
        server.stop_cleanly();
        summary
    }

    /// The job goes on after a death between two of its steps, and counts no line twice.
    #[test]
    fn in_an_import_job() {
        seeded(async |_, mut chance| {
            let home = Home::new();
            let nth = chance.random_range(1..140);
            let server = home.die_at(&format!("job.step:{nth}"));
            let job = ended(server.address, 1).await;
            assert_eq!(job["state"], "done", "{job}");
            assert_eq!(job["import"], streamed());
            assert_eq!(job["done"], text().len());
            no_text(&home.data()).await;
            let (_, again) = import(server.address, text(), false).unwrap();
            assert_eq!(again["set"], 0, "{again}");
            server.stop_cleanly();
            check_is_clean(&home.data());
        });
    }

    /// The same before a step is durable, which is then done again.
    #[test]
    fn in_a_commit_of_an_import_job() {
        seeded(async |_, mut chance| {
            let home = Home::new();
            let nth = chance.random_range(3..100);
            let server = home.die_at(&format!("commit.before-sync:{nth}"));
            let job = ended(server.address, 1).await;
            assert_eq!(job["import"], streamed());
            no_text(&home.data()).await;
            server.stop_cleanly();
            check_is_clean(&home.data());
        });
    }

    /// A text whose job was not written down was never answered for, and goes.
    #[test]
    fn before_an_import_is_a_job() {
        seeded(async |_, _| {
            let home = Home::new();
            let server = home.die_at("import.spooled");
            no_text(&home.data()).await;
            assert!(!is_known(server.address, 1).await);
            server.stop_cleanly();
        });
    }

    /// A text whose job is done goes at the next start.
    #[test]
    fn before_the_text_of_an_import_is_removed() {
        seeded(async |_, _| {
            let home = Home::new();
            let server = home.die_at("import.before-removal");
            no_text(&home.data()).await;
            let job = ended(server.address, 1).await;
            assert_eq!(job["import"], streamed());
            server.stop_cleanly();
        });
    }
}
