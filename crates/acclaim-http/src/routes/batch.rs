//! Batches of writes.

use acclaim_core::notify::ownership::Ownership;
use acclaim_core::service::OpFailure;
use acclaim_core::{EdgeKey, Id, KindId, Op, Transition, limits};
use axum::extract::State;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answer::{Answer, TransitionBody, ok};
use super::writes::{mark_replayed, no_owner};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody, not_allowed};
use crate::request::{BatchForm, Incoming, OpForm, OwnedOp, parse};

/// What became of one op of a batch.
#[derive(ToSchema)]
#[schema(as = BatchResult)]
#[allow(
    dead_code,
    reason = "it stands in the OpenAPI document; results are written as they come"
)]
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum ResultSchema<'a> {
    /// It was decided.
    Decided(TransitionBody),
    /// It failed, alone.
    Failed {
        /// Why.
        error: ProblemBody<'a>,
    },
}

/// The answers to a batch.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchResults)]
#[allow(
    dead_code,
    reason = "it stands in the OpenAPI document; results are written as they come"
)]
pub(crate) struct ResultsSchema<'a> {
    /// One answer an op, in order.
    results: Vec<ResultSchema<'a>>,
}

/// Decides up to 1,000 writes, in order. One bad op fails alone.
#[utoipa::path(
    post,
    path = "/api/v2/{kind}/batch",
    operation_id = "batch",
    tag = "writes",
    params(
        ("kind" = String, Path),
        ("Idempotency-Key" = Option<String>, Header),
        ("Acclaim-Ack" = Option<String>, Header),
    ),
    request_body = BatchForm<'_>,
    responses(
        (status = 200, description = "The answer", body = ResultsSchema<'_>),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn write(State(app): State<Shared>, incoming: Incoming) -> Answer {
    let form: BatchForm<'_> = parse(&incoming.bytes)?;
    let options = incoming.headers.options(&incoming.bytes)?;
    let (ops, claims) = read_ops(&app, &form.ops, incoming.kind);
    if !claims.is_empty() {
        app.service.claim(&claims).await?;
    }
    let answer = app.service.batch(ops, options).await?;
    let request_id = incoming.request_id.to_str().unwrap_or_default();
    let mut response = ok(&Results {
        results: &answer.results,
        request_id,
    })?;
    mark_replayed(&mut response, answer.replayed);
    Ok(response)
}

type Ops = Vec<Result<Op, Problem>>;
/// Edges, and whose their targets are.
type Claims = Vec<(EdgeKey, Id)>;

/// Reads each op by itself. One more than the limit is enough for the service to refuse them all.
fn read_ops(app: &Shared, raw: &[&RawValue], kind: KindId) -> (Ops, Claims) {
    if raw.len() > limits::MAX_BATCH_OPS {
        return (raw.iter().map(|_| Err(unread())).collect(), Vec::new());
    }
    let mut claims = Vec::new();
    let mut read = |raw: &&RawValue| {
        let OwnedOp { op, owner } = parse::<OpForm>(raw.get().as_bytes())?.op(kind);
        if let Some(owner) = owner {
            app.service.has_notifications().map_err(no_owner)?;
            let ownership = Ownership::of(owner);
            let checked = ownership.check(&op.edge.target);
            checked.map_err(|failure| Problem::field(failure.field(), failure.to_string()))?;
            claims.push((op.edge.clone(), ownership.owner));
        }
        Ok(op)
    };
    let ops = raw.iter().map(&mut read).collect();
    (ops, claims)
}

fn unread() -> Problem {
    Problem::field("ops", "the batch is too long to be read")
}

struct Results<'a> {
    results: &'a [Result<Transition, OpFailure<Problem>>],
    request_id: &'a str,
}

impl Serialize for Results<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("results", &List(self))?;
        map.end()
    }
}

struct List<'a>(&'a Results<'a>);

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Results {
            results,
            request_id,
        } = self.0;
        let mut list = serializer.serialize_seq(Some(results.len()))?;
        for result in *results {
            match result {
                Ok(transition) => list.serialize_element(&TransitionBody::from(*transition))?,
                Err(OpFailure::Unreadable(problem)) => {
                    list.serialize_element(&Failed(problem.body(request_id)))?;
                }
                Err(OpFailure::NotAllowed(failure)) => {
                    let problem = not_allowed(failure);
                    list.serialize_element(&Failed(problem.body(request_id)))?;
                }
            }
        }
        list.end()
    }
}

struct Failed<'a>(ProblemBody<'a>);

impl Serialize for Failed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("error", &self.0)?;
        map.end()
    }
}
