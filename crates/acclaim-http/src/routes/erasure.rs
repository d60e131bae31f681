//! Erasing users and targets.

use acclaim_core::{Target, TargetType};
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::answer::{Answer, with_status};
use super::jobs::StartedBody;
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{NoQuery, read_id};

/// Removes all that a user did and all that was done to them, as a job.
#[utoipa::path(
    delete,
    path = "/api/v2/users/{userId}",
    operation_id = "eraseUser",
    tag = "administration",
    params(
        ("userId" = String, Path),
    ),
    responses(
        (status = 202, description = "A job goes on with it", body = StartedBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn user(
    State(app): State<Shared>,
    Path(user): Path<String>,
    NoQuery: NoQuery,
) -> Answer {
    let user = read_id("userId", &user)?;
    let id = app.service.erase_user(user).await?;
    with_status(StatusCode::ACCEPTED, &StartedBody { id })
}

/// Removes all that was done to a target, as a job.
#[utoipa::path(
    delete,
    path = "/api/v2/targets/{targetType}/{targetId}",
    operation_id = "eraseTarget",
    tag = "administration",
    params(
        ("targetType" = String, Path),
        ("targetId" = String, Path),
    ),
    responses(
        (status = 202, description = "A job goes on with it", body = StartedBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn target(
    State(app): State<Shared>,
    Path((target_type, id)): Path<(String, String)>,
    NoQuery: NoQuery,
) -> Answer {
    let target_type = TargetType::parse(&target_type)
        .map_err(|error| Problem::field("targetType", format!("targetType {error}")))?;
    let id = read_id("targetId", &id)?;
    let id = app.service.erase_target(Target { target_type, id }).await?;
    with_status(StatusCode::ACCEPTED, &StartedBody { id })
}
