//! Toggle, set and unset.

use acclaim_core::service::{NotifyFailure, WriteOptions, Written};
use acclaim_core::{Action, Op};
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::request::Parts;

use super::answer::{Answer, TransitionBody, ok};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{
    EdgeForm, EdgeQuery, Incoming, KindPath, OwnedOp, Query, WriteHeaders, parse,
};

/// Makes an edge what it was not.
#[utoipa::path(
    post,
    path = "/api/v2/{kind}/toggle",
    operation_id = "toggle",
    tag = "writes",
    params(
        ("kind" = String, Path),
        ("Idempotency-Key" = Option<String>, Header),
        ("Acclaim-Ack" = Option<String>, Header),
    ),
    request_body = EdgeForm,
    responses(
        (status = 200, description = "The answer", body = TransitionBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn toggle(State(app): State<Shared>, incoming: Incoming) -> Answer {
    write(&app, &incoming, Action::Toggle).await
}

/// Makes an edge active. Can be repeated.
#[utoipa::path(
    put,
    path = "/api/v2/{kind}",
    operation_id = "set",
    tag = "writes",
    params(
        ("kind" = String, Path),
        ("Idempotency-Key" = Option<String>, Header),
        ("Acclaim-Ack" = Option<String>, Header),
    ),
    request_body = EdgeForm,
    responses(
        (status = 200, description = "The answer", body = TransitionBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn set(State(app): State<Shared>, incoming: Incoming) -> Answer {
    write(&app, &incoming, Action::Set).await
}

/// Makes an edge inactive. Can be repeated.
#[utoipa::path(
    delete,
    path = "/api/v2/{kind}",
    operation_id = "unset",
    tag = "writes",
    params(
        ("kind" = String, Path),
        EdgeQuery,
        ("Idempotency-Key" = Option<String>, Header),
        ("Acclaim-Ack" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "The answer", body = TransitionBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn unset(
    State(app): State<Shared>,
    KindPath(kind): KindPath,
    Query(query): Query<EdgeQuery>,
    HeadersOfWrite(headers): HeadersOfWrite,
) -> Answer {
    let options = headers.options(&[])?;
    decide(&app, Op::new(Action::Unset, query.edge(kind)), options).await
}

async fn write(app: &Shared, incoming: &Incoming, action: Action) -> Answer {
    let form: EdgeForm = parse(&incoming.bytes)?;
    let options = incoming.headers.options(&incoming.bytes)?;
    let OwnedOp { op, owner } = form.op(incoming.kind, action);
    if let Some(owner) = owner {
        app.service.has_notifications().map_err(no_owner)?;
        app.service.claim(&[(op.edge.clone(), owner)]).await?;
    }
    decide(app, op, options).await
}

/// A write that says whose its target is, where nobody can be told of it.
pub(super) fn no_owner(failure: NotifyFailure) -> Problem {
    Problem::field("ownerId", format!("{failure}; leave ownerId out"))
}

async fn decide(app: &Shared, op: Op, options: WriteOptions) -> Answer {
    let written = app.service.write(op, options).await?;
    let Written {
        transition,
        replayed,
    } = written;
    let mut response = ok(&TransitionBody::from(transition))?;
    mark_replayed(&mut response, replayed);
    Ok(response)
}

/// Says that this is the stored answer of an earlier request.
pub(super) fn mark_replayed(response: &mut axum::response::Response, replayed: bool) {
    if replayed {
        let yes = HeaderValue::from_static("true");
        response.headers_mut().insert("idempotency-replayed", yes);
    }
}

/// The headers of a write without a body.
pub(crate) struct HeadersOfWrite(WriteHeaders);

impl axum::extract::FromRequestParts<Shared> for HeadersOfWrite {
    type Rejection = Problem;

    fn from_request_parts(
        parts: &mut Parts,
        _: &Shared,
    ) -> impl Future<Output = Result<Self, Problem>> + Send {
        std::future::ready(WriteHeaders::read(parts).map(Self))
    }
}
