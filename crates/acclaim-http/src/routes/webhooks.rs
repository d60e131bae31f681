//! Where notifications are delivered.

use acclaim_core::notify::desk::WebhookView;
use acclaim_core::notify::endpoint::Attempt;
use acclaim_core::rev::Time;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use compact_str::CompactString;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, ok, with_status};
use crate::app::Shared;
use crate::problem::ProblemBody;
use crate::request::{JsonBody, NoQuery, WebhookBody, parse};

/// The last try of a delivery.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookAttempt)]
pub(crate) struct AttemptBody {
    /// When, RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// The status that was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    status: Option<u16>,
    /// What was wrong; absent where it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
}

impl From<Attempt> for AttemptBody {
    fn from(attempt: Attempt) -> Self {
        Self {
            at: attempt.at.time(),
            status: attempt.status,
            error: attempt.error,
        }
    }
}

/// A webhook, and how it stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookStanding)]
pub(crate) struct WebhookStandingBody {
    /// Its name.
    #[schema(value_type = String)]
    name: CompactString,
    /// Where to.
    url: String,
    /// Of these kinds only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, nullable = false)]
    kinds: Option<Vec<CompactString>>,
    /// About targets of these types only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, nullable = false)]
    target_types: Option<Vec<CompactString>>,
    /// When it was made, RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// `active`; `paused`: it failed too often in a row, and is tried again at `pausedUntil`;
    /// `disabled`: it answered 410, and gets nothing until it is put again.
    #[schema(value_type = String, example = "active")]
    state: &'static str,
    /// Deliveries that wait for it.
    waiting: u64,
    /// Failures in a row.
    failures: u32,
    /// Until when nothing is sent to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    paused_until: Option<Time>,
    /// The last try.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_attempt: Option<AttemptBody>,
    /// What deliveries are signed with. Only there when it was made just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    secret: Option<String>,
}

impl WebhookStandingBody {
    fn of(view: WebhookView, secret: Option<String>) -> Self {
        Self {
            name: view.name,
            url: view.url,
            kinds: view.kinds,
            target_types: view.target_types,
            created_at: view.created.time(),
            state: view.state.word(),
            waiting: view.waiting,
            failures: view.failures,
            paused_until: view.paused_until.map(acclaim_core::Rev::time),
            last_attempt: view.last.map(Into::into),
            secret,
        }
    }
}

/// All webhooks.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhooks)]
pub(crate) struct WebhooksBody {
    /// By name.
    items: Vec<WebhookStandingBody>,
}

/// A webhook that was removed.
#[derive(Serialize, ToSchema)]
#[schema(as = RemovedWebhook)]
pub(crate) struct RemovedBody {
    /// Its name.
    name: String,
    /// Deliveries that waited for it and are gone.
    dropped: u64,
}

/// A test that is on its way.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTest)]
pub(crate) struct TestBody {
    /// Its `webhook-id`.
    id: String,
}

/// Makes a webhook, and shows its secret this once; or changes one, which keeps its secret and is
/// active again.
#[utoipa::path(
    put,
    path = "/api/v2/webhooks/{name}",
    operation_id = "putWebhook",
    tag = "administration",
    params(
        ("name" = String, Path),
    ),
    request_body = WebhookBody,
    responses(
        (status = 200, description = "The answer", body = WebhookStandingBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put(
    State(app): State<Shared>,
    Path(name): Path<String>,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let form = parse::<WebhookBody>(&bytes)?.into();
    let random = rand::random();
    let (view, secret) = app.service.put_webhook(&name, &form, &random).await?;
    ok(&WebhookStandingBody::of(view, secret))
}

/// All webhooks, and how each stands.
#[utoipa::path(
    get,
    path = "/api/v2/webhooks",
    operation_id = "webhooks",
    tag = "administration",
    responses(
        (status = 200, description = "The answer", body = WebhooksBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(State(app): State<Shared>, NoQuery: NoQuery) -> Answer {
    let views = app.service.webhooks().await?;
    let items = views
        .into_iter()
        .map(|view| WebhookStandingBody::of(view, None));
    ok(&WebhooksBody {
        items: items.collect(),
    })
}

/// Removes a webhook with the deliveries that wait for it.
#[utoipa::path(
    delete,
    path = "/api/v2/webhooks/{name}",
    operation_id = "deleteWebhook",
    tag = "administration",
    params(
        ("name" = String, Path),
    ),
    responses(
        (status = 200, description = "The answer", body = RemovedBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    State(app): State<Shared>,
    Path(name): Path<String>,
    NoQuery: NoQuery,
) -> Answer {
    let dropped = app.service.delete_webhook(&name).await?;
    ok(&RemovedBody { name, dropped })
}

/// Sends a webhook a message of type `acclaim.test`, once, also where it is paused. What became of
/// it stands in `lastAttempt` of the list.
#[utoipa::path(
    post,
    path = "/api/v2/webhooks/{name}/test",
    operation_id = "testWebhook",
    tag = "administration",
    params(
        ("name" = String, Path),
    ),
    responses(
        (status = 202, description = "It is on its way", body = TestBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn test(
    State(app): State<Shared>,
    Path(name): Path<String>,
    NoQuery: NoQuery,
) -> Answer {
    let id = app.service.test_webhook(&name).await?;
    with_status(StatusCode::ACCEPTED, &TestBody { id })
}
