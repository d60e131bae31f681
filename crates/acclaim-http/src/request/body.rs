//! Bodies: collected once within their limits, then read as JSON.
//!
//! Reading is done twice at most: plainly, and only after a failure again with the path tracked,
//! so that naming the field costs the good requests nothing.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde::Deserialize;

use super::headers::{content_type, is_json};
use super::object::Object;
use super::{KindPath, WriteHeaders};
use crate::app::Shared;
use crate::limits::Limits;
use crate::problem::{Code, Problem};

/// A request with a JSON body: the kind in its path, its headers and its bytes.
pub(crate) struct Incoming {
    pub(crate) kind: acclaim_core::KindId,
    pub(crate) headers: WriteHeaders,
    pub(crate) request_id: axum::http::HeaderValue,
    pub(crate) bytes: Bytes,
}

impl FromRequest<Shared> for Incoming {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let KindPath(kind) = kind_of(&mut parts, app).await?;
        no_query(&parts)?;
        let headers = WriteHeaders::read(&parts)?;
        let bytes = json_bytes(&parts, body, &app.limits).await?;
        let request_id = parts.headers.remove(super::REQUEST_ID);
        Ok(Self {
            kind,
            headers,
            request_id: request_id.unwrap_or(axum::http::HeaderValue::from_static("-")),
            bytes,
        })
    }
}

/// The bytes of a JSON body of a call that has no kind in its path.
pub(crate) struct JsonBody(pub(crate) Bytes);

impl FromRequest<Shared> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        no_query(&parts)?;
        json_bytes(&parts, body, &app.limits).await.map(Self)
    }
}

async fn kind_of(parts: &mut Parts, app: &Shared) -> Result<KindPath, Problem> {
    use axum::extract::FromRequestParts;
    KindPath::from_request_parts(parts, app).await
}

/// A call with a body takes no query parameters.
fn no_query(parts: &Parts) -> Result<(), Problem> {
    let query = parts.uri.query().unwrap_or_default();
    match form_urlencoded::parse(query.as_bytes()).next() {
        None => Ok(()),
        Some((name, _)) => Err(Problem::field(
            &name,
            format!(
                "{name:?} is not a query parameter of this call; its fields belong in the body"
            ),
        )),
    }
}

/// The bytes of a JSON body, within the limit of its size. The time it takes is the front's to
/// watch.
pub(crate) async fn json_bytes(
    parts: &Parts,
    body: Body,
    limits: &Limits,
) -> Result<Bytes, Problem> {
    if !is_json(content_type(&parts.headers)) {
        let detail = "this call takes a body of content type application/json";
        return Err(Problem::new(Code::UnsupportedMediaType, detail).about("content-type"));
    }
    if body.size_hint().lower() > limits.max_body_bytes as u64 {
        return Err(too_large(limits));
    }
    collect(body, limits).await
}

async fn collect(mut body: Body, limits: &Limits) -> Result<Bytes, Problem> {
    let mut whole = Bytes::new();
    let mut pieces = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| broken_off())?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + pieces.len() + data.len() > limits.max_body_bytes {
            return Err(too_large(limits));
        }
        if whole.is_empty() && pieces.is_empty() {
            // Most bodies are one piece, which is kept as it is.
            whole = data;
            continue;
        }
        pieces.extend_from_slice(&whole);
        whole = Bytes::new();
        pieces.extend_from_slice(&data);
    }
    if pieces.is_empty() {
        Ok(whole)
    } else {
        Ok(pieces.freeze())
    }
}

pub(crate) fn broken_off() -> Problem {
    Problem::new(
        Code::BadRequest,
        "the body ended before its length or was not well formed",
    )
}

fn too_large(limits: &Limits) -> Problem {
    let detail = format!("a body has at most {} bytes", limits.max_body_bytes);
    Problem::new(Code::PayloadTooLarge, detail)
}

/// Reads a JSON object; the problem names the field.
pub(crate) fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Problem> {
    let read = serde_json::from_slice::<Object<T>>(bytes);
    read.map(|Object(value)| value)
        .map_err(|error| explain::<Object<T>>(bytes, &error))
}

#[cold]
fn explain<'de, T: Deserialize<'de>>(bytes: &'de [u8], error: &serde_json::Error) -> Problem {
    let detail = format!("the body cannot be read: {error}");
    let problem = Problem::new(Code::BadRequest, detail);
    if !error.is_data() {
        return problem;
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut reader) else {
        return problem;
    };
    let path = error.path().to_string();
    match (field_named_in(&error.inner().to_string()), path.as_str()) {
        (Some(name), ".") => problem.about(&name),
        (Some(name), path) => problem.about(&format!("{path}.{name}")),
        (None, ".") => problem,
        (None, path) => problem.about(path),
    }
}

/// The field of the two failures that belong to an object and not to a value in it. Their names
/// come from our own types, never from the caller.
fn field_named_in(message: &str) -> Option<String> {
    let rest = message
        .strip_prefix("missing field `")
        .or_else(|| message.strip_prefix("duplicate field `"))?;
    rest.split_once('`').map(|(name, _)| name.to_owned())
}
