//! The numbers of days.

use acclaim_core::TargetType;
use acclaim_core::rev::day_name;
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, ok};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{FreshParam, FromQuery, KindPath, Params, ReadQuery};

/// Which days.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DailyQuery {
    /// How many, today included.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 366, default = 30)]
    days: Option<u64>,
    /// Targets of this type only.
    #[param(rename = "targetType", value_type = Option<String>, example = "POST")]
    target_type: Option<TargetType>,
}

impl FromQuery for DailyQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            days: params.number("days")?,
            target_type: params.optional_target_type()?,
        })
    }
}

/// One day's numbers.
#[derive(Serialize, ToSchema)]
#[schema(as = Day)]
pub(crate) struct DayBody {
    /// The UTC day.
    #[schema(format = Date, example = "2026-11-20")]
    day: String,
    /// Transitions to active.
    set: u64,
    /// Transitions to inactive.
    unset: u64,
    /// Distinct users who made any.
    users: u64,
}

/// The numbers of days.
#[derive(Serialize, ToSchema)]
#[schema(as = Days)]
pub(crate) struct DaysBody {
    /// Newest day first.
    items: Vec<DayBody>,
}

/// The numbers of the last days, newest first, UTC.
#[utoipa::path(
    get,
    path = "/api/v2/{kind}/daily",
    operation_id = "daily",
    tag = "reads",
    params(
        ("kind" = String, Path),
        DailyQuery,
        FreshParam,
    ),
    responses(
        (status = 200, description = "The answer", body = DaysBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Shared>,
    KindPath(kind): KindPath,
    ReadQuery(query): ReadQuery<DailyQuery>,
) -> Answer {
    let days = app
        .service
        .daily(kind, query.target_type, query.days)
        .await?;
    let items = days.into_iter().map(|day| DayBody {
        day: day_name(day.day),
        set: day.set,
        unset: day.unset,
        users: day.users,
    });
    ok(&DaysBody {
        items: items.collect(),
    })
}
