//! Query parameters: each is taken by name, and one that nobody took is refused by name.

use std::borrow::Cow;
use std::str::FromStr;

use acclaim_core::{Id, TargetType};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use smallvec::SmallVec;

use crate::problem::Problem;

/// The parameters of a request that were not taken yet.
pub(crate) struct Params<'a>(SmallVec<[(Cow<'a, str>, Cow<'a, str>); 8]>);

/// What a route reads from its query.
pub(crate) trait FromQuery: Sized {
    /// Takes what it knows; what is left is refused afterwards.
    fn take(params: &mut Params<'_>) -> Result<Self, Problem>;
}

/// The query of a request.
pub(crate) struct Query<T>(pub T);

impl<T: FromQuery + Send, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> impl Future<Output = Result<Self, Problem>> + Send {
        let read = read_query(parts.uri.query());
        std::future::ready(read.map(Self))
    }
}

/// The query of a read, where `fresh` is accepted too. No cache of the embedded engine can be
/// stale, so nothing follows from it there.
pub(crate) struct ReadQuery<T>(pub T);

impl<T: FromQuery + Send, S: Sync> FromRequestParts<S> for ReadQuery<T> {
    type Rejection = Problem;

    fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> impl Future<Output = Result<Self, Problem>> + Send {
        let query = read_query::<Fresh<T>>(parts.uri.query());
        std::future::ready(query.map(|Fresh(value)| Self(value)))
    }
}

struct Fresh<T>(T);

impl<T: FromQuery> FromQuery for Fresh<T> {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        params.flag("fresh")?;
        T::take(params).map(Self)
    }
}

/// Reads a whole query.
pub(crate) fn read_query<T: FromQuery>(query: Option<&str>) -> Result<T, Problem> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut params = Params(pairs.collect());
    let value = T::take(&mut params)?;
    match params.0.first() {
        None => Ok(value),
        Some((name, _)) => Err(Problem::field(
            name,
            format!("{name:?} is not a query parameter of this call"),
        )),
    }
}

impl<'a> Params<'a> {
    /// The value of a parameter, if it is there.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Problem> {
        let Some(place) = self.0.iter().position(|(known, _)| known == name) else {
            return Ok(None);
        };
        let (_, value) = self.0.remove(place);
        if self.0.iter().any(|(known, _)| known == name) {
            return Err(Problem::field(name, format!("{name} is given twice")));
        }
        Ok(Some(value))
    }

    /// A value with a parser of its own.
    pub(crate) fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Problem>
    where
        T::Err: std::fmt::Display,
    {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let value = text.parse::<T>();
        value
            .map(Some)
            .map_err(|error| Problem::field(name, format!("{name}: {error}")))
    }

    fn needed<T>(name: &str, value: Option<T>) -> Result<T, Problem> {
        value.ok_or_else(|| Problem::field(name, format!("{name} is missing")))
    }

    /// An id that must be there. In a query every id is text, and a canonical decimal is a number.
    pub(crate) fn id(&mut self, name: &str) -> Result<Id, Problem> {
        let given = self.optional_id(name)?;
        Self::needed(name, given)
    }

    pub(crate) fn optional_id(&mut self, name: &str) -> Result<Option<Id>, Problem> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        read_id(name, &text).map(Some)
    }

    /// A target type that must be there.
    pub(crate) fn target_type(&mut self) -> Result<TargetType, Problem> {
        let given = self.optional_target_type()?;
        Self::needed("targetType", given)
    }

    pub(crate) fn optional_target_type(&mut self) -> Result<Option<TargetType>, Problem> {
        let Some(text) = self.text("targetType")? else {
            return Ok(None);
        };
        let read = TargetType::parse(&text);
        read.map(Some)
            .map_err(|error| Problem::field("targetType", format!("targetType {error}")))
    }

    /// A whole number.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            let detail = format!("{name} has {text:?}, which is not a whole number");
            Problem::field(name, detail)
        })
    }

    /// `true` or `false`; absent is `false`.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Problem::field(
                name,
                format!("{name} has {other:?}; it is true or false"),
            )),
        }
    }
}

/// An id out of a query or a path. There every id is text, so `-1` is the text of the grammar that
/// a JSON string `"-1"` is too; only a JSON number can be negative.
pub(crate) fn read_id(name: &str, text: &str) -> Result<Id, Problem> {
    Id::parse(text).map_err(|error| Problem::field(name, format!("{name} {error}")))
}

/// A call that takes no query parameters.
pub(crate) struct NoQuery;

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> impl Future<Output = Result<Self, Problem>> + Send {
        std::future::ready(read_query(parts.uri.query()))
    }
}

impl FromQuery for NoQuery {
    fn take(_: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self)
    }
}
