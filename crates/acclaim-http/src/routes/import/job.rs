//! An import that goes on as a job: its text is unpacked into the engine's spool, and the answer
//! comes before the first line is read.

use acclaim_core::port::{ImportSpec, JobId, Spool};
use acclaim_core::service::AdminFailure;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};

use super::next_piece;
use super::unpack::{Encoding, Unpacker};
use crate::app::Shared;
use crate::problem::Problem;
use crate::request::RESPOND_ASYNC;
use crate::routes::answer::{Answer, with_status};
use crate::routes::jobs::StartedBody;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Takes the whole body and starts the job. A body that breaks off leaves neither text nor job.
pub(super) async fn start(
    app: &Shared,
    spec: ImportSpec,
    encoding: Encoding,
    mut body: Body,
) -> Answer {
    let mut spool = app.service.begin_import(spec).await?;
    let mut unpacker = Unpacker::new(encoding);
    while let Some(piece) = next_piece(&mut body).await? {
        for part in unpacker.parts(&piece) {
            unpacker.feed(&part)?;
            keep(&mut unpacker, spool.as_mut()).await?;
        }
    }
    unpacker.finish()?;
    keep(&mut unpacker, spool.as_mut()).await?;
    let id = spool.start().await.map_err(AdminFailure::from)?;
    accepted(id)
}

async fn keep(unpacker: &mut Unpacker, spool: &mut dyn Spool) -> Result<(), Problem> {
    while let Some(text) = unpacker.next_text() {
        spool.write(&text).await.map_err(AdminFailure::from)?;
    }
    Ok(())
}

fn accepted(id: JobId) -> Answer {
    let mut response = with_status(StatusCode::ACCEPTED, &StartedBody { id })?;
    let headers = response.headers_mut();
    headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static(RESPOND_ASYNC));
    let place = HeaderValue::try_from(format!("/api/v2/jobs/{id}"));
    headers.insert(
        header::LOCATION,
        place.map_err(|error| Problem::internal(&error))?,
    );
    Ok(response)
}
