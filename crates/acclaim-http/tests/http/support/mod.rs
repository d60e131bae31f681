//! A server of its own for every test, and a client that sends exactly what it is told.

mod client;
mod faulty;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use acclaim_core::{Engine, Kind, Kinds, Rev, TargetType};
use acclaim_http::{App, Limits};
use acclaim_testkit::{ManualClock, ModelEngine};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

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

/// A server under test.
pub struct Server {
    pub address: SocketAddr,
    pub clock: Arc<ManualClock>,
    running: Option<Running>,
    next: AtomicU64,
}

struct Running {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// The server that the environment names, or one of its own.
    pub async fn start() -> Self {
        if let Ok(address) = std::env::var("ACCLAIM_TEST_URL") {
            return Self {
                address: address.parse().expect("ACCLAIM_TEST_URL is host:port"),
                clock: ManualClock::at(NOW),
                running: None,
                next: AtomicU64::new(rand_start()),
            };
        }
        Self::with_limits(Limits::default()).await
    }

    pub async fn with_limits(limits: Limits) -> Self {
        let clock = ManualClock::at(NOW);
        let engine = Arc::new(ModelEngine::new(kinds(), clock.clone()));
        Self::over(engine, limits, clock).await
    }

    pub async fn over(engine: Arc<dyn Engine>, limits: Limits, clock: Arc<ManualClock>) -> Self {
        let app = App::new(engine, limits, clock.clone(), Registry::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            acclaim_http::serve(listener, app, shutdown).await.unwrap();
        });
        Self {
            address,
            clock,
            running: Some(Running {
                stop: Some(stop),
                task,
            }),
            next: AtomicU64::new(1),
        }
    }

    /// Tells the server to stop, and gives what ends when it has.
    pub fn stop(&mut self) -> JoinHandle<()> {
        let mut running = self.running.take().expect("a server of its own");
        running.stop.take().unwrap().send(()).unwrap();
        running.task
    }

    /// An id that no other test of this server uses.
    pub fn fresh_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub async fn connect(&self) -> Connection {
        Connection::open(self.address).await
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
