//! Edges from a stream of lines.
//!
//! The body is read piece by piece, unpacked if it is gzip, decoded, and written in batches of
//! which a few are under way at once; what is in memory is bounded by those. Batches go to the
//! engine in the order of their lines, so that of two lines about one edge the first one counts.
//! Whoever prefers not to wait gets a job instead.

mod batches;
mod job;
mod unpack;

use acclaim_core::port::ImportSpec;
use acclaim_core::service::UnknownKind;
use acclaim_core::transfer::{Decoded, Decoder, Defaults, Format, FormatError, Summary};
use acclaim_core::{KindId, TargetType};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use http_body_util::BodyExt;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, ok};
use super::jobs::StartedBody;
use crate::app::Shared;
use crate::problem::{Code, Problem, ProblemBody};
use crate::request::{FromQuery, Params, broken_off, content_type, prefers_async, read_query};
use batches::Batches;
use unpack::{Encoding, Unpacker};

/// What lines have that do not say so.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportQuery {
    /// The kind of lines without one.
    #[param(value_type = Option<String>, example = "likes")]
    kind: Option<String>,
    /// The target type of lines without one.
    #[param(rename = "targetType", value_type = Option<String>, example = "POST")]
    target_type: Option<TargetType>,
}

impl FromQuery for ImportQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            kind: params.text("kind")?.map(String::from),
            target_type: params.optional_target_type()?,
        })
    }
}

/// A line that was not taken.
#[derive(Serialize, ToSchema)]
#[schema(as = Rejection)]
#[allow(
    dead_code,
    reason = "it stands in the OpenAPI document for the core's own"
)]
pub(crate) struct RejectionSchema {
    /// Its number, from 1.
    line: u64,
    /// Why.
    #[schema(example = "bad_request")]
    code: String,
    /// Why, in words.
    detail: String,
}

/// What became of the lines.
#[derive(Serialize, ToSchema)]
#[schema(as = Imported)]
#[allow(
    dead_code,
    reason = "it stands in the OpenAPI document for the core's own"
)]
pub(crate) struct ImportedSchema {
    /// Lines with an edge on them, or with what should have been one.
    lines: u64,
    /// Edges that were not there before.
    set: u64,
    /// Edges that were there already.
    unchanged: u64,
    /// Lines that were not taken.
    rejected: u64,
    /// The first 100 of them.
    rejections: Vec<RejectionSchema>,
}

/// Takes edges, one a line. `at` becomes an edge's time and its place in the lists. Can be
/// repeated: nothing doubles.
///
/// The body may be packed (`Content-Encoding: gzip`) and has no limit. After a failure the lines
/// before it may be written; send the file again.
///
/// With `Prefer: respond-async` the body is only kept, and a job takes the edges: 202 at once, the
/// summary in `/jobs/{id}`.
#[utoipa::path(
    post,
    path = "/api/v2/import",
    operation_id = "import",
    tag = "administration",
    params(
        ImportQuery,
        ("Prefer" = Option<String>, Header, description = "`respond-async` makes a job of it", example = "respond-async"),
    ),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"))),
    responses(
        (status = 200, description = "The answer", body = ImportedSchema),
        (
            status = 202,
            description = "A job goes on with it",
            body = StartedBody,
            headers(
                ("Location" = String, description = "The job: `/api/v2/jobs/{id}`"),
                ("Preference-Applied" = String, description = "`respond-async`"),
            ),
        ),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn write(State(app): State<Shared>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let query: ImportQuery = read_query(parts.uri.query())?;
    let format = format_of(&parts.headers)?;
    let encoding = Encoding::of(&parts.headers)?;
    let defaults = Defaults {
        kind: default_kind(&app, query.kind.as_deref())?,
        target_type: query.target_type,
    };
    if prefers_async(&parts.headers) {
        let spec = ImportSpec { format, defaults };
        return job::start(&app, spec, encoding, body).await;
    }
    app.service
        .audit_before("import", format.media_type())
        .await?;
    let import = Import {
        decoder: Decoder::new(format, app.service.engine().kinds(), defaults),
        unpacker: Unpacker::new(encoding),
        batches: Batches::new(&app),
        decoded: Decoded::default(),
        app,
    };
    ok(&import.run(body).await?)
}

fn format_of(headers: &HeaderMap) -> Result<Format, Problem> {
    let text = content_type(headers).and_then(|value| value.to_str().ok());
    text.and_then(Format::of_media_type).ok_or_else(|| {
        let detail = "an import has the content type application/x-ndjson or text/csv";
        Problem::new(Code::UnsupportedMediaType, detail).about("content-type")
    })
}

fn default_kind(app: &Shared, name: Option<&str>) -> Result<Option<KindId>, UnknownKind> {
    name.map(|name| app.service.kind(name)).transpose()
}

/// An import under way.
struct Import {
    app: Shared,
    unpacker: Unpacker,
    decoder: Decoder,
    decoded: Decoded,
    batches: Batches,
}

impl Import {
    async fn run(mut self, mut body: Body) -> Result<Summary, Problem> {
        while let Some(piece) = next_piece(&mut body).await? {
            for part in self.unpacker.parts(&piece) {
                self.unpacker.feed(&part)?;
                self.decode_unpacked().await?;
            }
        }
        self.unpacker.finish()?;
        self.decode_unpacked().await?;
        let now = self.app.service.now();
        let finished = self.decoder.finish(now, &mut self.decoded);
        finished.map_err(unusable)?;
        self.batches.take(&mut self.decoded).await?;
        let summary = self.batches.finish().await?;
        self.app.metrics.imported_lines.inc_by(summary.lines);
        Ok(summary)
    }

    async fn decode_unpacked(&mut self) -> Result<(), Problem> {
        while let Some(text) = self.unpacker.next_text() {
            let now = self.app.service.now();
            let decoded = self.decoder.decode(&text, now, &mut self.decoded);
            decoded.map_err(unusable)?;
            self.batches.take_full(&mut self.decoded).await?;
        }
        Ok(())
    }
}

async fn next_piece(body: &mut Body) -> Result<Option<bytes::Bytes>, Problem> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| broken_off())?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn unusable(error: FormatError) -> Problem {
    Problem::new(Code::BadRequest, error.to_string())
}
