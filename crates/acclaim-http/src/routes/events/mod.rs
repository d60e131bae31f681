//! What happens, as it happens: server-sent events out of the journal.
//!
//! Each subscriber has a task of its own that reads the journal from the subscriber's place and
//! puts what it wants into a short queue; the connection empties the queue. So a subscriber can
//! resume from any event that is still kept, and one that does not read holds up nobody: after
//! [`crate::Limits::max_event_lag_millis`] with a full queue its stream ends with an event
//! `dropped`, which says why and from where to go on.

mod feed;
mod stream;

use acclaim_core::port::{BadPlace, Place};
use acclaim_core::service::EventFilter;
use acclaim_core::{Id, Target, TargetType};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use utoipa::IntoParams;

use super::answer::{Answer, of};
use crate::app::Shared;
use crate::problem::{Code, Problem, ProblemBody};
use crate::request::{FromQuery, Params, Query, read_id};

/// The most kinds or targets that a filter names.
const MAX_FILTER_ITEMS: usize = 100;

/// Which events, and from where.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Of these kinds, joined by commas.
    #[param(value_type = Option<String>, example = "likes,follows")]
    kinds: Option<String>,
    /// Of these targets, `TYPE:id` joined by commas.
    #[param(value_type = Option<String>, example = "POST:1,POST:2")]
    targets: Vec<Target>,
    /// By this user.
    #[param(rename = "userId", value_type = Option<String>)]
    user_id: Option<Id>,
    /// The id of the last event seen; the header `Last-Event-ID` goes before it.
    #[param(rename = "lastEventId", value_type = Option<String>, example = "1795132800000000")]
    last_event_id: Option<Place>,
}

impl FromQuery for EventsQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        let targets = params.text("targets")?;
        Ok(Self {
            kinds: params.text("kinds")?.map(String::from),
            targets: targets.as_deref().map_or(Ok(Vec::new()), read_targets)?,
            user_id: params.optional_id("userId")?,
            last_event_id: params.value("lastEventId")?,
        })
    }
}

fn items<'a>(field: &'static str, list: &'a str) -> Result<Vec<&'a str>, Problem> {
    let items: Vec<&str> = list.split(',').collect();
    if items.len() > MAX_FILTER_ITEMS {
        let detail = format!(
            "{field} has {} items; it takes {MAX_FILTER_ITEMS}",
            items.len()
        );
        return Err(Problem::field(field, detail));
    }
    Ok(items)
}

fn read_targets(list: &str) -> Result<Vec<Target>, Problem> {
    let read = |item: &&str| {
        let (name, id) = item.split_once(':').ok_or_else(|| {
            Problem::field("targets", format!("{item:?} is not a target; use TYPE:id"))
        })?;
        let target_type = TargetType::parse(name)
            .map_err(|error| Problem::field("targets", format!("a target type {error}")))?;
        let id = read_id("targets", id)?;
        Ok(Target { target_type, id })
    };
    items("targets", list)?.iter().map(read).collect()
}

fn filter(app: &Shared, query: EventsQuery) -> Result<EventFilter, Problem> {
    let mut filter = EventFilter {
        targets: query.targets,
        user: query.user_id,
        ..EventFilter::default()
    };
    for name in query.kinds.map_or(Ok(Vec::new()), |list| {
        items("kinds", &list).map(|items| items.into_iter().map(str::to_owned).collect())
    })? {
        let kind = app.service.kind(&name);
        let kind = kind.map_err(|failure| Problem::from(failure).about("kinds"))?;
        filter.kinds.push(kind);
    }
    Ok(filter)
}

/// The last event seen: that of the header, else of the query.
fn last_seen(headers: &HeaderMap, query: Option<Place>) -> Result<Option<Place>, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(query);
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let place = text.trim().parse();
    place
        .map(Some)
        .map_err(|error: BadPlace| Problem::field("Last-Event-ID", error.to_string()))
}

/// Transitions as they happen, as server-sent events.
///
/// Every event `transition` carries `{kind, userId, targetType, targetId, active, count, rev}` and
/// an id; a client that comes back with it as `Last-Event-ID` misses nothing that is still kept
/// (else 400 `bad_cursor`). A client that does not read is dropped with an event `dropped`.
#[utoipa::path(
    get,
    path = "/api/v2/events",
    operation_id = "events",
    tag = "events",
    params(
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "The answer", body = String, content_type = "text/event-stream"),
        (status = "default", description = "What was wrong", body = ProblemBody<'_>, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn subscribe(
    State(app): State<Shared>,
    headers: HeaderMap,
    Query(query): Query<EventsQuery>,
) -> Answer {
    let last_seen = last_seen(&headers, query.last_event_id)?;
    let filter = filter(&app, query)?;
    let Ok(place) = std::sync::Arc::clone(&app.subscribers).try_acquire_owned() else {
        let detail = format!(
            "{} subscribers are connected, which is the limit",
            app.limits.max_event_subscribers
        );
        return Err(Problem::overloaded(detail));
    };
    let end = app.service.engine().journal_end().await?;
    // Without one, with what comes next.
    let from = last_seen.unwrap_or(end);
    if from > end {
        let detail = format!(
            "event {from} is not of this journal, which ends at {end}. Read the lists anew and subscribe without Last-Event-ID"
        );
        return Err(Problem::new(Code::BadCursor, detail).about("Last-Event-ID"));
    }
    // Whether the place is still kept is known before the stream begins.
    app.service.engine().journal_after(from, 1).await?;
    let body = feed::open(app, filter, from, place);
    let events = HeaderValue::from_static("text/event-stream");
    let mut response = of(StatusCode::OK, events, Body::new(body));
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}
