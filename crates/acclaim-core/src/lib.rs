//! Everything about a like that needs no I/O, no clock and no runtime.
//!
//! This crate holds the words of the product: [`Id`], [`Target`], [`Kind`], [`Op`], the rule by
//! which one transition follows from the state before it ([`edge`]), pages and signed cursors
//! ([`page`], [`cursor`]), time windows ([`pulse`]) and active days ([`days`]), exported edges as
//! text ([`transfer`]), where a server is ([`address`]), and the port
//! ([`Engine`]) that stands between the service and whatever decides and stores transitions.
//!
//! What transitions mean to the owners of their targets is in [`notify`].
//!
//! [`service`] checks what may reach an engine and [`hot`] finds what is touched most.
//!
//! It may not know: HTTP, files, sockets, threads, the time of day. Whoever calls it passes the
//! time in.
#![forbid(unsafe_code)]

pub mod address;
pub mod cursor;
pub mod days;
pub mod edge;
pub mod error;
pub mod hot;
pub mod id;
pub mod kind;
pub mod limits;
pub mod model;
pub mod notify;
pub mod page;
pub mod port;
pub mod pulse;
pub mod rev;
pub mod service;
pub mod target;
pub mod transfer;

pub use edge::{Action, EdgeKey, EdgeState, Op, Origin, Transition};
pub use error::{JobError, JournalError, ReadError, WriteError};
pub use id::Id;
pub use kind::{Kind, KindId, Kinds};
pub use page::{Page, Start};
pub use port::Engine;
pub use rev::Rev;
pub use target::{Target, TargetKey, TargetType, UserKey};
