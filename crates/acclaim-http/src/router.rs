//! Every route, on one page. The OpenAPI document is made of the same list.

use axum::Router;
use axum::extract::State;
use axum::http::{Method, Uri};
use utoipa::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::app::Shared;
use crate::problem::{Code, Problem};
use crate::routes::{
    audit, batch, common, consistency, count, daily, dead_letters, docs, erasure, events, export,
    health, hot_keys, import, jobs, known, metrics, mutual, notifications, ownership, ranking,
    recover, relationships, statistics, status, targets, users, webhooks, writes,
};

/// What all calls of the contract begin with, but for those of operations.
const PREFIX: &str = "/api/v2";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Acclaim",
        description = "Likes, follows and every other relation between users and what they act on."
    ),
    tags(
        (name = "writes", description = "Making edges active and inactive"),
        (name = "reads", description = "Whether, and how many"),
        (name = "lists", description = "Who, what, and in which order"),
        (name = "events", description = "What happens, as it happens"),
        (name = "notifications", description = "What owners are told"),
        (name = "administration", description = "Looking after the store"),
        (name = "operations", description = "Looking after the server"),
    )
)]
struct Document;

/// The routes and their document.
pub(crate) fn routes() -> (Router<Shared>, utoipa::openapi::OpenApi) {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        // Writes.
        .routes(routes!(writes::toggle))
        .routes(routes!(writes::set, writes::unset))
        .routes(routes!(batch::write))
        // Reads.
        .routes(routes!(count::one))
        .routes(routes!(count::many))
        .routes(routes!(status::one))
        .routes(routes!(status::many))
        .routes(routes!(users::list))
        .routes(routes!(targets::list))
        .routes(routes!(statistics::read))
        .routes(routes!(mutual::list))
        .routes(routes!(common::list))
        .routes(routes!(relationships::many))
        .routes(routes!(known::read))
        .routes(routes!(ranking::list))
        .routes(routes!(daily::list))
        .routes(routes!(events::subscribe))
        // Notifications.
        .routes(routes!(notifications::list))
        .routes(routes!(notifications::mark_read))
        // Administration.
        .routes(routes!(recover::start))
        .routes(routes!(erasure::user))
        .routes(routes!(ownership::put, erasure::target))
        .routes(routes!(jobs::read))
        .routes(routes!(import::write))
        .routes(routes!(export::read))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::retry))
        .routes(routes!(webhooks::put, webhooks::delete))
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::test))
        .routes(routes!(hot_keys::list))
        .routes(routes!(audit::list))
        .routes(also_unprefixed(routes!(consistency::report)))
        .routes(also_unprefixed(routes!(consistency::check)))
        // Operations.
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::read))
        .routes(routes!(docs::document))
        .routes(routes!(docs::page))
        .split_for_parts();
    let router = router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method);
    (router, document)
}

/// The routes of a process that only moves events: how it stands, and nothing else.
pub(crate) fn operations() -> (Router<Shared>, utoipa::openapi::OpenApi) {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::read))
        .split_for_parts();
    let router = router
        .fallback(no_route_of_worker)
        .method_not_allowed_fallback(no_method);
    (router, document)
}

/// The same calls without the prefix too, under names of their own.
fn also_unprefixed(
    (schemas, mut paths, router): UtoipaMethodRouter<Shared>,
) -> UtoipaMethodRouter<Shared> {
    let mut unprefixed = paths.paths.clone();
    for item in unprefixed.values_mut() {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            if let Some(name) = &mut operation.operation_id {
                name.push_str("Unprefixed");
            }
            if let Some(summary) = &mut operation.summary {
                *summary = format!(
                    "{}; the same without the prefix.",
                    summary.trim_end_matches('.')
                );
            }
        }
    }
    let unprefixed = unprefixed.into_iter();
    let unprefixed = unprefixed.map(|(path, item)| (path.replacen(PREFIX, "", 1), item));
    paths.paths.extend(unprefixed);
    (schemas, paths, router)
}

async fn no_route(uri: Uri) -> Problem {
    let detail = format!("there is no route {}; /docs lists them", uri.path());
    Problem::new(Code::NotFound, detail)
}

async fn no_route_of_worker(uri: Uri) -> Problem {
    let path = uri.path();
    let detail = format!(
        "there is no route {path}: this process is a worker, which answers /health, /ready and \
         /metrics; ask a server that was started with `acclaim serve`"
    );
    Problem::new(Code::NotFound, detail)
}

/// Words under `/api/v2` that are routes, and so have methods.
const WORDS: [&str; 8] = [
    "events",
    "import",
    "export",
    "audit",
    "hot-keys",
    "dead-letters",
    "notifications",
    "webhooks",
];

/// A method that a route does not take. `/api/v2/{kind}` matches any word; one that is neither a
/// kind nor a route of its own is no route.
async fn no_method(State(app): State<Shared>, method: Method, uri: Uri) -> Problem {
    let path = uri.path();
    let word = path.strip_prefix("/api/v2/");
    let is_route =
        |word: &str| word.contains('/') || WORDS.contains(&word) || app.service.kind(word).is_ok();
    if word.is_some_and(|word| !is_route(word)) {
        return no_route(uri).await;
    }
    let detail = format!("{path} does not take {method}; the header allow says what it takes");
    Problem::new(Code::MethodNotAllowed, detail)
}
