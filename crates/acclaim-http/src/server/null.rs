//! A server that does nothing, on the same stack: the same accept loop, the same router, the same
//! reading of requests, a fixed answer. It says how fast the rest could be at best.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use acclaim_core::{Action, Kinds};
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request as AxumRequest, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use axum::routing::{get, post, put};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::net::TcpListener;
use tower::Service as _;

use super::accept::{ServeError, Serves, run};
use super::connection::Busy;
use crate::limits::Limits;
use crate::problem::Problem;
use crate::request::{
    BatchForm, EdgeForm, EdgeQuery, OpForm, ReadQuery, StatusesForm, TargetQuery, json_bytes, parse,
};
use crate::routes::answer::of;

const TRANSITION: &str = r#"{"active":true,"changed":true,"count":1,"rev":1795132800000000}"#;
const STATUS: &str = r#"{"active":true,"since":"2026-11-20T10:00:00.000000Z","count":1}"#;
const TARGET_STATUS: &str = r#"{"targetType":"POST","targetId":"1","active":true,"since":"2026-11-20T10:00:00.000000Z","count":1}"#;
const COUNT: &str = r#"{"targetType":"POST","targetId":"1","count":1,"rev":1795132800000000}"#;

/// What the handlers share.
struct Nothing {
    kinds: Kinds,
    limits: Limits,
}

type Shared = Arc<Nothing>;

/// Serves fixed answers to toggle, set, batch, status (of one and of many) and count until `shutdown` is ready.
///
/// # Errors
/// [`ServeError`] when the listening socket fails.
pub async fn serve(
    listener: TcpListener,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let nothing = Arc::new(Nothing {
        kinds: Kinds::default(),
        limits: limits.clone(),
    });
    let router = Router::new()
        .route("/api/v2/{kind}", put(set))
        .route("/api/v2/{kind}/toggle", post(toggle))
        .route("/api/v2/{kind}/batch", post(batch))
        .route("/api/v2/{kind}/batch/status", post(statuses))
        .route("/api/v2/{kind}/status", get(status))
        .route("/api/v2/{kind}/count", get(count))
        .with_state(nothing);
    run(listener, Null { router, limits }, shutdown).await
}

/// The kind in the path, as the real server finds it.
struct Kind(acclaim_core::KindId);

impl FromRequestParts<Shared> for Kind {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, nothing: &Shared) -> Result<Self, Problem> {
        let name = parts.uri.path().split('/').nth(3).unwrap_or_default();
        let kind = nothing.kinds.find(name);
        kind.map(Self)
            .ok_or_else(|| Problem::field("kind", "this is not a kind"))
    }
}

/// The kind and the bytes of a JSON body.
struct Json(acclaim_core::KindId, bytes::Bytes);

impl FromRequest<Shared> for Json {
    type Rejection = Problem;

    async fn from_request(request: AxumRequest, nothing: &Shared) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Kind(kind) = Kind::from_request_parts(&mut parts, nothing).await?;
        let bytes = json_bytes(&parts, body, &nothing.limits).await?;
        Ok(Self(kind, bytes))
    }
}

fn fixed(body: impl Into<Body>) -> Response<Body> {
    of(
        StatusCode::OK,
        HeaderValue::from_static("application/json"),
        body,
    )
}

async fn toggle(Json(kind, bytes): Json) -> Result<Response<Body>, Problem> {
    let op = parse::<EdgeForm>(&bytes)?.op(kind, Action::Toggle);
    std::hint::black_box(op);
    Ok(fixed(TRANSITION))
}

async fn set(Json(kind, bytes): Json) -> Result<Response<Body>, Problem> {
    let op = parse::<EdgeForm>(&bytes)?.op(kind, Action::Set);
    std::hint::black_box(op);
    Ok(fixed(TRANSITION))
}

async fn batch(Json(kind, bytes): Json) -> Result<Response<Body>, Problem> {
    let form = parse::<BatchForm<'_>>(&bytes)?;
    for raw in &form.ops {
        let op = parse::<OpForm>(raw.get().as_bytes())?.op(kind);
        std::hint::black_box(op);
    }
    let results = vec![TRANSITION; form.ops.len()].join(",");
    Ok(fixed(format!("{{\"results\":[{results}]}}")))
}

async fn status(
    _: State<Shared>,
    Kind(kind): Kind,
    ReadQuery(query): ReadQuery<EdgeQuery>,
) -> Response<Body> {
    std::hint::black_box(query.edge(kind));
    fixed(STATUS)
}

async fn statuses(Json(_, bytes): Json) -> Result<Response<Body>, Problem> {
    let (user, targets) = parse::<StatusesForm>(&bytes)?.user_and_targets();
    std::hint::black_box(user);
    let items = vec![TARGET_STATUS; targets.len()].join(",");
    Ok(fixed(format!("{{\"items\":[{items}]}}")))
}

async fn count(
    _: State<Shared>,
    Kind(_): Kind,
    ReadQuery(query): ReadQuery<TargetQuery>,
) -> Response<Body> {
    std::hint::black_box(query.target());
    fixed(COUNT)
}

#[derive(Clone)]
struct Null {
    router: Router,
    limits: Limits,
}

impl Serves for Null {
    type Handler = Handler;

    fn connect(&self, _: Busy) -> Handler {
        Handler(self.router.clone())
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn opened(&self) {}
    fn refused(&self) {}
    fn closed(&self) {}
    fn stops(&self) {}
}

/// The service of one connection.
struct Handler(Router);

impl Service<Request<Incoming>> for Handler {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut router = self.0.clone();
        Box::pin(async move { router.call(request).await })
    }
}
