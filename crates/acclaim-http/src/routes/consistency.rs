//! Whether every invariant holds.

use acclaim_core::port::{Finding, Invariant};
use acclaim_core::service::Check;
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, ok};
use super::audit::HoursQuery;
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{FromQuery, Params, Query};

/// Whether to mend.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CheckQuery {
    /// Mends what is derived where it is wrong.
    #[param(value_type = Option<bool>, default = false)]
    repair: bool,
}

impl FromQuery for CheckQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        let repair = params.flag("repair")?;
        Ok(Self { repair })
    }
}

/// A place where an invariant does not hold.
#[derive(Serialize, ToSchema)]
#[schema(as = Finding)]
pub(crate) struct FindingBody {
    /// Which one.
    #[schema(value_type = String, example = "target-count")]
    invariant: Invariant,
    /// Of what.
    subject: String,
    /// What it should be.
    expected: String,
    /// What it is.
    found: String,
    /// Whether it was mended.
    repaired: bool,
}

impl From<Finding> for FindingBody {
    fn from(finding: Finding) -> Self {
        Self {
            invariant: finding.invariant,
            subject: finding.subject,
            expected: finding.expected,
            found: finding.found,
            repaired: finding.repaired,
        }
    }
}

/// What checks found.
#[derive(Serialize, ToSchema)]
#[schema(as = Consistency)]
pub(crate) struct ConsistencyBody {
    /// How far back the checks reach; 0 for a check made just now.
    hours: u32,
    /// Records compared.
    checked: u64,
    /// Of those, wrong.
    mismatches: u64,
    /// Of those, mended.
    repaired: u64,
    /// The share that was right, from 0 to 1; 1 where nothing was compared.
    consistency: f64,
    /// The first of the findings.
    findings: Vec<FindingBody>,
}

impl From<Check> for ConsistencyBody {
    fn from(Check { hours, report }: Check) -> Self {
        let right = report.checked.saturating_sub(report.mismatches);
        let consistency = match report.checked {
            0 => 1.0,
            checked => right as f64 / checked as f64,
        };
        Self {
            hours,
            checked: report.checked,
            mismatches: report.mismatches,
            repaired: report.repaired,
            consistency,
            findings: report.findings.into_iter().map(FindingBody::from).collect(),
        }
    }
}

/// The sum of the checks of the last hours.
#[utoipa::path(
    get,
    path = "/api/v2/consistency/report",
    operation_id = "consistencyReport",
    tag = "administration",
    params(
        HoursQuery,
    ),
    responses(
        (status = 200, description = "The answer", body = ConsistencyBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn report(
    State(app): State<Shared>,
    Query(HoursQuery { hours }): Query<HoursQuery>,
) -> Answer {
    let check = app.service.check_reports(hours).await?;
    ok(&ConsistencyBody::from(check))
}

/// Checks every invariant now.
#[utoipa::path(
    post,
    path = "/api/v2/consistency/check",
    operation_id = "consistencyCheck",
    tag = "administration",
    params(
        CheckQuery,
    ),
    responses(
        (status = 200, description = "The answer", body = ConsistencyBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn check(
    State(app): State<Shared>,
    Query(CheckQuery { repair }): Query<CheckQuery>,
) -> Answer {
    ok(&ConsistencyBody::from(app.service.check(repair).await?))
}
