//! Whose a target is.

use acclaim_core::notify::ownership::Ownership;
use acclaim_core::{Id, Target, TargetType};
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, TargetBody, ok};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{JsonBody, OwnershipForm, UserIdSchema, parse, read_id};

/// Whose a target is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OwnedTarget)]
pub(crate) struct OwnedTargetBody {
    #[serde(flatten)]
    target: TargetBody,
    /// Its owner.
    #[schema(value_type = UserIdSchema)]
    owner_id: Id,
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    title: Option<String>,
    /// Where it is seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    url: Option<String>,
}

/// Says whose a target is, who is told of what is done to it. What was said before is replaced.
#[utoipa::path(
    put,
    path = "/api/v2/targets/{targetType}/{targetId}",
    operation_id = "ownTarget",
    tag = "notifications",
    params(
        ("targetType" = String, Path),
        ("targetId" = String, Path),
    ),
    request_body = OwnershipForm,
    responses(
        (status = 200, description = "The answer", body = OwnedTargetBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put(
    State(app): State<Shared>,
    Path((target_type, id)): Path<(String, String)>,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let target_type = TargetType::parse(&target_type)
        .map_err(|error| Problem::field("targetType", format!("targetType {error}")))?;
    let id = read_id("targetId", &id)?;
    let target = Target { target_type, id };
    let ownership: Ownership = parse::<OwnershipForm>(&bytes)?.into();
    app.service.own(&target, &ownership).await?;
    ok(&OwnedTargetBody {
        target: target.into(),
        owner_id: ownership.owner,
        title: ownership.title,
        url: ownership.url,
    })
}
