//! The headers that the contract gives a meaning.

use acclaim_core::port::Ack;
use acclaim_core::service::{BadIdempotencyKey, WriteOptions, idempotency};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::problem::{IDEMPOTENCY_KEY, Problem};

/// Carries the request's id both ways. The front puts it on every request, so that handlers can
/// rely on it.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ACKNOWLEDGE: HeaderName = HeaderName::from_static("acclaim-ack");
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The preference for an answer before the work is done (RFC 7240).
pub(crate) const RESPOND_ASYNC: &str = "respond-async";
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Whose idempotency keys these are, while callers have no names.
const SCOPE: &str = "local";

/// Whether a content type says JSON: `application/json`, with or without parameters.
pub(crate) fn is_json(content_type: Option<&HeaderValue>) -> bool {
    is_media_type(content_type, "application/json")
}

fn is_media_type(content_type: Option<&HeaderValue>, wanted: &str) -> bool {
    let Some(Ok(value)) = content_type.map(HeaderValue::to_str) else {
        return false;
    };
    let essence = value.split_once(';').map_or(value, |(essence, _)| essence);
    essence.trim().eq_ignore_ascii_case(wanted)
}

/// How a write is to be taken, from its headers.
pub(crate) struct WriteHeaders {
    ack: Ack,
    key: Option<HeaderValue>,
    method_and_path: Option<(axum::http::Method, axum::http::Uri)>,
}

impl WriteHeaders {
    pub(crate) fn read(parts: &Parts) -> Result<Self, Problem> {
        let key = once(&parts.headers, &KEY, IDEMPOTENCY_KEY)?.cloned();
        Ok(Self {
            ack: acknowledgement(&parts.headers)?,
            method_and_path: key
                .is_some()
                .then(|| (parts.method.clone(), parts.uri.clone())),
            key,
        })
    }

    /// The options of a write with this body.
    pub(crate) fn options(&self, body: &[u8]) -> Result<WriteOptions, BadIdempotencyKey> {
        let (Some(key), Some((method, uri))) = (&self.key, &self.method_and_path) else {
            return Ok(WriteOptions {
                ack: self.ack,
                idempotency: None,
            });
        };
        let query = uri.query().unwrap_or_default();
        let parts = [
            method.as_str().as_bytes(),
            uri.path().as_bytes(),
            query.as_bytes(),
            body,
        ];
        Ok(WriteOptions {
            ack: self.ack,
            idempotency: Some(idempotency(SCOPE, key.as_bytes(), &parts)?),
        })
    }
}

fn acknowledgement(headers: &HeaderMap) -> Result<Ack, Problem> {
    let Some(value) = once(headers, &ACKNOWLEDGE, "Acclaim-Ack")? else {
        return Ok(Ack::Default);
    };
    let ack = value.to_str().ok().and_then(Ack::of_name);
    ack.ok_or_else(|| {
        Problem::field(
            "Acclaim-Ack",
            format!("{value:?} is not an acknowledgement; use redis, replica, bus or ledger"),
        )
    })
}

/// The only value of a header; two of them are a mistake that must not be guessed about.
fn once<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &str,
) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        Some(_) => Err(Problem::field(shown, format!("{shown} is sent twice"))),
        None => Ok(first),
    }
}

/// Whether the caller prefers an answer before the work is done. Preferences that are not known,
/// or not well formed, count for nothing: that is what RFC 7240 asks for.
pub(crate) fn prefers_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all(&PREFER).iter();
    let mut values = values.filter_map(|value| value.to_str().ok());
    values.any(|value| preferences(value).any(|name| name.eq_ignore_ascii_case(RESPOND_ASYNC)))
}

/// The names in a list of preferences. A comma inside quotes separates nothing.
fn preferences(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    let items = value.split(move |c| {
        let is_escaped = escaped;
        escaped = quoted && !is_escaped && c == '\\';
        quoted ^= c == '"' && !is_escaped;
        c == ',' && !quoted
    });
    items.map(|item| item.split(['=', ';']).next().unwrap_or_default().trim())
}

/// What a body is encoded with.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(header::CONTENT_TYPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preference_is_found_among_others() {
        let prefers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, HeaderValue::from_static(value));
            }
            prefers_async(&headers)
        };
        assert!(prefers(&["respond-async"]));
        assert!(prefers(&["Respond-Async, wait=10"]));
        assert!(prefers(&[
            "handling=lenient",
            "wait=10 ,\trespond-async ;x=1"
        ]));
        assert!(prefers(&[r#"a="b\"c,d", respond-async=true"#]));
        assert!(!prefers(&[]));
        assert!(!prefers(&[
            "respond-asynchronously",
            "return=respond-async"
        ]));
        assert!(!prefers(&[r#"a="x\", respond-async", b"#]));
    }

    #[test]
    fn json_is_told_from_the_rest() {
        let is = |text: &str| is_json(Some(&HeaderValue::from_str(text).unwrap()));
        assert!(is("application/json"));
        assert!(is("Application/JSON; charset=utf-8"));
        assert!(!is("text/plain"));
        assert!(!is("application/jsonl"));
        assert!(!is_json(None));
    }
}
