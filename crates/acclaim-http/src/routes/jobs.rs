//! Jobs.

use acclaim_core::port::{Job, JobState};
use acclaim_core::transfer::Summary;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, ok};
use super::import::ImportedSchema;
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::NoQuery;

/// A job that was started.
#[derive(Serialize, ToSchema)]
#[schema(as = Started)]
pub(crate) struct StartedBody {
    /// Its id, for `/jobs/{id}`.
    pub(super) id: u64,
}

/// Where a job stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobBody {
    /// Its id.
    id: u64,
    /// What it does, in words.
    job: String,
    /// `queued`, `running`, `done` or `failed`.
    #[schema(value_type = String, example = "running")]
    state: JobState,
    /// Edges dealt with; of an import, bytes of its text, unpacked.
    done: u64,
    /// Edges to deal with, as far as known; of an import, bytes of its text, unpacked.
    total: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
    /// Of an import, what became of the lines so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ImportedSchema>, nullable = false)]
    import: Option<Summary>,
}

impl From<Job> for JobBody {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            job: job.job,
            state: job.state,
            done: job.done,
            total: job.total,
            error: job.error,
            import: job.import,
        }
    }
}

/// Where a job stands.
#[utoipa::path(
    get,
    path = "/api/v2/jobs/{id}",
    operation_id = "job",
    tag = "administration",
    params(
        ("id" = u64, Path),
    ),
    responses(
        (status = 200, description = "The answer", body = JobBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(app): State<Shared>,
    Path(id): Path<String>,
    NoQuery: NoQuery,
) -> Answer {
    let id = id.parse().map_err(|_| {
        let detail = format!("{id:?} is not the id of a job; it is a whole number");
        Problem::field("id", detail)
    })?;
    ok(&JobBody::from(app.service.job(id).await?))
}
