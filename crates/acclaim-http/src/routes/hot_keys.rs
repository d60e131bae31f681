//! What is touched most right now.

use acclaim_core::hot::WINDOW_SECONDS;
use acclaim_core::limits;
use axum::extract::State;
use compact_str::CompactString;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, TargetBody, ok};
use crate::app::Shared;
use crate::problem::ProblemBody;
use crate::request::NoQuery;

/// A target that is touched often.
#[derive(Serialize, ToSchema)]
#[schema(as = HotKey)]
pub(crate) struct HotKeyBody {
    /// Under which kind.
    #[schema(value_type = String, example = "likes")]
    kind: CompactString,
    #[serde(flatten)]
    target: TargetBody,
    /// About how many reads and writes touched it in the window, at this server.
    estimate: u64,
}

/// The targets that are touched most.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HotKeys)]
pub(crate) struct HotKeysBody {
    /// Hottest first, at most 20.
    items: Vec<HotKeyBody>,
    /// How far back the estimates look.
    window_seconds: u64,
}

/// The targets that reads and writes touch most right now.
#[utoipa::path(
    get,
    path = "/api/v2/hot-keys",
    operation_id = "hotKeys",
    tag = "administration",
    responses(
        (status = 200, description = "The answer", body = HotKeysBody),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(State(app): State<Shared>, NoQuery: NoQuery) -> Answer {
    let hot = app.service.hot_keys(limits::DEFAULT_PAGE_ENTRIES);
    let items = hot.into_iter().map(|key| HotKeyBody {
        kind: app.service.kind_name(key.target.kind).clone(),
        target: key.target.target.into(),
        estimate: key.estimate,
    });
    ok(&HotKeysBody {
        items: items.collect(),
        window_seconds: WINDOW_SECONDS,
    })
}
