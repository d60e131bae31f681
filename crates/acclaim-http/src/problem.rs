//! Every failure as `application/problem+json`, in one place.
//!
//! Handlers answer with a [`Problem`]; the front renders it at the end, when the request's id is
//! known. What the log should say and the caller should not (paths, store errors) is logged here
//! and replaced by a plain sentence.

use std::borrow::Cow;
use std::time::Duration;

use acclaim_core::error::{JobError, JournalError, ReadError, WriteError};
use acclaim_core::kind::NotAllowed;
use acclaim_core::notify::desk::DeskFailure;
use acclaim_core::service::{
    AdminFailure, BadIdempotencyKey, Failure, NotifyFailure, ReadFailure, UnknownKind, WriteFailure,
};
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use compact_str::CompactString;
use serde::Serialize;
use utoipa::ToSchema;

/// The name of the header that carries an idempotency key.
pub(crate) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The stable codes of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    BadRequest,
    BadCursor,
    PageTooDeep,
    NotFound,
    UnknownKind,
    MethodNotAllowed,
    TargetTypeNotAllowed,
    SelfNotAllowed,
    IdempotencyMismatch,
    IdempotencyInFlight,
    PayloadTooLarge,
    UnsupportedMediaType,
    Overloaded,
    Unavailable,
    Timeout,
    Internal,
}

impl Code {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::BadCursor | Self::PageTooDeep => StatusCode::BAD_REQUEST,
            Self::NotFound | Self::UnknownKind => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TargetTypeNotAllowed | Self::SelfNotAllowed | Self::IdempotencyMismatch => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::IdempotencyInFlight => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Overloaded | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::BadRequest => "urn:acclaim:problem:bad_request",
            Self::BadCursor => "urn:acclaim:problem:bad_cursor",
            Self::PageTooDeep => "urn:acclaim:problem:page_too_deep",
            Self::NotFound => "urn:acclaim:problem:not_found",
            Self::UnknownKind => "urn:acclaim:problem:unknown_kind",
            Self::MethodNotAllowed => "urn:acclaim:problem:method_not_allowed",
            Self::TargetTypeNotAllowed => "urn:acclaim:problem:target_type_not_allowed",
            Self::SelfNotAllowed => "urn:acclaim:problem:self_not_allowed",
            Self::IdempotencyMismatch => "urn:acclaim:problem:idempotency_mismatch",
            Self::IdempotencyInFlight => "urn:acclaim:problem:idempotency_in_flight",
            Self::PayloadTooLarge => "urn:acclaim:problem:payload_too_large",
            Self::UnsupportedMediaType => "urn:acclaim:problem:unsupported_media_type",
            Self::Overloaded => "urn:acclaim:problem:overloaded",
            Self::Unavailable => "urn:acclaim:problem:unavailable",
            Self::Timeout => "urn:acclaim:problem:timeout",
            Self::Internal => "urn:acclaim:problem:internal",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "The request is malformed",
            Self::BadCursor => "The cursor cannot be used",
            Self::PageTooDeep => "The page is too deep",
            Self::NotFound => "There is nothing here",
            Self::UnknownKind => "The kind is not configured",
            Self::MethodNotAllowed => "The route does not take this method",
            Self::TargetTypeNotAllowed => "The kind does not take this target type",
            Self::SelfNotAllowed => "The kind does not allow oneself as the target",
            Self::IdempotencyMismatch => "The idempotency key belongs to another request",
            Self::IdempotencyInFlight => "The first request with this key is under way",
            Self::PayloadTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The content type is not supported",
            Self::Overloaded => "The server is overloaded",
            Self::Unavailable => "The server cannot do this now",
            Self::Timeout => "The server did not answer in time",
            Self::Internal => "The server failed",
        }
    }
}

/// A failure on its way to the caller.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    field: Option<CompactString>,
    retry_after_seconds: Option<u64>,
}

/// A failure as it is sent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// A name for the sort of problem, as a URI.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The sort of problem, in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The stable code.
    code: Code,
    /// What was wrong, with which value, and what to do.
    detail: &'a str,
    /// The offending field or query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    /// The id of the request, also in the header `x-request-id`.
    request_id: &'a str,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            field: None,
            retry_after_seconds: None,
        }
    }

    /// A 400 about one field or parameter.
    pub(crate) fn field(name: &str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::BadRequest, detail).about(name)
    }

    pub(crate) fn about(mut self, field: &str) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    pub(crate) fn overloaded(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Overloaded, detail).retry_after(1)
    }

    /// A 500. `cause` goes to the log only.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(Code::Internal, "the server failed; its log says more")
    }

    pub(crate) fn body<'a>(&'a self, request_id: &'a str) -> ProblemBody<'a> {
        ProblemBody {
            kind: self.code.kind(),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code,
            detail: &self.detail,
            field: self.field.as_deref(),
            request_id,
        }
    }

    /// The response, with everything in it.
    pub(crate) fn render(&self, request_id: &str) -> Response<Body> {
        // A struct of strings and a number always serializes.
        let body = serde_json::to_vec(&self.body(request_id)).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        let problem = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem);
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Hands the problem to the front, which renders it with the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.code.status();
        response.extensions_mut().insert(self);
        response
    }
}

impl<F: Into<Failure>> From<F> for Problem {
    fn from(failure: F) -> Self {
        match failure.into() {
            Failure::Kind(failure) => unknown_kind(&failure),
            Failure::IdempotencyKey(failure) => idempotency_key(failure),
            Failure::Write(failure) => of_write(failure),
            Failure::Read(failure) => of_read(failure),
            Failure::Admin(failure) => of_admin(failure),
            Failure::Journal(failure) => of_journal(&failure),
            Failure::Notify(failure) => of_notify(failure),
        }
    }
}

pub(crate) fn not_allowed(failure: &NotAllowed) -> Problem {
    let detail = failure.to_string();
    match failure {
        NotAllowed::TargetType { .. } => {
            Problem::new(Code::TargetTypeNotAllowed, detail).about("targetType")
        }
        NotAllowed::Oneself { .. } => Problem::new(Code::SelfNotAllowed, detail).about("targetId"),
    }
}

fn unknown_kind(failure: &UnknownKind) -> Problem {
    Problem::new(Code::UnknownKind, failure.to_string()).about("kind")
}

fn idempotency_key(failure: BadIdempotencyKey) -> Problem {
    Problem::field(IDEMPOTENCY_KEY, failure.to_string())
}

fn of_write(failure: WriteFailure) -> Problem {
    match failure {
        WriteFailure::NotAllowed(failure) => not_allowed(&failure),
        WriteFailure::OutOfRange(failure) => Problem::field(failure.name, failure.to_string()),
        WriteFailure::Engine(failure) => of_engine_write(&failure),
    }
}

fn unavailable(detail: String, retry_after: Duration) -> Problem {
    let seconds = retry_after.as_secs_f64().ceil().max(1.0);
    // A wait in seconds, far inside a u64.
    Problem::new(Code::Unavailable, detail).retry_after(seconds as u64)
}

fn of_engine_write(failure: &WriteError) -> Problem {
    let detail = failure.to_string();
    match failure {
        WriteError::Overloaded { .. } => Problem::overloaded(detail),
        WriteError::Unavailable { retry_after, .. } => unavailable(detail, *retry_after),
        WriteError::Unknown { .. } => Problem::new(Code::Timeout, detail),
        WriteError::IdempotencyMismatch => {
            Problem::new(Code::IdempotencyMismatch, detail).about(IDEMPOTENCY_KEY)
        }
        WriteError::IdempotencyInFlight => {
            Problem::new(Code::IdempotencyInFlight, detail).about(IDEMPOTENCY_KEY)
        }
        WriteError::TooManyTargetTypes { .. } => {
            Problem::new(Code::TargetTypeNotAllowed, detail).about("targetType")
        }
        WriteError::Stopping => Problem::new(Code::Unavailable, detail).retry_after(1),
        WriteError::AckNotPossible { .. } => {
            Problem::new(Code::BadRequest, detail).about("Acclaim-Ack")
        }
    }
}

fn of_read(failure: ReadFailure) -> Problem {
    let detail = failure.to_string();
    match failure {
        ReadFailure::NotAllowed(failure) => not_allowed(&failure),
        ReadFailure::OutOfRange(failure) => Problem::field(failure.name, detail),
        ReadFailure::PageTooDeep(_) => Problem::new(Code::PageTooDeep, detail).about("page"),
        ReadFailure::PageAndCursor => Problem::field("page", detail),
        ReadFailure::BadCursor(_) => Problem::new(Code::BadCursor, detail).about("cursor"),
        ReadFailure::Engine(failure) => of_engine_read(&failure),
    }
}

fn of_engine_read(failure: &ReadError) -> Problem {
    match failure {
        ReadError::Store(_) => Problem::internal(failure),
        ReadError::Unavailable { retry_after, .. } => {
            unavailable(failure.to_string(), *retry_after)
        }
    }
}

fn of_admin(failure: AdminFailure) -> Problem {
    let detail = failure.to_string();
    match failure {
        AdminFailure::NotAllowed(failure) => not_allowed(&failure),
        AdminFailure::OutOfRange(failure) => Problem::field(failure.name, detail),
        AdminFailure::UnknownJob(_) | AdminFailure::UnknownDeadLetter(_) => {
            Problem::new(Code::NotFound, detail)
        }
        AdminFailure::Audit(failure) => of_engine_write(&failure),
        AdminFailure::Job(JobError::TooMany { .. } | JobError::SpoolsFull { .. }) => {
            Problem::overloaded(detail)
        }
        AdminFailure::Job(JobError::TooLarge { .. }) => Problem::new(Code::PayloadTooLarge, detail),
        AdminFailure::Job(JobError::Spool(_)) => Problem::internal(&detail),
        AdminFailure::Job(JobError::Write(failure)) => of_engine_write(&failure),
        AdminFailure::Job(JobError::Read(failure)) | AdminFailure::Read(failure) => {
            of_engine_read(&failure)
        }
    }
}

fn of_notify(failure: NotifyFailure) -> Problem {
    let detail = failure.to_string();
    let failure = match failure {
        NotifyFailure::OutOfRange(failure) => return Problem::field(failure.name, detail),
        NotifyFailure::Audit(failure) => return of_engine_write(&failure),
        NotifyFailure::Desk(failure) => failure,
    };
    match failure {
        DeskFailure::Absent(_) | DeskFailure::UnknownWebhook(_) => {
            Problem::new(Code::NotFound, detail)
        }
        DeskFailure::BadCursor(_) => Problem::new(Code::BadCursor, detail).about("cursor"),
        DeskFailure::BadOwnership(failure) => Problem::field(failure.field(), detail),
        DeskFailure::BadEndpoint(failure) => Problem::field(failure.field(), detail),
        DeskFailure::TooManyWebhooks(_) => Problem::field("name", detail),
        DeskFailure::Read(failure) => of_engine_read(&failure),
        DeskFailure::Write(failure) => of_engine_write(&failure),
    }
}

fn of_journal(failure: &JournalError) -> Problem {
    match failure {
        JournalError::Trimmed { asked, oldest } => {
            let detail = format!(
                "event {asked} is no longer kept; the oldest that can be resumed from is {oldest}. Read the lists anew and subscribe without Last-Event-ID"
            );
            Problem::new(Code::BadCursor, detail).about("Last-Event-ID")
        }
        JournalError::Store(_) => Problem::internal(failure),
        JournalError::Unavailable { retry_after, .. } => {
            unavailable(failure.to_string(), *retry_after)
        }
    }
}
