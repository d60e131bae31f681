//! What was done to the store other than by its users.

use acclaim_core::rev::Time;
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, ok};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{FromQuery, Params, Query};

/// How far back.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HoursQuery {
    /// Hours back from now.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 8784, default = 24)]
    pub(super) hours: Option<u64>,
}

impl FromQuery for HoursQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        let hours = params.number("hours")?;
        Ok(Self { hours })
    }
}

/// One thing done.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(crate) struct AuditEntryBody {
    /// When, RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// What: `erase`, `recover`, `check`, `import`, `backup`.
    action: String,
    /// In words.
    detail: String,
}

/// What was done lately.
#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
pub(crate) struct AuditBody {
    /// How far back.
    hours: u32,
    /// Newest first.
    items: Vec<AuditEntryBody>,
}

/// What was done to the store other than by its users, newest first.
#[utoipa::path(
    get,
    path = "/api/v2/audit",
    operation_id = "audit",
    tag = "administration",
    params(
        HoursQuery,
    ),
    responses(
        (status = 200, description = "The answer", body = AuditBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Shared>,
    Query(HoursQuery { hours }): Query<HoursQuery>,
) -> Answer {
    let (hours, entries) = app.service.audit(hours).await?;
    let items = entries.into_iter().map(|entry| AuditEntryBody {
        at: entry.at.time(),
        action: entry.action,
        detail: entry.detail,
    });
    ok(&AuditBody {
        hours,
        items: items.collect(),
    })
}
