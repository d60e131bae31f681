//! Transitions that could not be recorded.

use acclaim_core::port::{DeadLetter, Resent};
use acclaim_core::rev::Time;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, ok};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{FromQuery, NoQuery, Params, Query};

/// Which page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadLettersQuery {
    /// Letters with greater ids: the `nextAfter` of the page before.
    after: Option<u64>,
    /// Letters in the page.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 20)]
    size: Option<u64>,
}

impl FromQuery for DeadLettersQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            after: params.number("after")?,
            size: params.number("size")?,
        })
    }
}

/// A transition that was decided and could not be recorded.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(crate) struct DeadLetterBody {
    /// For `/dead-letters/{id}/retry`.
    id: u64,
    /// The partition of its journal.
    partition: u16,
    /// Its place in its journal.
    seq: u64,
    /// When it was put away, RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// Why it was refused last.
    reason: String,
    /// As it stood in the journal.
    event: String,
}

impl From<DeadLetter> for DeadLetterBody {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            partition: letter.partition,
            seq: letter.seq.0,
            at: letter.at.time(),
            reason: letter.reason,
            event: letter.event,
        }
    }
}

/// A page of them.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetters)]
pub(crate) struct DeadLettersBody {
    /// Oldest first.
    items: Vec<DeadLetterBody>,
    /// `after` of the next page, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_after: Option<u64>,
}

/// What became of one that was sent again.
#[derive(Serialize, ToSchema)]
#[schema(as = Resent)]
pub(crate) struct ResentBody {
    /// Its id.
    id: u64,
    /// `applied`: it is recorded, or a newer transition of the same edge is, and it is no dead
    /// letter any more. `refused`: it stays.
    #[schema(value_type = String, example = "applied")]
    outcome: &'static str,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// Transitions that were decided and could not be recorded, oldest first. There are none on the
/// embedded engine, which records what it decides as it decides it.
#[utoipa::path(
    get,
    path = "/api/v2/dead-letters",
    operation_id = "deadLetters",
    tag = "administration",
    params(
        DeadLettersQuery,
    ),
    responses(
        (status = 200, description = "The answer", body = DeadLettersBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Shared>,
    Query(query): Query<DeadLettersQuery>,
) -> Answer {
    let page = app.service.dead_letters(query.after, query.size).await?;
    ok(&DeadLettersBody {
        items: page.letters.into_iter().map(Into::into).collect(),
        next_after: page.next_after,
    })
}

/// Sends a dead letter again, after what it was refused for was mended.
#[utoipa::path(
    post,
    path = "/api/v2/dead-letters/{id}/retry",
    operation_id = "retryDeadLetter",
    tag = "administration",
    params(
        ("id" = u64, Path),
    ),
    responses(
        (status = 200, description = "The answer", body = ResentBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn retry(
    State(app): State<Shared>,
    Path(id): Path<String>,
    NoQuery: NoQuery,
) -> Answer {
    let id = id.parse().map_err(|_| {
        let detail = format!("{id:?} is not the id of a dead letter; it is a whole number");
        Problem::field("id", detail)
    })?;
    let (outcome, reason) = match app.service.retry_dead_letter(id).await? {
        Resent::Applied => ("applied", None),
        Resent::Refused(reason) => ("refused", Some(reason)),
    };
    ok(&ResentBody {
        id,
        outcome,
        reason,
    })
}
