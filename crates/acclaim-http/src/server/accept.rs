//! Accepting connections, and stopping.
//!
//! To stop is: accept no more, tell every connection to end after the request it is answering,
//! end event streams, wait for all of it within a deadline, and drop what is left then.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::{Busy, Patience, Watched};
use super::front::Front;
use crate::app::App;
use crate::limits::Limits;
use crate::problem::Problem;

/// How long to wait after accepting failed for want of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Why serving ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listening socket cannot be used any more.
    #[error("the listening socket failed: {0}")]
    Listener(#[source] io::Error),
}

/// What the accept loop asks of whatever it serves.
pub(super) trait Serves: Clone + Send + 'static {
    type Handler: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Send
        + 'static;

    /// The service of one connection.
    fn connect(&self, busy: Busy) -> Self::Handler;
    fn limits(&self) -> &Limits;
    fn opened(&self);
    fn refused(&self);
    fn closed(&self);
    /// The server is stopping; whatever streams must end.
    fn stops(&self);
}

/// Serves `app` until `shutdown` is ready, then ends what is under way within
/// [`Limits::stop_timeout_millis`].
///
/// # Errors
/// [`ServeError`] when the listening socket fails.
pub async fn serve(
    listener: TcpListener,
    app: App,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    run(listener, Front::new(app), shutdown).await
}

pub(super) async fn run<S: Serves>(
    listener: TcpListener,
    served: S,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let stopping = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let socket = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) if is_passing(&error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
                Err(error) => return Err(ServeError::Listener(error)),
            },
        };
        if connections.len() >= served.limits().max_connections {
            served.refused();
            refuse(&socket, served.limits());
            continue;
        }
        connections.spawn(converse(served.clone(), socket, stopping.subscribe()));
    }
    drop(listener);
    stopping.send_replace(true);
    served.stops();
    let deadline = Duration::from_millis(served.limits().stop_timeout_millis);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(deadline, all).await.is_err() {
        tracing::warn!(left = connections.len(), "connections did not end in time");
        connections.shutdown().await;
    }
    Ok(())
}

/// Whether accepting may work again: this connection failed, or descriptors are short.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, OutOfMemory,
    };
    /// ENFILE and EMFILE, which have no kind of their own.
    const TOO_MANY_FILES: [i32; 2] = [23, 24];
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | OutOfMemory
    ) || error
        .raw_os_error()
        .is_some_and(|code| TOO_MANY_FILES.contains(&code))
}

/// One connection, from its first byte to its last.
async fn converse<S: Serves>(served: S, socket: TcpStream, mut stopping: watch::Receiver<bool>) {
    served.opened();
    // Without it small answers wait for the acknowledgement of the ones before. A socket that
    // refuses it is closed already, which the first read will say.
    let _ = socket.set_nodelay(true);
    let busy: Busy = Arc::new(AtomicBool::new(false));
    let limits = served.limits();
    let watched = Watched::new(socket, Arc::clone(&busy), Patience::new(limits));
    let mut http = http1::Builder::new();
    http.header_read_timeout(None)
        .max_buf_size(limits.max_head_bytes);
    let connection = http.serve_connection(TokioIo::new(watched), served.connect(busy));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = stopped(&mut stopping) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
    served.closed();
}

/// Returns once the server stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the accept loop is gone, which is a stop too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Tells a client that there are too many connections, if its socket takes that at once.
fn refuse(socket: &TcpStream, limits: &Limits) {
    let detail = format!(
        "{} connections are open, which is the limit; try again in a moment",
        limits.max_connections
    );
    let problem = Problem::overloaded(detail);
    let body = serde_json::to_string(&problem.body("-")).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // Best effort: a client that cannot take it now sees the connection close.
    let _ = socket.try_write(answer.as_bytes());
}
