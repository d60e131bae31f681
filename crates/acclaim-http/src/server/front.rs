//! The one layer before the routes: request id, admission, deadline, metrics, problems.
//!
//! Everything that every request goes through is here, in the order in which it happens. It is one
//! function instead of a tower of layers, because each of those would box the request once more.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use futures::FutureExt;
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::time::Instant;
use tower::Service as _;

use super::accept::Serves;
use super::connection::Busy;
use super::deadline::{Deadline, Late, TimedBody};
use crate::app::App;
use crate::limits::Limits;
use crate::metrics::RouteMetrics;
use crate::problem::{Code, Problem};
use crate::request::REQUEST_ID;

/// The application as the accept loop sees it.
#[derive(Clone)]
pub(super) struct Front(App);

impl Front {
    pub(super) fn new(app: App) -> Self {
        Self(app)
    }
}

impl Serves for Front {
    type Handler = Handler;

    fn connect(&self, busy: Busy) -> Handler {
        Handler {
            deadline: Deadline::new(&self.0.state.limits),
            app: self.0.clone(),
            busy,
        }
    }

    fn limits(&self) -> &Limits {
        &self.0.state.limits
    }

    fn opened(&self) {
        self.0.state.metrics.connections.inc();
        self.0.state.metrics.connections_total.inc();
    }

    fn refused(&self) {
        self.0.state.metrics.connections_refused.inc();
    }

    fn closed(&self) {
        self.0.state.metrics.connections.dec();
    }

    fn stops(&self) {
        self.0.state.stop();
    }
}

/// The service of one connection, which has one request at a time.
pub(super) struct Handler {
    app: App,
    busy: Busy,
    deadline: Arc<Deadline>,
}

impl Service<Request<Incoming>> for Handler {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.busy.store(true, Ordering::Relaxed);
        let (app, busy) = (self.app.clone(), Busy::clone(&self.busy));
        let deadline = Arc::clone(&self.deadline);
        Box::pin(async move {
            let response = answer(app, deadline, request).await;
            busy.store(false, Ordering::Relaxed);
            Ok(response)
        })
    }
}

async fn answer(
    app: App,
    deadline: Arc<Deadline>,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let started = Instant::now();
    let state = &app.state;
    let id = state.request_ids.take(request.headers().get(REQUEST_ID));
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let route = state.metrics.route(request.method(), request.uri().path());
    let response = match state.enter() {
        None if !route.always => shed(&app),
        _in_flight => dispatch(&app, deadline, started, route, request).await,
    };
    let response = finish(response, id);
    route.answered(response.status(), started.elapsed().as_secs_f64());
    response
}

/// Refuses a request before its body is read. The connection is closed, since its body may still
/// be on the way.
fn shed(app: &App) -> Response<Body> {
    app.state.metrics.shed.inc();
    let detail = format!(
        "{} requests are being answered, which is the limit; try again in a moment",
        app.state.limits.max_requests_in_flight
    );
    let mut response = axum::response::IntoResponse::into_response(Problem::overloaded(detail));
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

async fn dispatch(
    app: &App,
    deadline: Arc<Deadline>,
    started: Instant,
    route: &RouteMetrics,
    request: Request<Incoming>,
) -> Response<Body> {
    let mut router = app.router.clone();
    let answer = router.call(request.map(|body| TimedBody::new(body, Arc::clone(&deadline))));
    // Nothing that a panic leaves behind is looked at again but the shared state, whose locks are
    // those of the engine, which decides for itself.
    let answer = AssertUnwindSafe(answer).catch_unwind();
    match deadline.keep(started, route.streams, answer).await {
        Ok(Ok(Ok(response))) => response,
        Ok(Ok(Err(never))) => match never {},
        Ok(Err(_panic)) => respond(Problem::internal(&"a handler panicked")),
        Err(Late::Body) => respond(body_late(&app.state.limits)),
        Err(Late::Answer) => respond(timed_out(&app.state.limits)),
    }
}

fn respond(problem: Problem) -> Response<Body> {
    axum::response::IntoResponse::into_response(problem)
}

fn body_late(limits: &Limits) -> Problem {
    let detail = format!(
        "nothing of the body came for {} ms",
        limits.body_timeout_millis
    );
    Problem::new(Code::BadRequest, detail)
}

fn timed_out(limits: &Limits) -> Problem {
    let detail = format!(
        "there was no answer within {} ms. The outcome is unknown; a repeat with the same Idempotency-Key is safe",
        limits.request_timeout_millis
    );
    Problem::new(Code::Timeout, detail)
}

/// Renders a problem, now that the id is known, and puts the id on the answer.
fn finish(mut response: Response<Body>, id: HeaderValue) -> Response<Body> {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        // An id is ASCII by its grammar.
        let mut rendered = problem.render(id.to_str().unwrap_or_default());
        let rejected = rendered.status() == StatusCode::METHOD_NOT_ALLOWED;
        for (name, kept) in [(header::ALLOW, rejected), (header::CONNECTION, true)] {
            if let Some(value) = response.headers_mut().remove(&name).filter(|_| kept) {
                rendered.headers_mut().insert(name, value);
            }
        }
        response = rendered;
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}
