//! The control socket of a data directory.
//!
//! A server locks its directory, so what concerns the files themselves is asked of it here:
//! `POST /backup {"to": "/absolute/path"}`. Only the user who owns the socket, and the
//! superuser, may ask.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use acclaim_engine::embedded::EmbeddedEngine;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};

/// The socket's name in the data directory.
pub const SOCKET_NAME: &str = "control.sock";

/// The longest request.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks for a copy of the store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// The directory to make: absolute, since the server may run elsewhere.
    pub to: PathBuf,
}

/// What was copied.
#[derive(Debug, Serialize, Deserialize)]
pub struct BackupAnswer {
    /// Records in the copy.
    pub records: u64,
    /// Bytes of all its files.
    pub bytes: u64,
}

/// The socket, until it is dropped.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
}

impl Control {
    /// Opens the socket of a directory whose lock is held, so that one left behind is nobody's.
    ///
    /// # Errors
    /// When it cannot be made; the path of a socket may have 107 bytes.
    pub fn open(data: &Path) -> io::Result<Self> {
        let path = data.join(SOCKET_NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let owner = fs::metadata(&path)?.uid();
        Ok(Self {
            listener,
            path,
            owner,
        })
    }

    /// Answers requests, for ever.
    pub async fn serve(&self, engine: Arc<EmbeddedEngine>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if self.may_ask(&stream) => {
                    tokio::spawn(answer_one(stream, Arc::clone(&engine)));
                }
                Ok(_) => tracing::warn!("refused another user at the control socket"),
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Somebody may have connected before the permissions were set.
    fn may_ask(&self, stream: &UnixStream) -> bool {
        let peer = stream.peer_cred();
        peer.is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == 0)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The next server removes it where this one could not.
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer_one(stream: UnixStream, engine: Arc<EmbeddedEngine>) {
    let service = service_fn(|request| {
        let engine = Arc::clone(&engine);
        async move { Ok::<_, Infallible>(answer(request, engine).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a control connection ended early");
    }
}

async fn answer(request: Request<Incoming>, engine: Arc<EmbeddedEngine>) -> Response<Full<Bytes>> {
    if (request.method(), request.uri().path()) != (&Method::POST, "/backup") {
        return problem(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is only POST /backup",
        );
    }
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES)
        .collect()
        .await;
    let Ok(body) = body else {
        return problem(
            StatusCode::BAD_REQUEST,
            "bad_request",
            "the body cannot be read",
        );
    };
    let asked: BackupRequest = match serde_json::from_slice(&body.to_bytes()) {
        Ok(asked) => asked,
        Err(error) => return problem(StatusCode::BAD_REQUEST, "bad_request", error),
    };
    if !asked.to.is_absolute() {
        return problem(
            StatusCode::BAD_REQUEST,
            "bad_request",
            "`to` must be absolute",
        );
    }
    let copied = tokio::task::spawn_blocking(move || crate::store::backup(&engine, &asked.to));
    match copied.await {
        Ok(Ok(summary)) => json(StatusCode::OK, &summary),
        Ok(Err(error)) => {
            tracing::error!("backup failed: {error:#}");
            let detail = format!("{error:#}");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
        }
        Err(_) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the backup was cut off",
        ),
    }
}

fn problem(status: StatusCode, code: &str, detail: impl ToString) -> Response<Full<Bytes>> {
    json(
        status,
        &serde_json::json!({ "code": code, "detail": detail.to_string() }),
    )
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    // Structs of numbers and texts always serialize.
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}
