//! Answers in JSON, and the parts that several of them share.

use acclaim_core::page::Entry;
use acclaim_core::rev::Time;
use acclaim_core::service::Listed;
use acclaim_core::{Id, Target, TargetType, Transition};
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::request::UserIdSchema;

/// What every handler gives.
pub(crate) type Answer = Result<Response<Body>, Problem>;

/// Most answers fit, so that one allocation does.
const USUAL_BYTES: usize = 128;

/// 200 with a JSON body.
pub(crate) fn ok<T: Serialize>(value: &T) -> Answer {
    with_status(StatusCode::OK, value)
}

/// Any status with a JSON body.
pub(crate) fn with_status<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    let mut body = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut body, value).map_err(|error| Problem::internal(&error))?;
    Ok(of(
        status,
        HeaderValue::from_static("application/json"),
        body,
    ))
}

/// A whole body of some type.
pub(crate) fn of(status: StatusCode, kind: HeaderValue, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A target's id in an answer: always a string.
pub(crate) fn as_text<S: Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// A target's type in an answer.
pub(crate) fn as_name<S: Serializer>(name: &TargetType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

/// A target in an answer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AnsweredTarget)]
pub(crate) struct TargetBody {
    /// Its type.
    #[serde(serialize_with = "as_name")]
    #[schema(value_type = String, example = "POST")]
    target_type: TargetType,
    /// Its id.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, example = "123")]
    target_id: Id,
}

impl From<Target> for TargetBody {
    fn from(target: Target) -> Self {
        Self {
            target_type: target.target_type,
            target_id: target.id,
        }
    }
}

/// What became of an edge.
#[derive(Serialize, ToSchema)]
#[schema(as = Transition)]
pub(crate) struct TransitionBody {
    /// The state after it.
    active: bool,
    /// Whether this write changed it.
    changed: bool,
    /// Active edges of the target after it.
    count: u64,
    /// The revision of the standing edge, microseconds since the epoch; 0 where it never existed.
    rev: u64,
}

impl From<Transition> for TransitionBody {
    fn from(transition: Transition) -> Self {
        Self {
            active: transition.active,
            changed: transition.changed,
            count: transition.count,
            rev: transition.rev.0,
        }
    }
}

/// A user and since when.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UserEntry)]
pub(crate) struct UserEntry {
    /// The user.
    #[schema(value_type = UserIdSchema)]
    user_id: Id,
    /// Since when, RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
}

impl From<Entry<Id>> for UserEntry {
    fn from(entry: Entry<Id>) -> Self {
        Self {
            user_id: entry.key,
            at: entry.at.time(),
        }
    }
}

/// A target and since when.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TargetEntry)]
pub(crate) struct TargetEntry {
    #[serde(flatten)]
    target: TargetBody,
    /// Since when, RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
}

impl From<Entry<Target>> for TargetEntry {
    fn from(entry: Entry<Target>) -> Self {
        Self {
            target: entry.key.into(),
            at: entry.at.time(),
        }
    }
}

/// A page of users.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UserPage)]
pub(crate) struct UserPage {
    items: Vec<UserEntry>,
    /// Entries in the whole list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    total: Option<u64>,
    /// The way to the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

impl From<Listed<Id>> for UserPage {
    fn from(listed: Listed<Id>) -> Self {
        Self {
            items: listed.entries.into_iter().map(UserEntry::from).collect(),
            total: listed.total,
            next_cursor: listed.next_cursor,
        }
    }
}

/// A page of targets.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TargetPage)]
pub(crate) struct TargetPage {
    items: Vec<TargetEntry>,
    /// Entries in the whole list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    total: Option<u64>,
    /// The way to the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

impl From<Listed<Target>> for TargetPage {
    fn from(listed: Listed<Target>) -> Self {
        Self {
            items: listed.entries.into_iter().map(TargetEntry::from).collect(),
            total: listed.total,
            next_cursor: listed.next_cursor,
        }
    }
}
