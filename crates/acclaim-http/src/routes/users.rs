//! Who did it.

use axum::extract::State;

use super::answer::{Answer, UserPage, ok};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{FreshParam, FromQuery, KindPath, ListQuery, Params, ReadQuery, TargetQuery};

/// A target and which part of its list.
pub(crate) struct UsersQuery {
    target: TargetQuery,
    list: ListQuery,
}

impl FromQuery for UsersQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            target: TargetQuery::take(params)?,
            list: ListQuery::take(params)?,
        })
    }
}

/// Who did it to a target, newest first. A user's followers have `targetType=USER`.
#[utoipa::path(
    get,
    path = "/api/v2/{kind}/users",
    operation_id = "users",
    tag = "lists",
    params(
        ("kind" = String, Path),
        TargetQuery,
        ListQuery,
        FreshParam,
    ),
    responses(
        (status = 200, description = "The answer", body = UserPage),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Shared>,
    KindPath(kind): KindPath,
    ReadQuery(query): ReadQuery<UsersQuery>,
) -> Answer {
    let (target, asked) = (query.target.target(), query.list.asked());
    let listed = app.service.users(kind, target, &asked).await?;
    ok(&UserPage::from(listed))
}
