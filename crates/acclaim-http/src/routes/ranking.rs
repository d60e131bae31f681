//! The targets with the highest scores.

use acclaim_core::pulse::Window;
use acclaim_core::{Target, TargetType};
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, TargetBody, ok};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{FreshParam, FromQuery, KindPath, Params, ReadQuery};

/// Which ranking.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RankingQuery {
    /// The type of the targets.
    #[param(rename = "targetType", value_type = String, example = "POST")]
    target_type: TargetType,
    /// `hour`, `day`, `week`, `month` or `all`.
    #[param(value_type = String, example = "day")]
    window: Window,
    /// How many.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 20)]
    size: Option<u64>,
}

impl FromQuery for RankingQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        let missing = || {
            Problem::field(
                "window",
                "window is missing; use hour, day, week, month or all",
            )
        };
        Ok(Self {
            target_type: params.target_type()?,
            window: params.value("window")?.ok_or_else(missing)?,
            size: params.number("size")?,
        })
    }
}

/// One line of a ranking.
#[derive(Serialize, ToSchema)]
#[schema(as = Ranked)]
pub(crate) struct RankedBody {
    /// From 1.
    rank: usize,
    #[serde(flatten)]
    target: TargetBody,
    /// Sets less unsets inside the window.
    score: i64,
    /// The target's count now.
    count: u64,
}

/// A ranking.
#[derive(Serialize, ToSchema)]
#[schema(as = Ranking)]
pub(crate) struct RankingBody {
    /// The window.
    window: &'static str,
    /// Highest score first.
    items: Vec<RankedBody>,
}

/// The targets of a type with the highest scores of a window.
#[utoipa::path(
    get,
    path = "/api/v2/{kind}/ranking",
    operation_id = "ranking",
    tag = "lists",
    params(
        ("kind" = String, Path),
        RankingQuery,
        FreshParam,
    ),
    responses(
        (status = 200, description = "The answer", body = RankingBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Shared>,
    KindPath(kind): KindPath,
    ReadQuery(query): ReadQuery<RankingQuery>,
) -> Answer {
    let RankingQuery {
        target_type,
        window,
        size,
    } = query;
    let asked = target_type.clone();
    let ranked = app.service.ranking(kind, asked, window, size).await?;
    let items = ranked.into_iter().enumerate().map(|(place, line)| {
        let target = Target {
            target_type: target_type.clone(),
            id: line.id,
        };
        RankedBody {
            rank: place + 1,
            target: target.into(),
            score: line.score,
            count: line.count,
        }
    });
    ok(&RankingBody {
        window: window.name(),
        items: items.collect(),
    })
}
