//! What Prometheus reads.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};

use super::answer::{Answer, of};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric of the process, as OpenMetrics text.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "operations",
    responses(
        (status = 200, description = "The answer", body = String, content_type = "application/openmetrics-text"),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(State(app): State<Shared>) -> Answer {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &app.registry)
        .map_err(|error| Problem::internal(&error))?;
    Ok(of(
        StatusCode::OK,
        HeaderValue::from_static(OPEN_METRICS),
        text,
    ))
}
