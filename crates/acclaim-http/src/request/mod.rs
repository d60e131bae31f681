//! Reading requests: path, query, headers and body, each failure named by its field.

mod body;
mod headers;
mod id;
mod kind;
mod object;
mod query;
mod wire;

pub(crate) use body::{Incoming, JsonBody, broken_off, json_bytes, parse};
pub(crate) use headers::{REQUEST_ID, RESPOND_ASYNC, WriteHeaders, content_type, prefers_async};
pub(crate) use id::RequestIds;
pub(crate) use kind::KindPath;
pub(crate) use query::{FromQuery, NoQuery, Params, Query, ReadQuery, read_id, read_query};
pub(crate) use wire::{
    BatchForm, EdgeForm, EdgeQuery, FreshParam, ListQuery, OpForm, OthersForm, OwnedOp,
    OwnershipForm, ReadForm, StatusesForm, TargetQuery, TargetsForm, UserIdSchema, WebhookBody,
};
