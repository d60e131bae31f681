//! The HTTP contract over the port.
//!
//! A request travels: connection ([`serve`]) → front (id, admission, deadline, metrics) → router
//! (one page) → one noun's handler → the core's service → the port. Handlers read requests and
//! write answers; what is allowed is the service's to say. Every failure becomes a problem in one
//! file.
//!
//! This crate may not know which engine it serves, nor where its limits are configured.
#![forbid(unsafe_code)]

mod app;
mod limits;
mod metrics;
mod problem;
mod request;
mod router;
mod routes;
mod server;

pub use app::App;
pub use limits::{BadLimit, Limits};
pub use server::{RefusedAddress, ServeError, allowed_without_auth, null, serve};
