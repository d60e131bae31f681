//! Rebuilding what is derived.

use acclaim_core::service::Requested;
use acclaim_core::{Id, Target, TargetType};
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, TargetBody, ok, with_status};
use super::jobs::StartedBody;
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{FromQuery, KindPath, Params, Query};

/// Which target; none means all.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecoverQuery {
    /// The target's type.
    #[param(rename = "targetType", value_type = Option<String>, example = "POST")]
    target_type: Option<TargetType>,
    /// The target's id.
    #[param(rename = "targetId", value_type = Option<String>, example = "123")]
    target_id: Option<Id>,
}

impl FromQuery for RecoverQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            target_type: params.optional_target_type()?,
            target_id: params.optional_id("targetId")?,
        })
    }
}

impl RecoverQuery {
    fn target(self) -> Result<Option<Target>, Problem> {
        match (self.target_type, self.target_id) {
            (Some(target_type), Some(id)) => Ok(Some(Target { target_type, id })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Problem::field(
                "targetId",
                "targetId is missing; without targetType and targetId everything is recovered",
            )),
            (None, Some(_)) => Err(Problem::field(
                "targetType",
                "targetType is missing; without targetType and targetId everything is recovered",
            )),
        }
    }
}

/// What a recovery found and left.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Recovered)]
pub(crate) struct RecoveredBody {
    #[serde(flatten)]
    target: TargetBody,
    /// The count before.
    count_before: u64,
    /// The count after.
    count_after: u64,
    /// Active edges of the target.
    edges: u64,
}

/// Rebuilds the indexes and counts of a target from its edges, or of all targets as a job.
#[utoipa::path(
    post,
    path = "/api/v2/{kind}/recover",
    operation_id = "recover",
    tag = "administration",
    params(
        ("kind" = String, Path),
        RecoverQuery,
    ),
    responses(
        (status = 200, description = "The answer", body = RecoveredBody),
        (status = 202, description = "A job goes on with it", body = StartedBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn start(
    State(app): State<Shared>,
    KindPath(kind): KindPath,
    Query(query): Query<RecoverQuery>,
) -> Answer {
    let target = query.target()?;
    match (app.service.recover(kind, target.clone()).await?, target) {
        (Requested::Recovered(recovered), Some(target)) => ok(&RecoveredBody {
            target: target.into(),
            count_before: recovered.count_before,
            count_after: recovered.count_after,
            edges: recovered.edges,
        }),
        (Requested::Job(id), _) => with_status(StatusCode::ACCEPTED, &StartedBody { id }),
        (Requested::Recovered(_), None) => Err(Problem::internal(
            &"a recovery without a target was not a job",
        )),
    }
}
