//! A server of its own for every test, and a client that sends exactly what it is told.

mod client;
mod faulty;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use acclaim_core::{Engine, Kind, Kinds, Rev, TargetType};
use acclaim_http::{App, Limits};
use acclaim_testkit::ManualClock;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::nodes;

pub use client::{Connection, Reply, Request};
pub use faulty::{Fault, FaultyEngine};
pub use serde_json::json;

/// 2026-11-20T10:00:00Z.
pub const NOW: Rev = Rev(1_795_168_800_000_000);

/// `likes`, `follows`, `dislikes` (which excludes likes) and `reads` (of `POST` only).
pub fn kinds() -> Kinds {
    let dislikes = Kind {
        excludes: vec!["likes".into()],
        ..Kind::open("dislikes")
    };
    let reads = Kind {
        target_types: Some(vec![TargetType::parse("POST").unwrap()]),
        ..Kind::open("reads")
    };
    Kinds::new([dislikes, reads]).unwrap()
}

/// A server under test: one node, or several of one store that take turns.
pub struct Server {
    /// Where the first node answers.
    pub address: SocketAddr,
    pub clock: Arc<ManualClock>,
    /// Where the nodes answer that take turns.
    addresses: Vec<SocketAddr>,
    turn: AtomicUsize,
    running: Vec<Running>,
    next: AtomicU64,
    _kept: Option<nodes::Kept>,
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(
        engine: Arc<dyn Engine>,
        limits: Limits,
        clock: Arc<ManualClock>,
    ) -> (SocketAddr, Self) {
        Self::app(App::new(engine, limits, clock, Registry::default()).unwrap()).await
    }

    async fn app(app: App) -> (SocketAddr, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            acclaim_http::serve(listener, app, shutdown).await.unwrap();
        });
        (address, Self { stop, task })
    }
}

impl Server {
    /// The server that the environment names, or one of its own.
    pub async fn start() -> Self {
        if let Ok(address) = std::env::var("ACCLAIM_TEST_URL") {
            let address = address.parse().expect("ACCLAIM_TEST_URL is host:port");
            let server = Self::at(vec![address], Vec::new(), ManualClock::at(NOW));
            server.next.store(rand_start(), Ordering::Relaxed);
            return server;
        }
        Self::with_limits(Limits::default()).await
    }

    pub async fn with_limits(limits: Limits) -> Self {
        let clock = ManualClock::at(NOW);
        let (engines, kept) = nodes::open(kinds(), clock.clone()).await;
        let mut server = Self::over_all(engines, limits, clock).await;
        server._kept = Some(kept);
        server
    }

    pub async fn over(engine: Arc<dyn Engine>, limits: Limits, clock: Arc<ManualClock>) -> Self {
        Self::over_all(vec![engine], limits, clock).await
    }

    /// A server of nodes with these applications, over one store.
    pub async fn of_apps(apps: Vec<App>, clock: Arc<ManualClock>, kept: nodes::Kept) -> Self {
        let (mut addresses, mut running) = (Vec::new(), Vec::new());
        for app in apps {
            let (address, node) = Running::app(app).await;
            addresses.push(address);
            running.push(node);
        }
        let mut server = Self::at(addresses, running, clock);
        server._kept = Some(kept);
        server
    }

    async fn over_all(
        engines: Vec<Arc<dyn Engine>>,
        limits: Limits,
        clock: Arc<ManualClock>,
    ) -> Self {
        let (mut addresses, mut running) = (Vec::new(), Vec::new());
        for engine in engines {
            let (address, node) = Running::start(engine, limits.clone(), clock.clone()).await;
            addresses.push(address);
            running.push(node);
        }
        Self::at(addresses, running, clock)
    }

    fn at(addresses: Vec<SocketAddr>, running: Vec<Running>, clock: Arc<ManualClock>) -> Self {
        Self {
            address: addresses[0],
            clock,
            addresses,
            turn: AtomicUsize::new(0),
            running,
            next: AtomicU64::new(1),
            _kept: None,
        }
    }

    /// The same server, but only its first node is asked: for what a process has for itself.
    pub fn alone(mut self) -> Self {
        self.addresses.truncate(1);
        self
    }

    /// Tells the server to stop, and gives what ends when it has.
    pub fn stop(&mut self) -> JoinHandle<()> {
        let running = std::mem::take(&mut self.running);
        assert!(!running.is_empty(), "a server of its own");
        let mut tasks = Vec::new();
        for node in running {
            node.stop.send(()).unwrap();
            tasks.push(node.task);
        }
        tokio::spawn(async move {
            for task in tasks {
                task.await.unwrap();
            }
        })
    }

    /// An id that no other test of this server uses.
    pub fn fresh_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub async fn connect(&self) -> Connection {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Connection::open(self.addresses[turn % self.addresses.len()]).await
    }

    pub async fn send(&self, request: Request) -> Reply {
        self.connect().await.send(request).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Request::new("GET", path)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Request::new("DELETE", path)).await
    }

    pub async fn post(&self, path: &str, body: serde_json::Value) -> Reply {
        self.send(Request::new("POST", path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: serde_json::Value) -> Reply {
        self.send(Request::new("PUT", path).json(&body)).await
    }

    /// Sets an edge that must be possible.
    pub async fn set(&self, kind: &str, user: u64, target_type: &str, target: u64) -> Reply {
        let body = json!({"userId": user, "targetType": target_type, "targetId": target});
        let reply = self.put(&format!("/api/v2/{kind}"), body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        self.clock.advance(1_000_000);
        reply
    }
}

fn rand_start() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_micros() as u64
}
