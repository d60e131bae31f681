//! A user's own numbers.

use acclaim_core::Id;
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, ok};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{FreshParam, FromQuery, KindPath, Params, ReadQuery, UserIdSchema};

/// Which user.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UserQuery {
    /// The user.
    #[param(rename = "userId", value_type = String, example = "42")]
    user_id: Id,
}

impl FromQuery for UserQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        let user_id = params.id("userId")?;
        Ok(Self { user_id })
    }
}

/// A user's numbers under a kind.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Statistics)]
pub(crate) struct StatisticsBody {
    /// The user.
    #[schema(value_type = UserIdSchema)]
    user_id: Id,
    /// What the user did.
    given: u64,
    /// What was done to the user.
    received: u64,
    /// How many do it both ways; for kinds between users only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    mutual: Option<u64>,
}

/// How much a user did, and how much was done to them.
#[utoipa::path(
    get,
    path = "/api/v2/{kind}/statistics",
    operation_id = "statistics",
    tag = "reads",
    params(
        ("kind" = String, Path),
        UserQuery,
        FreshParam,
    ),
    responses(
        (status = 200, description = "The answer", body = StatisticsBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(app): State<Shared>,
    KindPath(kind): KindPath,
    ReadQuery(UserQuery { user_id }): ReadQuery<UserQuery>,
) -> Answer {
    let statistics = app.service.statistics(kind, user_id.clone()).await?;
    let numbers = statistics.numbers;
    ok(&StatisticsBody {
        user_id,
        given: numbers.given,
        received: numbers.received,
        mutual: statistics.has_mutual.then_some(numbers.mutual),
    })
}
