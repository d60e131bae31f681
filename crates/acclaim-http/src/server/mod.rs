//! Serving: connections, the one layer before the routes, and stopping.

mod accept;
mod connection;
mod deadline;
mod front;
mod listen;
pub mod null;

pub use accept::{ServeError, serve};
pub use listen::{RefusedAddress, allowed_without_auth};
