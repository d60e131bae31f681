//! How many did it.

use acclaim_core::Target;
use acclaim_core::port::Count;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, TargetBody, ok};
use crate::app::Shared;
use crate::problem::ProblemBody;
use crate::request::{FreshParam, Incoming, KindPath, ReadQuery, TargetQuery, TargetsForm, parse};

/// The count of a target.
#[derive(Serialize, ToSchema)]
#[schema(as = Count)]
pub(crate) struct CountBody {
    #[serde(flatten)]
    target: TargetBody,
    /// Active edges.
    count: u64,
    /// The place in the journal of the target's last transition; 0 where there was none.
    rev: u64,
}

/// The counts of targets.
#[derive(Serialize, ToSchema)]
#[schema(as = Counts)]
pub(crate) struct CountsBody {
    /// One a target, in order.
    items: Vec<CountBody>,
}

/// How many did it to a target.
#[utoipa::path(
    get,
    path = "/api/v2/{kind}/count",
    operation_id = "count",
    tag = "reads",
    params(
        ("kind" = String, Path),
        TargetQuery,
        FreshParam,
    ),
    responses(
        (status = 200, description = "The answer", body = CountBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(
    State(app): State<Shared>,
    KindPath(kind): KindPath,
    ReadQuery(query): ReadQuery<TargetQuery>,
) -> Answer {
    let target = query.target();
    let count = app.service.count(kind, target.clone()).await?;
    ok(&body(target, count))
}

/// How many did it to each of up to 500 targets.
#[utoipa::path(
    post,
    path = "/api/v2/{kind}/batch/count",
    operation_id = "batchCount",
    tag = "reads",
    params(
        ("kind" = String, Path),
    ),
    request_body = TargetsForm,
    responses(
        (status = 200, description = "The answer", body = CountsBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn many(State(app): State<Shared>, incoming: Incoming) -> Answer {
    let targets = parse::<TargetsForm>(&incoming.bytes)?.targets();
    let counts = app.service.counts(incoming.kind, targets.clone()).await?;
    let items = targets.into_iter().zip(counts);
    ok(&CountsBody {
        items: items.map(|(target, count)| body(target, count)).collect(),
    })
}

fn body(target: Target, count: Count) -> CountBody {
    CountBody {
        target: target.into(),
        count: count.count,
        rev: count.rev.0,
    }
}
