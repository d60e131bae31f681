//! Who among those that a user follows did it.

use acclaim_core::{Id, Target, TargetType};
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, UserEntry, ok};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{FreshParam, FromQuery, KindPath, Params, ReadQuery};

/// Whose acquaintances, and which target.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct KnownQuery {
    /// The user.
    #[param(rename = "userId", value_type = String, example = "42")]
    user_id: Id,
    /// The target's type.
    #[param(rename = "targetType", value_type = String, example = "POST")]
    target_type: TargetType,
    /// The target's id.
    #[param(rename = "targetId", value_type = String, example = "123")]
    target_id: Id,
    /// The kind that says whom the user knows.
    #[param(value_type = Option<String>, default = "follows")]
    via: Option<String>,
    /// Entries in the answer.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 20)]
    size: Option<u64>,
}

impl FromQuery for KnownQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            user_id: params.id("userId")?,
            target_type: params.target_type()?,
            target_id: params.id("targetId")?,
            via: params.text("via")?.map(String::from),
            size: params.number("size")?,
        })
    }
}

/// Who of them did it.
#[derive(Serialize, ToSchema)]
#[schema(as = Known)]
pub(crate) struct KnownBody {
    /// How many, exact among the newest 1,000 of whom the user follows.
    count: u64,
    /// The newest of them.
    items: Vec<UserEntry>,
    /// There, and true, when the user follows more than 1,000.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    partial: bool,
}

/// Who among those that a user follows did it to a target.
#[utoipa::path(
    get,
    path = "/api/v2/{kind}/known",
    operation_id = "known",
    tag = "reads",
    params(
        ("kind" = String, Path),
        KnownQuery,
        FreshParam,
    ),
    responses(
        (status = 200, description = "The answer", body = KnownBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(app): State<Shared>,
    KindPath(kind): KindPath,
    ReadQuery(query): ReadQuery<KnownQuery>,
) -> Answer {
    let via = app.service.kind(query.via.as_deref().unwrap_or("follows"));
    let via = via.map_err(|failure| Problem::from(failure).about("via"))?;
    let target = Target {
        target_type: query.target_type,
        id: query.target_id,
    };
    let (user, size) = (query.user_id, query.size);
    let known = app.service.known(kind, via, user, target, size).await?;
    ok(&KnownBody {
        count: known.count,
        items: known.entries.into_iter().map(UserEntry::from).collect(),
        partial: known.partial,
    })
}
