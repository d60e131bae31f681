//! Queries that several routes take.

use acclaim_core::service::Asked;
use acclaim_core::{EdgeKey, Id, KindId, Target, TargetType};
use utoipa::IntoParams;

use super::{FromQuery, Params};
use crate::problem::Problem;

/// What every read accepts and no list of parameters repeats.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(
    dead_code,
    reason = "no cache of the embedded engine can be stale, so nothing reads it"
)]
pub(crate) struct FreshParam {
    /// Bypasses caches in the process. The embedded engine has none that could be stale.
    fresh: Option<bool>,
}

/// A target in a query.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TargetQuery {
    /// The target's type and id.
    #[param(rename = "targetType", value_type = String, example = "POST")]
    target_type: TargetType,
    /// The target's id.
    #[param(rename = "targetId", value_type = String, example = "123")]
    target_id: Id,
}

impl FromQuery for TargetQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            target_type: params.target_type()?,
            target_id: params.id("targetId")?,
        })
    }
}

impl TargetQuery {
    pub(crate) fn target(self) -> Target {
        Target {
            target_type: self.target_type,
            id: self.target_id,
        }
    }
}

/// An edge in a query.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EdgeQuery {
    /// Who acts.
    #[param(rename = "userId", value_type = String, example = "42")]
    pub(crate) user_id: Id,
    /// The target's type.
    #[param(rename = "targetType", value_type = String, example = "POST")]
    pub(crate) target_type: TargetType,
    /// The target's id.
    #[param(rename = "targetId", value_type = String, example = "123")]
    pub(crate) target_id: Id,
}

impl FromQuery for EdgeQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            user_id: params.id("userId")?,
            target_type: params.target_type()?,
            target_id: params.id("targetId")?,
        })
    }
}

impl EdgeQuery {
    pub(crate) fn edge(self, kind: KindId) -> EdgeKey {
        EdgeKey {
            kind,
            user: self.user_id,
            target: Target {
                target_type: self.target_type,
                id: self.target_id,
            },
        }
    }
}

/// Which part of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Entries a page.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 20)]
    size: Option<u64>,
    /// The page, from 0, within the first 1,000 entries. Excludes `cursor`.
    #[param(value_type = Option<u64>)]
    page: Option<u64>,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<String>,
}

impl FromQuery for ListQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            size: params.number("size")?,
            page: params.number("page")?,
            cursor: params.text("cursor")?.map(String::from),
        })
    }
}

impl ListQuery {
    pub(crate) fn asked(self) -> Asked {
        Asked {
            size: self.size,
            page: self.page,
            cursor: self.cursor,
        }
    }
}
