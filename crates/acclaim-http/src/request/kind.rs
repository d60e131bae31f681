//! The kind in the path.

use acclaim_core::KindId;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::app::Shared;
use crate::problem::Problem;

/// The kind that the path names: `/api/v2/{kind}/…`.
pub(crate) struct KindPath(pub KindId);

/// Segments before the kind: the empty one, `api` and `v2`.
const SEGMENTS_BEFORE: usize = 3;

impl FromRequestParts<Shared> for KindPath {
    type Rejection = Problem;

    fn from_request_parts(
        parts: &mut Parts,
        app: &Shared,
    ) -> impl Future<Output = Result<Self, Problem>> + Send {
        let name = parts.uri.path().split('/').nth(SEGMENTS_BEFORE);
        let kind = app.service.kind(name.unwrap_or_default());
        std::future::ready(kind.map(Self).map_err(Problem::from))
    }
}
