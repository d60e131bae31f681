//! The OpenAPI document and a page that reads it. The page asks no other host for anything.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};

use super::answer::{Answer, of};
use crate::app::Shared;
use crate::problem::ProblemBody;

const PAGE: &str = include_str!("docs.html");
/// The page's own script and style, requests to this server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "operations",
    responses(
        (status = 200, description = "The answer", body = Object, content_type = "application/json"),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn document(State(app): State<Shared>) -> Answer {
    let json = HeaderValue::from_static("application/json");
    Ok(of(StatusCode::OK, json, app.openapi.clone()))
}

/// A page to read the document and to try its calls.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "docs",
    tag = "operations",
    responses(
        (status = 200, description = "The answer", body = String, content_type = "text/html"),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn page() -> Answer {
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let mut response = of(StatusCode::OK, html, PAGE);
    let policy = HeaderValue::from_static(POLICY);
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}
