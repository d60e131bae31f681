//! Whether a user did it.

use acclaim_core::Target;
use acclaim_core::port::Status;
use acclaim_core::rev::Time;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, TargetBody, ok};
use crate::app::Shared;
use crate::problem::ProblemBody;
use crate::request::{EdgeQuery, FreshParam, Incoming, KindPath, ReadQuery, StatusesForm, parse};

/// Whether a user did it, and the count of the target, read together.
#[derive(Serialize, ToSchema)]
#[schema(as = Status)]
pub(crate) struct StatusBody {
    /// Whether the edge is there.
    active: bool,
    /// Since when, RFC 3339; only when active.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    since: Option<Time>,
    /// Active edges of the target.
    count: u64,
}

impl From<Status> for StatusBody {
    fn from(status: Status) -> Self {
        Self {
            active: status.edge.active,
            since: status.edge.active.then(|| status.edge.rev.time()),
            count: status.count,
        }
    }
}

/// The status of one target among several.
#[derive(Serialize, ToSchema)]
#[schema(as = TargetStatus)]
pub(crate) struct TargetStatus {
    #[serde(flatten)]
    target: TargetBody,
    #[serde(flatten)]
    status: StatusBody,
}

/// The statuses of targets.
#[derive(Serialize, ToSchema)]
#[schema(as = Statuses)]
pub(crate) struct StatusesBody {
    /// One a target, in order.
    items: Vec<TargetStatus>,
}

/// Whether a user did it to a target.
#[utoipa::path(
    get,
    path = "/api/v2/{kind}/status",
    operation_id = "status",
    tag = "reads",
    params(
        ("kind" = String, Path),
        EdgeQuery,
        FreshParam,
    ),
    responses(
        (status = 200, description = "The answer", body = StatusBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(
    State(app): State<Shared>,
    KindPath(kind): KindPath,
    ReadQuery(query): ReadQuery<EdgeQuery>,
) -> Answer {
    let edge = query.edge(kind);
    let status = app.service.status(kind, edge.user, edge.target).await?;
    ok(&StatusBody::from(status))
}

/// Whether a user did it to each of up to 500 targets.
#[utoipa::path(
    post,
    path = "/api/v2/{kind}/batch/status",
    operation_id = "batchStatus",
    tag = "reads",
    params(
        ("kind" = String, Path),
    ),
    request_body = StatusesForm,
    responses(
        (status = 200, description = "The answer", body = StatusesBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn many(State(app): State<Shared>, incoming: Incoming) -> Answer {
    let (user, targets) = parse::<StatusesForm>(&incoming.bytes)?.user_and_targets();
    let (kind, asked) = (incoming.kind, targets.clone());
    let statuses = app.service.statuses(kind, &user, asked).await?;
    let items = targets.into_iter().zip(statuses);
    ok(&StatusesBody {
        items: items.map(|(target, status)| of(target, status)).collect(),
    })
}

fn of(target: Target, status: Status) -> TargetStatus {
    TargetStatus {
        target: target.into(),
        status: status.into(),
    }
}
