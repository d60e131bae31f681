//! Reading requests: path, query, headers and body, each failure named by its field.

mod bodies;
mod body;
mod headers;
mod id;
mod kind;
mod object;
mod queries;
mod query;
mod values;

pub(crate) use bodies::{
    BatchForm, EdgeForm, OpForm, OthersForm, OwnedOp, OwnershipForm, ReadForm, StatusesForm,
    TargetsForm, WebhookBody,
};
pub(crate) use body::{Incoming, JsonBody, broken_off, json_bytes, parse};
pub(crate) use headers::{REQUEST_ID, RESPOND_ASYNC, WriteHeaders, content_type, prefers_async};
pub(crate) use id::RequestIds;
pub(crate) use kind::KindPath;
pub(crate) use queries::{EdgeQuery, FreshParam, ListQuery, TargetQuery};
pub(crate) use query::{FromQuery, NoQuery, Params, Query, ReadQuery, read_id, read_query};
pub(crate) use values::UserIdSchema;
