//! A private MariaDB for all tests of this process, and a proxy that cuts at a word. To be replaced
//! by the test servers that all crates share.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, MySqlConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct MariaDb {
    port: u16,
    _directory: tempfile::TempDir,
    /// Ends the server when its standard input closes, so with this process.
    _keeper: Child,
}

static SHARED: OnceLock<MariaDb> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(1);

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn start() -> MariaDb {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let made = Command::new("mariadb-install-db")
        .args([
            "--no-defaults",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        ])
        .arg(format!("--datadir={}", data.display()))
        .args(["--user=root", "--innodb-log-file-size=16M"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let port = free_port();
    let script = "mariadbd --no-defaults --user=root --datadir=$0 --port=$1 --socket=$0/s \
                  --bind-address=127.0.0.1 --skip-name-resolve --innodb-buffer-pool-size=256M \
                  --innodb-log-file-size=128M \
                  --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 \
                  --max-connections=300 >$0/out 2>&1 </dev/null & cat >/dev/null; \
                  kill -9 $!; rm -rf ${0%/data}";
    let keeper = Command::new("sh")
        .args(["-c", script])
        .arg(&data)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let server = MariaDb {
        port,
        _directory: directory,
        _keeper: keeper,
    };
    let began = Instant::now();
    // Any answer is a greeting of the server.
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "mariadbd does not start"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}

/// A fresh database on the shared server.
pub async fn database() -> String {
    let server = tokio::task::spawn_blocking(|| SHARED.get_or_init(start))
        .await
        .unwrap();
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let root = format!("mysql://root@127.0.0.1:{}/", server.port);
    let mut conn = MySqlConnection::connect(&root).await.unwrap();
    let sql = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4");
    conn.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    conn.close().await.unwrap();
    format!(
        "mysql://root@127.0.0.1:{}/{name}?ssl-mode=disabled",
        server.port
    )
}

/// A connection of the test's own.
pub async fn connect(url: &str) -> MySqlConnection {
    MySqlConnection::connect(url).await.unwrap()
}

/// What is done once when the client sends the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The word does not reach the server.
    Before,
    /// It does, and the answer does not come back.
    After,
}

/// The word that is waited for, if any.
type Armed = Option<(&'static [u8], Cut)>;

/// Stands between a ledger and its server.
pub struct Proxy {
    address: SocketAddr,
    trap: Arc<Mutex<Armed>>,
}

impl Proxy {
    pub async fn start(url: &str) -> (Self, String) {
        let port = url
            .split("127.0.0.1:")
            .nth(1)
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        let target: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let trap = Arc::new(Mutex::new(None));
        let armed = Arc::clone(&trap);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, target, Arc::clone(&armed)));
            }
        });
        let by = url.replace(&format!(":{port}/"), &format!(":{}/", address.port()));
        (Self { address, trap }, by)
    }

    pub fn set(&self, word: &'static [u8], cut: Cut) {
        assert_ne!(self.address.port(), 0);
        *self.trap.lock().unwrap() = Some((word, cut));
    }

    pub fn is_sprung(&self) -> bool {
        self.trap.lock().unwrap().is_none()
    }
}

async fn relay(client: TcpStream, target: SocketAddr, trap: Arc<Mutex<Armed>>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    });
    let mut piece = vec![0; 64 * 1024];
    while let Ok(n) = from_client.read(&mut piece).await {
        if n == 0 {
            break;
        }
        let sent = &piece[..n];
        let cut = {
            let mut trap = trap.lock().unwrap();
            let hit = trap.is_some_and(|(word, _)| sent.windows(word.len()).any(|w| w == word));
            if hit {
                trap.take().map(|(_, cut)| cut)
            } else {
                None
            }
        };
        if cut.is_some() {
            back.abort();
        }
        if cut == Some(Cut::Before) {
            break;
        }
        if to_server.write_all(sent).await.is_err() || cut.is_some() {
            break;
        }
    }
    back.abort();
}
