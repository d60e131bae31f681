//! What a user did.

use acclaim_core::{Id, TargetType};
use axum::extract::State;
use utoipa::IntoParams;

use super::answer::{Answer, TargetPage, ok};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{FreshParam, FromQuery, KindPath, ListQuery, Params, ReadQuery};

/// Whose list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OwnerParams {
    /// Who acts.
    #[param(rename = "userId", value_type = String, example = "42")]
    user_id: Id,
    /// Targets of this type only.
    #[param(rename = "targetType", value_type = Option<String>, example = "POST")]
    target_type: Option<TargetType>,
}

/// A user and which part of their list.
pub(crate) struct TargetsQuery {
    owner: OwnerParams,
    list: ListQuery,
}

impl FromQuery for TargetsQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        let owner = OwnerParams {
            user_id: params.id("userId")?,
            target_type: params.optional_target_type()?,
        };
        let list = ListQuery::take(params)?;
        Ok(Self { owner, list })
    }
}

/// What a user did it to, newest first.
#[utoipa::path(
    get,
    path = "/api/v2/{kind}/targets",
    operation_id = "targets",
    tag = "lists",
    params(
        ("kind" = String, Path),
        OwnerParams,
        ListQuery,
        FreshParam,
    ),
    responses(
        (status = 200, description = "The answer", body = TargetPage),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Shared>,
    KindPath(kind): KindPath,
    ReadQuery(TargetsQuery { owner, list }): ReadQuery<TargetsQuery>,
) -> Answer {
    let (user, target_type) = (owner.user_id, owner.target_type);
    let asked = list.asked();
    let listed = app.service.targets(kind, user, target_type, &asked).await?;
    ok(&TargetPage::from(listed))
}
