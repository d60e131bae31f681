//! Every active edge of a kind, as a stream of lines.

use std::sync::Arc;

use acclaim_core::port::ExportedEdge;
use acclaim_core::service::{AdminFailure, Service};
use acclaim_core::transfer::{Format, Writer};
use acclaim_core::{EdgeKey, KindId, ReadError};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use bytes::Bytes;
use futures::stream;
use utoipa::IntoParams;

use super::answer::{Answer, of};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{FromQuery, Params, Query};

/// Edges read and sent together.
const EDGES_A_PIECE: usize = 1_000;
/// The usual bytes of a line.
const USUAL_LINE_BYTES: usize = 112;

/// What to export.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// The kind.
    #[param(value_type = String, example = "likes")]
    kind: String,
}

impl FromQuery for ExportQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        let missing = || Problem::field("kind", "kind is missing; name the kind to export");
        let kind = params.text("kind")?.ok_or_else(missing)?;
        Ok(Self {
            kind: kind.into_owned(),
        })
    }
}

/// Every active edge of a kind, one JSON object a line. An import reads it back.
///
/// Edges that change while the export runs are in it as they were or as they are.
#[utoipa::path(
    get,
    path = "/api/v2/export",
    operation_id = "export",
    tag = "administration",
    params(
        ExportQuery,
    ),
    responses(
        (status = 200, description = "The answer", body = String, content_type = "application/x-ndjson"),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(app): State<Shared>,
    Query(ExportQuery { kind }): Query<ExportQuery>,
) -> Answer {
    let kind = app.service.kind(&kind)?;
    let mut export = Export {
        service: Arc::clone(&app.service),
        kind,
        after: None,
        ended: false,
    };
    // The first piece before the head, so that a store that cannot be read is a problem and not a
    // stream that breaks off.
    let first = export.piece().await.map_err(AdminFailure::from)?;
    let first = stream::once(async move { Ok(first) });
    let rest = stream::try_unfold(export, |mut export| async move {
        if export.ended {
            return Ok(None);
        }
        let piece = export.piece().await.inspect_err(|error| {
            tracing::error!(%error, "an export broke off");
        })?;
        Ok::<_, ReadError>(Some((piece, export)))
    });
    let lines = HeaderValue::from_static(Format::Ndjson.media_type());
    let body = Body::from_stream(stream::StreamExt::chain(first, rest));
    Ok(of(StatusCode::OK, lines, body))
}

/// An export under way.
struct Export {
    service: Arc<Service>,
    kind: KindId,
    after: Option<EdgeKey>,
    ended: bool,
}

impl Export {
    async fn piece(&mut self) -> Result<Bytes, ReadError> {
        let engine = self.service.engine();
        let after = self.after.take();
        let edges = engine.export(self.kind, after, EDGES_A_PIECE).await?;
        self.ended = edges.len() < EDGES_A_PIECE;
        let writer = Writer::new(Format::Ndjson, engine.kinds());
        let mut lines = String::with_capacity(edges.len() * USUAL_LINE_BYTES);
        edges.iter().for_each(|edge| writer.write(edge, &mut lines));
        self.after = edges
            .into_iter()
            .last()
            .map(|ExportedEdge { edge, .. }| edge);
        Ok(Bytes::from(lines))
    }
}
