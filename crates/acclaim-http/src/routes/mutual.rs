//! Who does it back.

use acclaim_core::Id;
use acclaim_core::service::Asked;
use axum::extract::State;
use utoipa::IntoParams;

use super::answer::{Answer, UserPage, ok};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{FreshParam, FromQuery, KindPath, Params, ReadQuery};

/// Whose list, and which part of it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MutualQuery {
    /// The user.
    #[param(rename = "userId", value_type = String, example = "42")]
    user_id: Id,
    /// Entries a page. A page may hold fewer, even none, while `nextCursor` is there.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 20)]
    size: Option<u64>,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<String>,
}

impl FromQuery for MutualQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            user_id: params.id("userId")?,
            size: params.number("size")?,
            cursor: params.text("cursor")?.map(String::from),
        })
    }
}

/// The users to whom a user does it and who do it back, newest first.
#[utoipa::path(
    get,
    path = "/api/v2/{kind}/mutual",
    operation_id = "mutual",
    tag = "lists",
    params(
        ("kind" = String, Path),
        MutualQuery,
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
    ReadQuery(query): ReadQuery<MutualQuery>,
) -> Answer {
    let asked = Asked {
        size: query.size,
        page: None,
        cursor: query.cursor,
    };
    let listed = app.service.mutual(kind, query.user_id, &asked).await?;
    ok(&UserPage::from(listed))
}
