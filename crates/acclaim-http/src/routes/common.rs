//! What two users both did.

use acclaim_core::Id;
use acclaim_core::service::{Asked, Common};
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, TargetPage, UserPage, ok};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{FreshParam, FromQuery, KindPath, Params, ReadQuery};

/// Which two users, and which part of their list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CommonQuery {
    /// The one, by whose times the list is ordered.
    #[param(rename = "userId", value_type = String, example = "42")]
    user_id: Id,
    /// The other.
    #[param(rename = "otherId", value_type = String, example = "43")]
    other_id: Id,
    /// Entries a page. A page may hold fewer, even none, while `nextCursor` is there.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 20)]
    size: Option<u64>,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<String>,
}

impl FromQuery for CommonQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            user_id: params.id("userId")?,
            other_id: params.id("otherId")?,
            size: params.number("size")?,
            cursor: params.text("cursor")?.map(String::from),
        })
    }
}

/// Users for kinds between users, targets for all others.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = CommonPage)]
pub(crate) enum CommonPage {
    /// Of a kind between users.
    Users(UserPage),
    /// Of any other kind.
    Targets(TargetPage),
}

/// What two users both did it to, newest first by the first one's times.
#[utoipa::path(
    get,
    path = "/api/v2/{kind}/common",
    operation_id = "common",
    tag = "lists",
    params(
        ("kind" = String, Path),
        CommonQuery,
        FreshParam,
    ),
    responses(
        (status = 200, description = "The answer", body = CommonPage),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Shared>,
    KindPath(kind): KindPath,
    ReadQuery(query): ReadQuery<CommonQuery>,
) -> Answer {
    let asked = Asked {
        size: query.size,
        page: None,
        cursor: query.cursor,
    };
    let (user, other) = (query.user_id, query.other_id);
    let common = app.service.common(kind, user, other, &asked).await?;
    ok(&match common {
        Common::Users(listed) => CommonPage::Users(listed.into()),
        Common::Targets(listed) => CommonPage::Targets(listed.into()),
    })
}
