//! What stands between a user and others.

use acclaim_core::Id;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, ok};
use crate::app::Shared;
use crate::problem::ProblemBody;
use crate::request::{Incoming, OthersForm, UserIdSchema, parse};

/// The edges between the user and one of the others.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Relationship)]
pub(crate) struct RelationshipBody {
    /// The other.
    #[schema(value_type = UserIdSchema)]
    user_id: Id,
    /// The user does it to the other.
    following: bool,
    /// The other does it to the user.
    followed_by: bool,
}

/// The edges between a user and others.
#[derive(Serialize, ToSchema)]
#[schema(as = Relationships)]
pub(crate) struct RelationshipsBody {
    /// One an other, in order.
    items: Vec<RelationshipBody>,
}

/// Whether a user does it to each of up to 500 others, and they to the user.
#[utoipa::path(
    post,
    path = "/api/v2/{kind}/batch/relationships",
    operation_id = "batchRelationships",
    tag = "reads",
    params(
        ("kind" = String, Path),
    ),
    request_body = OthersForm,
    responses(
        (status = 200, description = "The answer", body = RelationshipsBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn many(State(app): State<Shared>, incoming: Incoming) -> Answer {
    let (user, others) = parse::<OthersForm>(&incoming.bytes)?.user_and_others();
    let (kind, asked) = (incoming.kind, others.clone());
    let found = app.service.relationships(kind, user, asked).await?;
    let items = others.into_iter().zip(found);
    let items = items.map(|(user_id, found)| RelationshipBody {
        user_id,
        following: found.following,
        followed_by: found.followed_by,
    });
    ok(&RelationshipsBody {
        items: items.collect(),
    })
}
