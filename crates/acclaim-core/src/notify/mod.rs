//! Notifications: what a transition means to the owner of its target, and whom it is told to.
//!
//! Everything here is pure or asks the port: the fold of transitions into groups ([`group`],
//! [`fold`]), who owns a target ([`ownership`]), the endpoints of webhooks and what is delivered to
//! them ([`endpoint`], [`delivery`], [`signature`], [`address`]), where it is kept ([`keys`]) and
//! the port that keeps it ([`Notes`]). [`consume`] puts them together: a batch of the journal in,
//! one atomic commit out. [`desk`] answers the calls of the API.
//!
//! It may not know: sockets, tasks, threads, the time of day. `acclaim-notify` runs it.
//!
//! Invariants: notifications are a projection of the journal. How far it was read and what followed
//! from it change together, so nothing is told twice or left out by a crash. An event that a group
//! has seen changes nothing when it comes again.

pub mod address;
pub mod consume;
pub mod delivery;
pub mod desk;
pub mod endpoint;
pub mod erase;
pub mod fold;
pub mod group;
pub mod keys;
pub mod ownership;
mod port;
pub mod queue;
mod record;
mod settings;
pub mod signature;

pub use desk::Desk;
pub use port::{Batch, CommitError, Duty, Key, Notes, Record};
pub use settings::{NotificationLimits, Settings, WebhookLimits};
