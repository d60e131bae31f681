//! What a user is told.

use acclaim_core::Id;
use acclaim_core::notify::desk::Notification;
use acclaim_core::page::Entry;
use acclaim_core::rev::Time;
use axum::extract::State;
use compact_str::CompactString;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Answer, TargetBody, UserEntry, ok};
use crate::app::Shared;
use crate::problem::{Problem, ProblemBody};
use crate::request::{FreshParam, FromQuery, JsonBody, Params, ReadForm, ReadQuery, parse};

/// Whose, and which page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct NotificationsQuery {
    /// The user who is told.
    #[param(rename = "userId", value_type = String, example = "42")]
    user_id: Id,
    /// Entries a page.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 20)]
    size: Option<u64>,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<String>,
}

impl FromQuery for NotificationsQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            user_id: params.id("userId")?,
            size: params.number("size")?,
            cursor: params.text("cursor")?.map(String::from),
        })
    }
}

/// All that a user is told of one kind and one target.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Notification)]
pub(crate) struct NotificationBody {
    /// For `upTo`. Another one when there is something new.
    id: String,
    /// The kind.
    #[schema(value_type = String, example = "likes")]
    kind: CompactString,
    #[serde(flatten)]
    target: TargetBody,
    /// The newest three who do it, newest first.
    actors: Vec<UserEntry>,
    /// How many others do.
    others: u64,
    /// When the user was told last, RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// Whether the user has read it.
    read: bool,
}

impl From<Notification> for NotificationBody {
    fn from(notification: Notification) -> Self {
        let actors = notification.actors.into_iter().map(|actor| Entry {
            key: actor.user,
            at: actor.at,
        });
        Self {
            id: notification.id.to_string(),
            kind: notification.key.kind,
            target: notification.key.target.into(),
            actors: actors.map(UserEntry::from).collect(),
            others: notification.others,
            at: notification.at.time(),
            read: notification.is_read,
        }
    }
}

/// A page of them.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Notifications)]
pub(crate) struct NotificationsBody {
    /// Newest first.
    items: Vec<NotificationBody>,
    /// How many are unread, on all pages.
    unread: u64,
    /// The way to the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

/// How many are unread.
#[derive(Serialize, ToSchema)]
#[schema(as = Unread)]
pub(crate) struct UnreadBody {
    /// How many are unread.
    unread: u64,
}

/// What a user is told, newest first: one item a target and kind.
#[utoipa::path(
    get,
    path = "/api/v2/notifications",
    operation_id = "notifications",
    tag = "notifications",
    params(
        NotificationsQuery,
        FreshParam,
    ),
    responses(
        (status = 200, description = "The answer", body = NotificationsBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Shared>,
    ReadQuery(query): ReadQuery<NotificationsQuery>,
) -> Answer {
    let cursor = query.cursor.as_deref();
    let page = app
        .service
        .notifications(&query.user_id, query.size, cursor)
        .await?;
    ok(&NotificationsBody {
        items: page.items.into_iter().map(Into::into).collect(),
        unread: page.unread,
        next_cursor: page.next_cursor,
    })
}

/// Marks a notification and all older ones of a user read.
#[utoipa::path(
    post,
    path = "/api/v2/notifications/read",
    operation_id = "readNotifications",
    tag = "notifications",
    request_body = ReadForm,
    responses(
        (status = 200, description = "The answer", body = UnreadBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn mark_read(State(app): State<Shared>, JsonBody(bytes): JsonBody) -> Answer {
    let (user, up_to) = parse::<ReadForm>(&bytes)?.user_and_place();
    let unread = app.service.mark_read(&user, up_to).await?;
    ok(&UnreadBody { unread })
}
