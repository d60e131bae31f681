//! Whether the process lives, and whether it can do its work.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, ok, with_status};
use crate::app::Shared;
use crate::problem::ProblemBody;

/// The process lives.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(crate) struct HealthBody {
    /// `alive`.
    status: &'static str,
}

/// Something the engine depends on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Dependency)]
pub(crate) struct DependencyBody {
    /// Its name.
    name: &'static str,
    /// `up` or `down`.
    state: &'static str,
    /// How long it took to answer last time, in milliseconds.
    latency_ms: f64,
    /// What is wrong, where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<String>,
}

/// How the server stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Ready)]
pub(crate) struct ReadyBody {
    /// Whether it takes reads and writes.
    ready: bool,
    /// Which engine.
    engine: &'static str,
    /// The version of the server.
    version: &'static str,
    /// What it depends on.
    dependencies: Vec<DependencyBody>,
    /// What an acknowledgement survives, in words.
    guarantee: String,
    /// Events acknowledged and not yet in the ledger.
    backlog_events: u64,
    /// The age of the oldest of them, in seconds.
    backlog_seconds: f64,
}

/// 200 while the process lives.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "health",
    tag = "operations",
    responses(
        (status = 200, description = "The answer", body = HealthBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn health() -> Answer {
    ok(&HealthBody { status: "alive" })
}

/// 200 while reads and writes are taken, else 503.
#[utoipa::path(
    get,
    path = "/ready",
    operation_id = "ready",
    tag = "operations",
    responses(
        (status = 200, description = "The answer", body = ReadyBody),
        (status = 503, description = "Not now", body = ReadyBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn ready(State(app): State<Shared>) -> Answer {
    let engine = app.service.engine();
    let health = engine.health();
    let ready = health.ready && !app.is_stopping();
    let dependencies = health.dependencies.into_iter().map(|dependency| {
        let state = if dependency.up { "up" } else { "down" };
        DependencyBody {
            name: dependency.name,
            state,
            latency_ms: dependency.latency_micros as f64 / 1e3,
            detail: dependency.detail,
        }
    });
    let body = ReadyBody {
        ready,
        engine: engine.name(),
        version: env!("CARGO_PKG_VERSION"),
        dependencies: dependencies.collect(),
        guarantee: health.guarantee,
        backlog_events: health.backlog_events,
        backlog_seconds: health.backlog_millis as f64 / 1e3,
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    with_status(status, &body)
}
